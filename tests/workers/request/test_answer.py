"""Freshness and quality of an answer, and its bytes, over a table written by hand."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.native.octets import octets_of
from trinity.vocabulary import KEY_START
from workers.request import answer
from workers.request.answer import (
    CONFIDENCE_TOO_WIDE,
    CONSENSUS,
    FEWER_THAN_MIN_SOURCES,
    GOOD,
    PRICE_TOO_OLD,
    SOURCES_DISAGREE,
    STALE_PRICE,
    TOO_FEW_SOURCES,
    UNKNOWN,
    UNKNOWN_MARKET,
)

pytestmark = pytest.mark.uncompiled

NOW = 1_000_000 * NS_PER_MS
ASSETS = answer.make_names(["BTC", "ETH", "DOGE"])
EXCHANGES = answer.make_names(["kraken", "okx"])


@pytest.fixture
def table(make_answer: Any) -> Any:
    """Words of an answer table with a good BTC, and a function that writes other answers to it."""
    words = np.zeros(9 * ROW_WORDS, dtype=np.uint64)

    def write(row: int, asset: str = "BTC", **fields: int) -> None:
        times = {"valid_until_ns": NOW + 1, "received_at_ns": NOW - 1500 * NS_PER_MS, "timestamp_ms": 77}
        record = make_answer(asset, **(times | fields))
        publish(words, row * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))

    write(0)
    return words, write


def judge(words: Any, row: int, *limits: int) -> int:
    record = answer.make_record()
    answer.read_answer(words, row, record)
    return int(answer.judge(record, NOW, *(limits or (0, 0, 0))))


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (AnswerState.EMPTY, STALE_PRICE),
        (AnswerState.GOOD, GOOD),
        (AnswerState.STALE, STALE_PRICE),
        (AnswerState.TOO_FEW_SOURCES, TOO_FEW_SOURCES),
        (AnswerState.SOURCES_DISAGREE, SOURCES_DISAGREE),
        (AnswerState.NOT_LISTED, UNKNOWN_MARKET),
        (99, STALE_PRICE),
        (-1, STALE_PRICE),
    ],
)
def test_each_state_has_its_verdict(table: Any, state: int, verdict: int) -> None:
    """The consensus process's word is passed on; a state that is not known is as good as none."""
    words, write = table
    write(1, state=state)
    assert judge(words, 1) == verdict


def test_a_price_whose_time_has_passed_is_stale_whatever_its_state_says(table: Any) -> None:
    """A dead consensus process cannot make an old number look good."""
    words, write = table
    write(1, valid_until_ns=NOW)
    assert judge(words, 1) == STALE_PRICE


def test_an_answer_never_written_is_stale_and_has_no_last_price(table: Any) -> None:
    """An empty row gives stale_price without a number."""
    words, _ = table
    record = answer.make_record()
    record.fields["has_last_good"] = 1  # left over from another row
    assert not answer.read_answer(words, 5, record)
    out = np.zeros(500, dtype=np.uint8)
    end = answer.write_price(record, answer.judge(record, NOW, 0, 0, 0), ASSETS, 1, NOW, out, 0)
    body = json.loads(bytes(out[:end]))
    assert body["error"]["code"] == body["status"] == "stale_price"
    assert body["asset"] == "ETH"
    assert "last_price" not in body


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ((1500, 0, 0), GOOD),
        ((1499, 0, 0), PRICE_TOO_OLD),
        ((10**18, 0, 0), GOOD),
        ((0, 5, 0), GOOD),
        ((0, 6, 0), FEWER_THAN_MIN_SOURCES),
        ((0, 0, 2465), GOOD),
        ((0, 0, 2464), CONFIDENCE_TOO_WIDE),
        ((-1, -1, -1), GOOD),
        ((1, 9, 1), PRICE_TOO_OLD),
    ],
)
def test_stated_quality_is_kept_to_the_last_unit(table: Any, limits: tuple[int, int, int], verdict: int) -> None:
    """An age of 1500 ms, 5 sources and 2.465 bps pass exactly those limits and no stricter ones."""
    words, _ = table
    assert judge(words, 0, *limits) == verdict


def test_a_good_price_is_the_rendered_bytes(table: Any) -> None:
    """What the consensus process rendered goes out unchanged."""
    words, _ = table
    record = answer.make_record()
    assert answer.read_answer(words, 0, record)
    out = np.zeros(500, dtype=np.uint8)
    end = answer.write_price(record, GOOD, ASSETS, 0, NOW, out, 7)
    body = json.loads(bytes(out[7:end]))
    assert (body["asset"], body["price"], body["status"]) == ("BTC", 71002.5, "fresh")


