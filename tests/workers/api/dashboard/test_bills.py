"""Bills on the page, in a real Chromium before a real reporting service: signed in by name and secret."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from selenium.webdriver.common.keys import Keys

from tests.node.browser import browser, visit
from tests.workers.api.live import live
from trinity.access import logins


def _wait(what: str, ready: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := ready():
            return value
        time.sleep(0.05)
    return pytest.fail(f"no {what} within {seconds} s")


def _look(port: int, secret: str, revoke: Callable[[], object]) -> None:
    node: Any = SimpleNamespace(ports={"TCP_PORT_LRS": port}, wait=_wait)
    with browser() as driver, visit(driver, node) as page:
        page.open()
        page.wait("the login button", lambda: page.text("#session") == "Log in" and page.shown("#session"))
        page.script("document.getElementById('session').click()")
        page.wait("the field", lambda: page.script("return document.activeElement.id") == "key")
        page.script("document.getElementById('name').value = 'Anna'")
        page.press(secret + Keys.ENTER)
        page.wait("the bills", lambda: "=Corner Shop" in page.text("main table"))
        assert (page.text("h1"), "49.90 EUR" in page.text("main table")) == ("Bills", True)
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
        assert page.complaints() == [], "nothing was asked that the role is refused"
        links = page.script("return [...document.querySelectorAll('main a')].map((link) => link.getAttribute('href'))")
        assert len(links) == 4
        ask = f"return fetch('{links[0]}').then((answer) => answer.headers.get('Content-Disposition'))"
        assert "trinity-bill-" in page.script(ask)
        revoke()
        page.wait("the end", lambda: page.script("return fetch('/reports/plans').then((r) => r.status)") == 403)
        assert page.complaints(), "a browser tells of each refusal"


async def test_who_bills_sees_usage_and_bills_alone_until_their_login_is_revoked(
    database_url: str, tmp_path: Path
) -> None:
    """On a node without ADMIN_KEY; whatever view is asked for, and nothing is asked that would be refused."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        secret = logins.create(connection, "Anna", "billing")[1]
        connection.execute("INSERT INTO accounts (name) VALUES ('=Corner Shop')")
        connection.execute(
            "INSERT INTO api_keys (account_id, plan_id, digest, prefix) VALUES (1, 2, sha256('x'), 'trk_')"
        )
        connection.execute("INSERT INTO plan_prices VALUES (2, '2026-01-01', 49.90, 'EUR')")
        async with live(tmp_path, database_url=database_url, admin_key=None) as service:
            await asyncio.to_thread(_look, service.port, secret, lambda: logins.revoke(connection, "Anna"))
