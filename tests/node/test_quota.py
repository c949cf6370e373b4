"""What costs a customer's month and what does not, on a whole node: its page, its programs, both ports."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.node.harness import Node, new_node
from tests.node.test_access import ask, make_key, run, start_with_keys
from tests.workers.operator.smtp_server import Server, smtp_server
from trinity.limits import MISTAKES_PER_MINUTE

QUOTA = 100
# What the page asks for: once a second, and each time a view is opened.
PAGE_CALLS = (
    "/session",
    "/node",
    "/node/asset?asset=BTC",
    "/account",
    "/reports/summary",
    "/reports/top?by=key&limit=10",
    "/reports/usage?granularity=hour",
    "/history?asset=BTC&granularity=1m",
)


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What the node sends its mails to."""
    with smtp_server(tmp_path_factory.mktemp("mail")) as started:
        yield started


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, mails: Server) -> Iterator[Node]:
    """One node with simulated exchanges that answers keys only, and sends its mails to a server of this test."""
    with new_node(tmp_path_factory.mktemp("quota"), AUTH="required") as started:
        section = mails.section
        started.environment |= {"SMTP_HOST": section.smtp_host, "SMTP_PORT": str(section.smtp_port)}
        started.environment |= {"SMTP_SECURITY": "none", "SMTP_FROM": section.smtp_from}
        start_with_keys(started)
        started.wait_reports_ready()
        yield started
        assert started.stop() == 0


class Got(NamedTuple):
    """One answer of the reporting service."""

    status: int
    headers: dict[str, str]
    body: Any


def call(node: Node, target: str, **headers: str) -> Got:
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}{target}"
    request = urllib.request.Request(url, headers={name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Got(answer.status, dict(answer.headers.items()), json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        return Got(error.code, dict(error.headers.items()), json.loads(error.read()))


def sign_in(node: Node, key: str) -> str:
    """The cookie of a customer's page."""
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}/session"
    body = json.dumps({"key": key}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        cookies = answer.headers.get_all("Set-Cookie")
    return next(cookie.partition(";")[0] for cookie in cookies if cookie.startswith("trinity_key="))


def left_of(node: Node, key: str) -> int:
    """What the month has left, by the header of a price; which costs one."""
    status, _, headers = ask(node, key)
    assert status == 200
    return int(headers["RateLimit"].partition('"month";r=')[2].partition(";")[0])


def test_an_open_page_costs_nothing_of_the_month(node: Node) -> None:
    """A hundred of its calls and more, its stream held open beside them: the month has all of its lookups but one."""
    key, _ = make_key(node, "ada", "--quota", str(QUOTA))
    before = left_of(node, key)
    cookie = sign_in(node, key)
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}/stream/prices"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": cookie}), timeout=20) as stream:
        for number in range(2 * QUOTA):
            path = PAGE_CALLS[number % len(PAGE_CALLS)]
            got = node.wait(path, lambda path=path: _unless_limited(call(node, path, Cookie=cookie)), 20)
            assert got.status == 200, path
            assert stream.readline()
    assert left_of(node, key) == before - 1


def _unless_limited(got: Got) -> Got | None:
    return None if got.status == 429 and got.body["code"] == "rate_limited" else got


def test_a_spent_month_refuses_prices_and_answers_everything_else(node: Node) -> None:
    """On both ports: the customer reads account and reports, by key and on the page, and is told when prices go on."""
    key, _ = make_key(node, "grace", "--quota", "40")
    cookie = sign_in(node, key)
    while (answer := ask(node, key))[0] == 200:
        pass
    assert answer[1]["error"]["code"] == "quota_exceeded"
    assert ask(node, key, "/assets")[0] == 200
    assert call(node, "/node/asset?asset=BTC", X_API_Key=key).body["code"] == "quota_exceeded"
    assert node.ask(b"BTC key=" + key.encode())["error"]["code"] == "quota_exceeded"
    for path in ("/account", "/reports/summary", "/reports/usage?granularity=hour", "/api/v3/ping"):
        assert call(node, path, X_API_Key=key).status == 200, path
    for path in PAGE_CALLS:
        assert call(node, path, Cookie=cookie).status == 200, path


def test_a_customer_and_the_operator_are_told_what_is_used_and_warned(node: Node, mails: Server) -> None:
    """The same number from the page, the command line and the limit; then an event, and a mail to the customer."""
    key, number = make_key(node, "alan", "--quota", "50", "--email", "alan@example.com", "--name", "web shop")
    while ask(node, key)[0] == 200:
        pass
    report = call(node, "/key", X_API_Key=key).body
    assert (report["account"], report["name"], report["plan"]) == ("alan", "web shop", "unlimited")
    assert (report["limits"]["month"], report["month"]["used"], report["month"]["left"]) == (50, 50, 0)
    assert report["month"]["warning_percent"] == 100
    assert key not in json.dumps(report)
    assert run(node, "keys", "show", number)["key"]["used"] == 50
    node.wait("the ledger", lambda: run(node, "keys", "show", number)["key"]["last_used_at"], 60)
    (listed,) = [found for found in run(node, "keys", "list")["keys"] if found["id"] == int(number)]
    assert (listed["used"], listed["last_used_at"] is not None) == (50, True)
    assert run(node, "accounts", "show", "alan")["keys"] == [listed]
    received = mails.received
    node.wait("the mail", lambda: any(mail.recipients == ["alan@example.com"] for mail in received), 60)
    (mail,) = [mail for mail in received if mail.recipients == ["alan@example.com"]]
    assert str(mail.message["Subject"]).startswith("100 % of this month's quota is used: alan, web shop")
    lines = (node.data_dir / "logs" / "operator.jsonl").read_text().splitlines()
    warned = [
        line for line in map(json.loads, lines) if line["event"] == "quota warning" and str(line["key"]) == number
    ]
    assert [line["percent"] for line in warned] in ([100], [80, 100])


def test_mistakes_cost_nothing_up_to_a_bound_on_both_ports_together(node: Node) -> None:
    """HTTP, datagrams and the reporting service count one number, so the bound is one."""
    key, _ = make_key(node, "edsger", "--quota", "1000")
    before = left_of(node, key)
    mistakes = (
        lambda: ask(node, key, "/price?asset=NOPE")[0] == 404,
        lambda: ask(node, key, "/price?asset=BTC&max_age=1")[0] == 400,
        lambda: node.ask(b"NOPE key=" + key.encode())["error"]["code"] == "unknown_asset",
        lambda: call(node, "/history?asset=NOPE", X_API_Key=key).status in (400, 404),
    )
    for number in range(MISTAKES_PER_MINUTE // 2):
        assert mistakes[number % len(mistakes)]()
    assert left_of(node, key) == before - 1
    for number in range(3 * MISTAKES_PER_MINUTE):
        assert mistakes[number % 3]()
    spent = before - 2 - left_of(node, key)
    # All of them within one minute, or in two: a bound each.
    assert MISTAKES_PER_MINUTE <= spent <= 3 * MISTAKES_PER_MINUTE - MISTAKES_PER_MINUTE // 2
