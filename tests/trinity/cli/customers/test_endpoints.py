"""`trinity endpoints`, as it is typed, on a real PostgreSQL"""

import pytest

from tests.trinity.cli.conftest import Run

PUBLIC = "https://93.184.216.34/events"  # an address, so nobody is asked for a name


def test_an_endpoint_s_whole_life_as_it_is_typed(typed: Run) -> None:
    """Made for an account, shown, changed, tested, paused, resumed, rotated, replayed, deleted; all in the audit."""
    typed("accounts", "set", "acme")
    code, made, _ = typed("endpoints", "create", PUBLIC, "--account", "acme", "--types", "key.*", "--name", "books")
    assert (code, made["endpoint"]["account"], made["endpoint"]["name"]) == (0, "acme", "books")
    assert made["secret"].startswith("whsec_")
    number = str(made["endpoint"]["id"])
    assert typed("endpoints", "set", number, "--types", "")[1]["endpoint"]["types"] == []
    event = typed("endpoints", "test", number)[1]["event"]
    shown = typed("endpoints", "show", number)[1]
    assert [delivery["event"] for delivery in shown["deliveries"]] == [event]
    assert typed("events", "--account", "acme")[1]["events"][0]["uid"] == event
    assert typed("endpoints", "pause", number)[1]["endpoint"]["state"] == "paused"
    assert typed("endpoints", "resume", number)[1]["endpoint"]["state"] == "active"
    assert typed("endpoints", "rotate", number)[1]["secret"] != made["secret"]
    assert typed("endpoints", "replay", number, "--event", event)[1]["queued"] == 1
    assert typed("endpoints", "replay", number, "--since", "1h")[1]["queued"] == 0
    assert typed("endpoints", "delete", number, "--yes")[0] == 0
    assert typed("endpoints", "list")[1]["endpoints"] == []
    entries = typed("audit", "--kind", "endpoint")[1]["entries"]
    assert entries[-1]["action"] == "endpoints create"
    assert made["secret"] not in str(entries)


@pytest.mark.parametrize(
    ("code", "start", "words"),
    [
        (2, "url: ", ["create", "http://example.com/"]),
        (2, "URL: ", ["create", "https://127.0.0.1/"]),
        (2, "--types: ", ["create", PUBLIC, "--types", "keys"]),
        (1, "there is no account", ["create", PUBLIC, "--account", "nobody"]),
        (1, "there is no endpoint 7", ["show", "7"]),
        (2, "ENDPOINT: ", ["pause", "x"]),
        (2, "--since: ", ["replay", "1"]),
        (2, "--grace: ", ["rotate", "1", "--grace", "8d"]),
        (2, "--url: ", ["set", "1"]),
    ],
)
def test_what_is_wrong_is_named(typed: Run, code: int, start: str, words: list[str]) -> None:
    """By its field; an address that must not be dialled as well."""
    found, _, error = typed("endpoints", *words)
    assert found == code
    assert error["error"]["message"].startswith(start)
