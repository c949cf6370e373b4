"""The dashboard in a real Chromium while something is away: the reporter, the node, the database, the permission."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.node.browser import Page, visit
from tests.node.harness import Node, new_node
from tests.node.test_dashboard import ADMIN_KEY, ask, tile, trinity
from tests.support.database import DatabaseServer

pytestmark = pytest.mark.long

FRESH, OLD = "tr[data-asset] .badge.good", "tr[data-asset].old .badge.old"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A PostgreSQL that is not started yet."""
    made = DatabaseServer(tmp_path_factory.mktemp("late"))
    yield made
    if made.server.answers():
        made.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, database: DatabaseServer) -> Iterator[Node]:
    """A demo whose database is away."""
    folder = tmp_path_factory.mktemp("outages")
    with new_node(folder, ADMIN_KEY=ADMIN_KEY, DATABASE_URL=database.url()) as started:
        started.start()
        started.wait_ready()
        started.wait("the page", lambda: started.get("/session", "TCP_PORT_LRS")[0] == 200, 30)
        yield started
        assert started.stop() == 0


@pytest.fixture
def page(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    with visit(driver, node) as made:
        yield made


def _reporter(node: Node) -> int:
    return int(node.health()["processes"]["reporter-0"]["pid"])


def test_without_a_database_the_page_says_so_and_draws_when_it_comes(page: Page, database: DatabaseServer) -> None:
    """Nothing is asked that would be refused; candles and usage appear by themselves once the database is there."""
    page.open("#/usage")
    page.log_in(ADMIN_KEY)
    page.wait("the message", lambda: "Usage is not known while the database is away" in page.text("main"))
    page.go("#/node")
    page.wait("the message", lambda: page.text("main").count("Not known while the database is away") == 3)
    page.go("#/asset/BTC")
    page.wait("the message", lambda: "No candles while the database is away" in page.text("main"))
    page.wait("the lines", lambda: page.all("#lines[data-points] canvas"), 30)
    assert page.complaints() == []
    database.start()
    page.wait("a candle", lambda: page.all("#candles[data-points] canvas"), 100)
    page.go("#/usage")
    page.wait("usage", lambda: tile(page, "Requests"), 30)


def test_a_reporter_that_stands_still_leaves_no_price_green(page: Page) -> None:
    """Its connection stays open and silent: all rows turn grey, a line says why; afterwards they are fresh again."""
    page.open()
    page.wait("prices", lambda: len(page.all(FRESH)) > 5 and not page.all(OLD))
    reporter = _reporter(page.node)
    assert page.node.process is not None
    page.node.process.send_signal(signal.SIGSTOP)  # or the supervisor would end what stands still
    os.kill(reporter, signal.SIGSTOP)
    try:
        page.wait("all grey", lambda: page.all(OLD) and not page.all(FRESH), 10)
        page.wait("the line", lambda: page.shown("#lost") and page.text("#link") == "no connection")
        line = "return document.querySelector('tr[data-asset=BTC] .spark path').getAttribute('d')"
        drawn = page.script(line)
        page.wait("a gap in the line", lambda: page.script(line) != drawn)
        assert page.script(line).count("L") <= drawn.count("L"), "no point is made of an old price"
    finally:
        os.kill(reporter, signal.SIGCONT)
        page.wait("an answer", lambda: page.node.get("/session", "TCP_PORT_LRS")[0] == 200)
        page.node.process.send_signal(signal.SIGCONT)
    page.wait("all fresh", lambda: len(page.all(FRESH)) > 5 and not page.all(OLD), 30)
    assert not page.shown("#lost")
    page.complaints()  # of connections that ended, which is what this was about


def test_the_page_outlives_a_restart_of_the_node(page: Page) -> None:
    """Grey while the node is away, fresh without a reload when it is back."""
    page.open()
    page.wait("prices", lambda: len(page.all(FRESH)) > 5 and not page.all(OLD))
    assert page.node.stop() == 0
    page.node.process = None
    page.wait("all grey", lambda: page.all(OLD) and not page.all(FRESH), 10)
    assert page.shown("#lost")
    page.node.start()
    page.node.wait_ready()
    page.wait("all fresh", lambda: len(page.all(FRESH)) > 5 and not page.all(OLD), 60)
    assert not page.shown("#lost")
    page.complaints()  # of refused connections


def test_a_closed_node_shows_nothing_before_a_key_is_entered(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """The page asks for nothing that it would be refused; a customer's key shows prices and its account's usage alone,
    and after the log-out nothing of it is left."""
    with new_node(tmp_path / "closed", AUTH="required") as node:
        node.start()
        node.wait_ready()
        node.wait(
            "the database",
            lambda: "reporter-0" in node.health()["processes"] and node.get("/session", "TCP_PORT_LRS")[0] == 200,
            60,
        )
        key = node.wait("a key", lambda: _try_create(node), 60)
        node.wait("the key", lambda: ask(node, "BTC", key) == 200)
        with visit(driver, node) as page:
            page.open()
            page.wait("the closed door", lambda: page.text("main h1") == "This node needs a key")
            asked = {
                url.removeprefix(page.base).partition("?")[0] for url in page.requests() if url.startswith(page.base)
            }
            assert {path for path in asked if not path.startswith("/static/")} == {"/", "/session"}
            page.log_in(key)
            page.wait("prices", lambda: len(page.all(FRESH)) > 5)
            page.go("#/usage")
            page.wait("own usage", lambda: "This month" in page.text("main"), 30)
            page.go("#/node")
            page.wait("the inside is the operator's", lambda: "for the operator" in page.text("main"))
            page.go("#/")
            page.wait("prices", lambda: len(page.all(FRESH)) > 5)
            page.log_out()
            page.wait("the closed door", lambda: page.text("main h1") == "This node needs a key")
            assert not page.all("tr[data-asset]")
        assert node.stop() == 0


def _try_create(node: Node) -> str:
    """A new key, once the database is there."""
    with contextlib.suppress(AssertionError):
        return str(trinity(node, "keys", "create", "--account", "acme", "--plan", "unlimited")["api_key"])
    return ""
