"""`trinity push`, as it is typed, on a real PostgreSQL"""

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.push.secret import read_secret
from trinity.store import partitions
from trinity.vocabulary import DELIVERY_OUTCOMES

TARGET = "https://93.184.216.34/prices"  # an address, so nobody is asked for a name
CREATE = ("push", "create", "--account", "acme", "--target", TARGET, "--assets", "btc,ETH")


@pytest.fixture
def acme(typed: Run) -> Run:
    """With an account."""
    typed("accounts", "set", "acme")
    return typed


def test_a_subscription_s_whole_life(acme: Run) -> None:
    """Created, listed, shown, changed, paused, resumed, given another secret, tested, deleted."""
    code, made, _ = acme(*CREATE, "--interval-s", "10", "--name", "web shop")
    subscription, secret = made["subscription"], made["secret"]
    number = str(subscription["id"])
    assert (code, subscription["assets"], subscription["interval_s"]) == (0, ["BTC", "ETH"], 10)
    assert read_secret(secret)
    assert acme("push", "list")[1]["subscriptions"] == [subscription]
    assert acme("push", "list", "--account", "nobody")[1]["subscriptions"] == []
    assert acme("push", "show", number)[1]["subscription"] == subscription
    changed = acme("push", "set", number, "--interval-s", "0", "--heartbeat-s", "60", "--assets", "SOL")[1]
    assert (changed["subscription"]["interval_s"], changed["subscription"]["heartbeat_s"]) == (0, 60)
    assert changed["subscription"]["assets"] == ["SOL"]
    for word, state, is_change in (("pause", "paused", True), ("pause", "paused", False), ("resume", "active", True)):
        found = acme("push", word, number)[1]
        assert (found["subscription"]["state"], found["changed"]) == (state, is_change)
    rotated = acme("push", "rotate", number, "--grace", "1h")[1]
    assert rotated["secret"] != secret
    assert rotated["subscription"]["old_secret_until"] is not None
    assert acme("push", "test", number)[1]["order"]["kind"] == "test"
    everything = str(acme("push", "list")) + str(acme("push", "show", number)) + str(acme("audit"))
    assert secret not in everything
    assert rotated["secret"] not in everything
    assert acme("push", "delete", number, "--yes")[1] == {"deleted": subscription["id"]}
    assert acme("push", "show", number)[0] == 1


