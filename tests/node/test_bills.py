"""A whole node, and a person who bills: signed in by name and secret, in a real browser and by the command line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.node.browser import browser, visit
from tests.node.harness import Node, new_node
from tests.node.test_dashboard import ask, trinity

LOOKUPS = 5
# On the reporting service's port: one price, then two.
PRICES_OF_REPORTS = 3


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A demo without ADMIN_KEY, a customer on a plan with a price, and what they asked."""
    with new_node(tmp_path_factory.mktemp("billing")) as started:
        started.start()
        started.wait_ready()
        started.wait("the database", lambda: started.get("/node", "TCP_PORT_LRS")[1].get("database"), 60)
        started.wait_all_sources()
        key = trinity(started, "keys", "create", "--account", "=Corner Shop", "--plan", "standard")["api_key"]
        trinity(started, "plans", "price", "standard", "--price", "49.90", "--currency", "EUR")
        started.wait("the key", lambda: ask(started, "BTC", key) == 200)
        for _ in range(LOOKUPS - 1):
            assert ask(started, "BTC", key) == 200
        assert ask(started, "NOPE", key) == 404
        for target in ("/price?asset=BTC", "/api/v3/simple/price?ids=bitcoin,ethereum&vs_currencies=usd"):
            assert started.get(f"{target}&api_key={key}", "TCP_PORT_LRS")[0] == 200
        yield started


def _bill(node: Node) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = trinity(node, "bill", "--month", f"{datetime.now(UTC):%Y-%m}")["rows"]
    return rows


def test_a_bill_counts_what_was_asked(node: Node, tmp_path: Path) -> None:
    """Seconds later, by the command line: answers of both ports, those that cost, the price; and as a file."""
    billable = LOOKUPS + PRICES_OF_REPORTS
    node.wait("the ledger", lambda: _bill(node)[0]["billable"] >= billable, 60)
    (row,) = _bill(node)
    wanted = {"account": "=Corner Shop", "base_amount": "49.90", "currency": "EUR", "billable": billable}
    assert row | wanted == row
    path = tmp_path / "bill.json"
    trinity(node, "bill", "--month", row["month"], "--out", str(path))
    assert json.loads(path.read_text())["rows"] == [row]


def test_who_bills_sees_usage_and_bills_alone_until_their_login_is_revoked(node: Node) -> None:
    """By name and secret on a node without ADMIN_KEY; whatever view is asked for, nothing is that would be refused."""
    secret = trinity(node, "logins", "create", "Anna", "--role", "billing")["secret"]
    with browser() as driver, visit(driver, node) as page:
        page.open()
        page.wait("the login button", lambda: page.text("#session") == "Log in" and page.shown("#session"))
        page.script("document.getElementById('session').click()")
        page.wait("the field", lambda: page.script("return document.activeElement.id") == "key")
        page.script("document.getElementById('name').value = 'Anna'")
        page.press(secret + Keys.ENTER)
        page.wait("the bills", lambda: "=Corner Shop" in page.text("main table"))
        assert page.text("h1") == "Bills"
        assert "49.90 EUR" in page.text("main table")
        shown = [link.text for link in page.all("nav a") if link.is_displayed()]
        assert shown == ["Usage", "Bills", "API"], "no way leads to what the role is refused"
        page.go("#/node")
        page.wait("still the bills", lambda: page.text("h1") == "Bills" and page.all("main table"))
        assert page.texts("nav a[aria-current]") == ["Bills"]
        page.go("#/usage")
        page.wait("the customers", lambda: "=Corner Shop" in page.texts("#account option"))
        page.go("#/bills")
        page.wait("the bills again", lambda: page.text("h1") == "Bills" and page.all("main table"))
        assert page.serious_violations() == []
        assert page.complaints() == []
        links = page.script("return [...document.querySelectorAll('main a')].map((link) => link.getAttribute('href'))")
        assert len(links) == 4
        fetched = "return fetch(arguments[0]).then((r) => r.headers.get('Content-Disposition'))"
        assert "trinity-bill-" in driver.execute_script(fetched, links[0])  # type: ignore[no-untyped-call]
        trinity(node, "logins", "revoke", "Anna", "--yes")
        refused = "return fetch('/reports/accounts').then((r) => r.status)"
        node.wait("the end of the session", lambda: page.script(refused) == 403, 10)
        assert page.complaints(), "a browser tells of each refusal"
