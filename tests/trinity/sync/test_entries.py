"""Entries as commands: read back by a foreign parser, and compared with what each request is."""

import uuid
from typing import Any

import numpy as np
import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.sync.entries import (
    FIELDS,
    Vocabulary,
    entry_blocks,
    entry_names,
    expiring,
    set_commands,
    shown_address,
    usage_uuid,
    uuid_texts,
)
from trinity.sync.runs import Requests
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES

KNOWN = Vocabulary({1: "BTC", 2: "LONGASSETNAME001"}, {7: "ab" * 32, 2**31 - 1: "cd" * 32})
NUMBERS = st.fixed_dictionaries(
    {
        "time_us": st.integers(0, 4_000_000_000_000_000),
        "request_id": st.integers(0, 2**63 - 1),
        "node_id": st.integers(1, 2**15 - 1),
        "key_id": st.sampled_from([0, 7, 2**31 - 1]),
        "asset_id": st.integers(0, 3),
        "assets": st.integers(0, 2**15 - 1),
        "protocol": st.integers(0, 5),
        "status": st.integers(0, 999),
        "code": st.integers(0, len(CODES) + 1),
        "source": st.integers(0, 255),
        "latency_ns": st.integers(0, 2**32 - 1),
        "weight": st.integers(1, 2**15 - 1),
        "address": st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    }
)


def _requests(rows: list[dict[str, Any]]) -> Requests:
    columns = {name: np.array([row[name] for row in rows], dtype=np.int64) for name in rows[0] if name != "address"}
    return Requests(**columns, address=np.array([row["address"] for row in rows], dtype=np.uint64))


def _commands(data: bytes) -> list[list[str]]:
    """RESP, read by its rules."""
    found, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        assert data[at : at + 1] == b"*"
        words, count, at = [], int(data[at + 1 : end]), end + 2
        for _ in range(count):
            end = data.index(b"\r\n", at)
            assert data[at : at + 1] == b"$"
            size, at = int(data[at + 1 : end]), end + 2
            words.append(data[at : at + size].decode())
            assert data[at + size : at + size + 2] == b"\r\n"
            at += size + 2
        found.append(words)
    return found


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else ""


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_every_field_of_every_request_is_in_its_commands(rows: list[dict[str, Any]]) -> None:
    """One hash and its end each, in the order of the requests, cut where it is said."""
    requests = _requests(rows)
    texts = uuid_texts(requests)
    ((data, ends),) = entry_blocks(requests, texts, KNOWN, 1000)
    starts = [0, *ends.tolist()]
    for number, row in enumerate(rows):
        put, ending = _commands(data[starts[number] : starts[number + 1]])
        name = f"usage_log:{usage_uuid(row['node_id'], row['request_id'])}"
        assert put[:2] == ["HSET", name]
        fields = dict(zip(put[2::2], put[3::2], strict=True))
        assert tuple(fields) == FIELDS
        time = np.datetime64(row["time_us"], "us")
        assert fields["time"] == f"{time}Z".replace("NaT", "")
        assert fields["request_id"] == f"{row['request_id']:016x}"
        assert fields["asset"] == KNOWN.assets.get(row["asset_id"], "")
        for field, words in (("protocol", PROTOCOLS), ("code", CODES), ("source", SOURCES)):
            assert fields[field] == _word(words, row[field])
        for field in ("latency_ns", "node_id", "key_id", "assets", "status", "weight"):
            assert fields[field] == str(row[field])
        packed = b"".join(half.to_bytes(8) for half in row["address"])
        assert fields["address"] == shown_address(packed)
        assert ending[:2] == ["EXPIREAT", name]
        assert int(ending[2]) == row["time_us"] // 1_000_000 + 1000
        assert entry_names(texts)[number].tobytes().decode() == name


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_the_sets_have_every_request_once(rows: list[dict[str, Any]]) -> None:
    """All, each key that is known, each asset that has a name; scores are microseconds."""
    requests = _requests(rows)
    found: dict[str, set[tuple[str, str]]] = {}
    for one in set_commands(requests, uuid_texts(requests), KNOWN):
        (words,) = _commands(one.data)
        assert words[0] == "ZADD"
        assert words[1].encode() == one.name
        found.setdefault(words[1], set()).update(
            (member, str(int(score))) for score, member in zip(words[2::2], words[3::2], strict=True)
        )
    wanted: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        member = usage_uuid(row["node_id"], row["request_id"]), str(row["time_us"])
        names = ["usage_logs:index"]
        names += [f"usage_logs:api_key:{KNOWN.keys[row['key_id']]}"] if row["key_id"] in KNOWN.keys else []
        names += [f"usage_logs:asset:{KNOWN.assets[row['asset_id']]}"] if row["asset_id"] in KNOWN.assets else []
        for name in names:
            wanted.setdefault(name, set()).add(member)
    assert found == wanted
    (end,) = expiring([b"usage_logs:index"])
    assert _commands(end.data) == [["EXPIRE", "usage_logs:index", str(93 * 86_400)]]


IDS = st.tuples(st.integers(0, 2**63 - 1), st.integers(1, 2**15 - 1))


@given(IDS, IDS)
def test_uuids_are_of_version_8_and_sort_as_a_report_does(first: tuple[int, int], second: tuple[int, int]) -> None:
    """By the request's id, then by its node's."""
    names = [usage_uuid(node, request) for request, node in (first, second)]
    assert (names[0] < names[1], names[0] == names[1]) == (first < second, first == second)
    found = uuid.UUID(names[0])
    assert (found.version, found.variant) == (8, uuid.RFC_4122)


def test_addresses_are_written_as_postgresql_writes_them(database_url: str) -> None:
    """Of both families, with runs of zeros anywhere."""
    random = np.random.default_rng(5)
    packed = [bytes(10) + b"\xff\xff" + random.bytes(4) for _ in range(50)]
    for _ in range(600):
        groups = random.integers(0, 65_536, 8) * random.integers(0, 2, 8)
        groups[random.integers(0, 8)] = random.choice([0, 1, 2, 65_535])
        packed.append(groups.astype(">u2").tobytes())
    packed += [bytes(16), bytes(15) + b"\1", bytes(15) + b"\2", bytes(14) + b"\1\0", bytes(12) + b"\0\1\0\0"]
    with psycopg.connect(database_url) as connection:
        for one in packed:
            halves = [int.from_bytes(one[at : at + 8], signed=True) for at in (0, 8)]
            row = connection.execute("SELECT replace(host(usage_address(%s, %s)), '::ffff:', '')", halves).fetchone()
            assert row is not None
            assert shown_address(one) == row[0]