def test_deliveries_and_replays(acme: Run, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what became of it and why; one again, or all that was missed."""
    number = str(acme(*CREATE, "--deviation-bps", "50")[1]["subscription"]["id"])
    now = datetime.now(UTC)
    with psycopg.connect(database_url, autocommit=True) as connection:
        partitions.make_ahead(connection, now)
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'push-1')", [uuid.uuid4()])
        for sequence, outcome in enumerate(("delivered", "tls"), start=1):
            row = [now, sequence, number, sequence, DELIVERY_OUTCOMES.index(outcome)]
            connection.execute(
                "INSERT INTO push_deliveries SELECT %s, %s, %s, %s, 1, id, 0, 0, 0, %s, 1, 0, 2 FROM nodes", row
            )
    listed = acme("push", "deliveries", number)[1]["deliveries"]
    assert [(row["sequence"], row["outcome"]) for row in listed] == [(2, "tls"), (1, "delivered")]
    assert len(acme("push", "deliveries", number, "--failed")[1]["deliveries"]) == 1
    assert main(["push", "deliveries", number, "--count", "1"]) == 0
    text = capsys.readouterr().out
    assert "is the certificate valid" in text
    assert "the newest 1" in text
    assert acme("push", "replay", number, "--sequence", "2")[1]["order"]["argument"] == {"sequence": 2}
    hour_ago = (now - timedelta(hours=1)).isoformat()
    assert acme("push", "replay", number, "--missed-since", hour_ago)[1]["order"]["kind"] == "replay_since"
    assert acme("push", "replay", number, "--sequence", "3")[0] == 1


def test_people_get_lines(acme: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A new secret stands alone on the first line; what there is not is said."""
    assert main(["push", "list"]) == 0
    assert capsys.readouterr().out == "no subscriptions\n"
    assert (
        main([*CREATE, "--interval-s", "10", "--heartbeat-s", "60", "--max-age-ms", "500", "--min-sources", "3"]) == 0
    )
    first, *lines = capsys.readouterr().out.splitlines()
    assert read_secret(first)
    assert any("shown this once" in line for line in lines)
    assert any("10 s, after 60 s" in line for line in lines)
    for words in (["list"], ["show", "1"], ["pause", "1"], ["resume", "1"], ["deliveries", "1"], ["test", "1"]):
        assert main(["push", *words]) == 0
        assert first not in capsys.readouterr().out


WRONG = [
    (2, "--account: ", ["--account", "\n"]),
    (1, "there is no account ", ["--account", "nobody"]),
    (2, "--target: ", ["--target", "http://93.184.216.34/"]),
    (2, "--target: ", ["--target", "https://127.0.0.1/"]),
    (2, "--assets: ", ["--assets", "NOSUCH"]),
    (2, "--assets: ", ["--assets", "BTC,btc"]),
    (2, "--interval-s: ", ["--interval-s", "2"]),
    (2, "--interval-s: ", ["--interval-s", "0"]),
    (2, "--interval-s: ", ["--interval-s", "x"]),
    (2, "--deviation-bps: ", ["--deviation-bps", "10001"]),
    (2, "--heartbeat-s: ", ["--heartbeat-s", "1"]),
    (2, "--max-age-ms: ", ["--max-age-ms", "600001"]),
    (2, "--min-sources: ", ["--min-sources", "7"]),
    (2, "--name: ", ["--name", "x" * 101]),
]


def test_what_is_wrong_is_named(acme: Run) -> None:
    """Exit code 2 for a wrong value, 1 for what is not there; the sentence begins with the option, in ASCII."""
    for code, start, words in WRONG:
        found, content, error = acme(*CREATE, "--interval-s", "10", *words)
        assert (found, content) == (code, None), words
        assert error["error"]["message"].startswith(start), words
        assert error["error"]["message"].isascii(), words
    for code, start, words in [
        (2, "SUBSCRIPTION: ", ["show", "x"]),
        (1, "there is no subscription ", ["show", "7"]),
        (1, "there is no subscription ", ["deliveries", "7"]),
        (2, "--name: ", ["set", "7"]),
        (2, "--grace: ", ["rotate", "7", "--grace", "8d"]),
        (2, "--sequence: ", ["replay", "7"]),
        (2, "--missed-since: ", ["replay", "7", "--missed-since", "2020-01-01"]),
    ]:
        found, content, error = acme("push", *words)
        assert (found, content) == (code, None), words
        assert error["error"]["message"].startswith(start), words


def test_the_operator_opens_a_private_network(acme: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By PUSH_ALLOWED_TARGETS, as for the service."""
    words = [*CREATE[:4], "--target", "udp://127.0.0.1:9000", "--assets", "BTC", "--interval-s", "3"]
    message = acme(*words)[2]["error"]["message"]
    assert message.startswith("--target: ")
    assert "PUSH_ALLOWED_TARGETS" in message
    monkeypatch.setenv("PUSH_ALLOWED_TARGETS", "127.0.0.0/8")
    assert acme(*words)[1]["subscription"]["target"] == "udp://127.0.0.1:9000"


def test_a_test_is_checked_by_the_node_that_sends_it(acme: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command may not know what the node is allowed."""
    monkeypatch.setenv("PUSH_ALLOWED_TARGETS", "127.0.0.0/8")
    made = acme(*CREATE[:4], "--target", "udp://127.0.0.1:9000", "--assets", "BTC", "--interval-s", "3")[1]
    monkeypatch.delenv("PUSH_ALLOWED_TARGETS")
    assert acme("push", "test", str(made["subscription"]["id"]))[1]["order"]["kind"] == "test"
