"""trinity/vocabulary.py: numbers that are stored, one text for each refusal, and SQL that says the same."""

import ast
import json
import re
from itertools import chain
from pathlib import Path

import pytest

import trinity
from trinity import vocabulary
from trinity.limits import UDP_PAYLOAD_BYTES_MAX
from trinity.vocabulary import _FIELDS, CODES, EXCHANGES, HTTP_STATUSES, OUTCOMES, KeyState, problem_for, status_reason

ROOT = Path(trinity.__file__).parent.parent
SQL = {path.name: path.read_text() for path in (ROOT / "trinity" / "store").rglob("*.sql")}


def test_every_number_fits_its_field_and_means_one_thing() -> None:
    """A byte holds each index, no text stands twice, and bucket bounds rise."""
    for names in (vocabulary.PROTOCOLS, vocabulary.SOURCES, CODES):
        assert len(set(names)) == len(names) < 256
    assert list(vocabulary.LATENCY_BOUNDS_NS) == sorted(set(vocabulary.LATENCY_BOUNDS_NS))


def test_numbers_of_stored_records_never_change() -> None:
    """Rows of the last 93 days hold these numbers: the first of each tuple stay where they are."""
    assert vocabulary.PROTOCOLS[:5] == ("http", "udp_text", "udp_json", "udp_binary", "reports")
    assert vocabulary.SOURCES[:8] == ("none", "consensus", *EXCHANGES)
    assert EXCHANGES[:6] == ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
    assert CODES[:8] == (
        "ok", "stale_price", "too_few_sources", "sources_disagree", "unknown_market", "price_too_old",
        "confidence_too_wide", "unknown_asset",
    )  # fmt: skip
    assert CODES[8:20] == (
        "bad_request", "body_not_accepted", "target_too_long", "head_too_large", "unknown_path", "method_not_allowed",
        "missing_asset", "bad_parameter", "unknown_exchange", "request_timeout", "too_many_connections", "pad_request",
    )  # fmt: skip
    assert CODES[20:29] == (
        "missing_key", "invalid_key", "key_revoked", "key_suspended", "address_blocked", "rate_limited",
        "quota_exceeded", "keys_unavailable", "bad_version",
    )  # fmt: skip
    assert {state.word: int(state) for state in KeyState} == {"empty": 0, "active": 1, "suspended": 2, "revoked": 3}
    assert vocabulary.LATENCY_BUCKETS == 15, "every stored sum has so many: another number needs a migration"


def test_every_refusal_has_a_status_that_is_counted_and_texts_that_need_no_escape() -> None:
    """Texts go into JSON as they are, and into one datagram; the ones by cause are all different."""
    for outcome in OUTCOMES[1:]:
        assert str(outcome.status) in HTTP_STATUSES
        texts = [outcome.text, *outcome.causes.values()]
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert text, outcome.code
            assert not re.search(r'["\\]|[^ -~]', text), text
            assert len(text) < UDP_PAYLOAD_BYTES_MAX / 4


def test_a_refusal_is_found_by_code_and_cause() -> None:
    """The usual sentence, a sharper one, and an error for what is not in the table."""
    assert problem_for("missing_key") == (401, "missing_key", OUTCOMES[CODES.index("missing_key")].text, "")
    assert problem_for("missing_key", "udp").text.startswith("an API key is needed: key=")
    with pytest.raises(KeyError):
        problem_for("typo")
    with pytest.raises(KeyError):
        problem_for("missing_key", "typo")


def test_a_refusal_names_the_field_that_is_at_fault() -> None:
    """By code and cause, as the members of an error object that need no escape."""
    assert problem_for("too_few_sources").field == ""
    problem = problem_for("too_few_sources", "min_sources")
    assert json.loads(f"{{{problem.members}}}") == {
        "code": "too_few_sources", "message": "fewer sources than min_sources", "field": "min_sources",
    }  # fmt: skip
    assert {problem_for(*place).field for place in _FIELDS} == set(_FIELDS.values())


def test_the_gates_refusals_stand_in_a_row() -> None:
    """Compiled code finds a refusal's counter, error and frame status by its distance from the first."""
    assert CODES[20:28] == vocabulary.ACCESS_REFUSALS
    assert set(vocabulary.LIMIT_REFUSALS) < set(vocabulary.ACCESS_REFUSALS)


def test_statuses_are_worded_as_in_the_standard() -> None:
    """RFC 9110 renamed some, whatever the version of Python says."""
    words = {int(status): status_reason(int(status)) for status in HTTP_STATUSES}
    assert words[413] == "Content Too Large"
    assert words[414] == "URI Too Long"
    assert words[200] == "OK"
    assert status_reason(422) == "Unprocessable Content"
    with pytest.raises(ValueError, match="299"):
        status_reason(299)


def test_no_sentence_of_the_table_stands_anywhere_else() -> None:
    """Who changes a refusal's text changes it here: no other source of the node has it as a constant."""
    texts = set(chain.from_iterable((outcome.text, *outcome.causes.values()) for outcome in OUTCOMES))
    known = {text for text in texts if len(text) > 18}  # shorter ones are also parts of ordinary sentences
    for package in ("trinity", "feeds", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "vocabulary.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    said = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    assert not [text for text in known if text in said], f"{path}:{node.lineno}"


def test_statements_add_up_as_many_latency_buckets_as_there_are() -> None:
    """SQL names each bucket by its number: wherever it does, it names all of them, and no more."""
    rows = [
        re.findall(r"latency_buckets\[(\d+)\]", row) for row in re.findall(r"ARRAY\[[^;]*?\)\]", "".join(SQL.values()))
    ]
    found = [list(map(int, row)) for row in rows if row]
    assert len(found) == 3
    assert all(row == list(range(1, vocabulary.LATENCY_BUCKETS + 1)) for row in found)


def test_statements_know_the_key_states_by_the_same_words_and_numbers() -> None:
    """What the table of keys may hold, and what the access process reads of it."""
    allowed = re.search(r"state IN \(([^)]*)\)", SQL["0001-initial.sql"])
    assert allowed is not None
    states = [state for state in KeyState if state is not KeyState.EMPTY]
    assert sorted(re.findall(r"'(\w+)'", allowed[1])) == sorted(state.word for state in states)
    case = re.search(
        r"CASE WHEN state = '(\w+)' OR .* THEN (\d) WHEN state = '(\w+)' THEN (\d) ELSE (\d) END", SQL["access.sql"]
    )
    assert case is not None
    assert case.groups() == (
        KeyState.REVOKED.word, str(int(KeyState.REVOKED)),
        KeyState.SUSPENDED.word, str(int(KeyState.SUSPENDED)), str(int(KeyState.ACTIVE)),
    )  # fmt: skip
    for name, text in SQL.items():
        if "api_keys" not in text or "push" in name:
            continue  # states of something else
        for word in re.findall(r"\bstate (?:=|<>) '(\w+)'", text):
            assert word in {state.word for state in states}, name


def test_an_unknown_exchange_is_told_those_that_there_are() -> None:
    """Over HTTP; a datagram's reply stays short, since it is no longer than its request."""
    assert problem_for("unknown_exchange").text.endswith("one of coinbase, gemini, kraken, gateio, cryptocom, okx")
    said = problem_for("unknown_exchange", "udp")
    assert (said.text, said.field) == ("no such exchange", "exchange")