@pytest.mark.parametrize("verdict", [v for v in range(len(answer.VERDICT_CODES)) if v != GOOD])
def test_every_error_is_json_with_its_code_and_the_last_good_price(table: Any, verdict: int) -> None:
    """An error names the asset and carries the last price, its time and its age, in plain digits."""
    words, _ = table
    record = answer.make_record()
    answer.read_answer(words, 0, record)
    out = np.zeros(answer.PRICE_BYTES_MAX, dtype=np.uint8)
    end = answer.write_price(record, verdict, ASSETS, 0, NOW, out, 0)
    text = bytes(out[:end])
    body = json.loads(text)
    assert body["error"]["code"] == body["status"] == answer.VERDICT_CODES[verdict]
    assert body["asset"] == "BTC"
    assert b'"last_price":71002.5,"last_timestamp":77,"age_ms":1500}' in text
    assert answer.VERDICT_STATUS[verdict] in (404, 429, 503)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", max_size=20))
def test_a_name_is_found_in_any_case_and_no_other_is(text: str) -> None:
    """find_name agrees with a dictionary of upper-case names."""
    expected = {"BTC": 0, "ETH": 1, "DOGE": 2}.get(text.upper(), UNKNOWN)
    for form in (text, text.upper()):
        octets = octets_of(form.encode())
        assert answer.find_name(ASSETS, octets, 0, octets.size) == expected
    for name, index in (("btc", 0), ("Eth", 1), ("doGE", 2)):
        assert answer.find_name(ASSETS, octets_of(f"<{name}>".encode()), 1, 1 + len(name)) == index


def test_a_full_catalog_is_found_name_by_name() -> None:
    """256 names of full length all keep their place in the hash table."""
    names = [f"{i:016X}" for i in range(256)]
    table = answer.make_names(names)
    for i, name in enumerate(names):
        assert answer.find_name(table, octets_of(name.lower().encode()), 0, 16) == i
    assert answer.find_name(table, octets_of(b"F" * 16), 0, 16) == UNKNOWN


@pytest.mark.parametrize("names", [["BTC", "btc"], ["X" * 17], [""]])
def test_names_that_could_be_confused_are_refused(names: list[str]) -> None:
    """Two names that differ only in case, or do not fit, are an error at start."""
    with pytest.raises(ValueError, match="too long or there twice"):
        answer.make_names(names)


@pytest.mark.parametrize(
    ("word", "shown"),
    [("doge", "doge"), ("x" * 20, "x" * 16), ('a"b', "a?b"), (f"{KEY_START}abcdefghijklmn", f"{KEY_START}{'?' * 12}"),
     (f"a{KEY_START}bc", f"a{KEY_START}??"), (KEY_START, KEY_START), ("trk-abc", "trk-abc")],
)  # fmt: skip
def test_a_word_of_the_client_is_shown_without_a_key_in_it(word: str, shown: str) -> None:
    """At most 16 bytes, harmless in JSON, and nothing of what follows the beginning of a key."""
    out = np.zeros(32, dtype=np.uint8)
    end = answer.append_shown(octets_of(word.encode()), 0, len(word), out, 0)
    assert bytes(out[:end]).decode() == shown


@pytest.mark.parametrize("text", [b"", b",", b"BTC,", b",BTC", b"BTC,,ETH", b"A,B,C,D,E"])
def test_a_list_with_an_empty_name_or_too_many_is_refused(text: bytes) -> None:
    """parse_assets says UNKNOWN for what is no list of at most as many names as there is room."""
    wanted = np.zeros((4, 3), dtype=np.int64)
    assert answer.parse_assets(ASSETS, octets_of(text), 0, len(text), wanted) == UNKNOWN


def test_rows_are_those_of_the_answer_table() -> None:
    """row_of and AnswerTable.row_of count alike."""
    assert answer.row_of(EXCHANGES, 2, CONSENSUS) == 6
    assert answer.row_of(EXCHANGES, 2, 1) == 8


@pytest.mark.uncompiled
def test_an_alias_means_its_asset_and_is_no_asset_itself() -> None:
    """Found in any case, answered under the asset's own name; rows are counted without it."""
    table = answer.make_names(["BTC", "GRAM"], {"TON": 1, "XBT": 0})
    for name, index in ((b"TON", 1), (b"ton", 1), (b"Xbt", 0), (b"GRAM", 1), (b"TO", answer.UNKNOWN)):
        assert answer.find_name(table, octets_of(name), 0, len(name)) == index
    out = np.zeros(16, dtype=np.uint8)
    assert bytes(out[: answer.append_name(table, 1, out, 0)]) == b"GRAM"
    assert table["count"] == 2
    with pytest.raises(ValueError):
        answer.make_names(["BTC", "GRAM"], {"btc": 1})
