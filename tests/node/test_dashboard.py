"""The dashboard of a whole node that does well, in a real Chromium: every figure, by eye, by keyboard, by ear."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.node.browser import Page, visit
from tests.node.harness import Node, new_node
from trinity.cache.address import cache_settings
from trinity.cache.client import SyncCacheClient
from trinity.store.embedded import embedded_url

ADMIN_KEY = "the-operator-s-own-key"
FRESH = "tr[data-asset] .badge.good"
VIEWS = ("#/", "#/asset/BTC", "#/feeds", "#/usage", "#/node", "#/cluster")
# Of the lookups that the node is asked before its usage is looked at.
WITH_KEY, WITHOUT_KEY, UNKNOWN = 7, 5, 3


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[Node]:
    """One demo with an operator, a cache, a key, a block, and some usage, for all tests of this module."""
    with new_node(tmp_path_factory.mktemp("dashboard"), ADMIN_KEY=ADMIN_KEY, CACHE_URL=valkey_url) as started:
        started.start()
        started.wait_ready()
        started.wait("the database", lambda: started.get("/node", "TCP_PORT_LRS")[1].get("database"), 60)
        started.wait_all_sources()
        started.wait(
            "what is listed", lambda: min(started.metrics("trinity_asset_listing_age_seconds"), default=-1) >= 0
        )
        key = trinity(started, "keys", "create", "--account", "Corner Shop", "--plan", "standard")["api_key"]
        trinity(started, "block", "203.0.113.0/24", "--reason", "scraping")
        started.wait("the key", lambda: ask(started, "BTC", key) == 200)
        assert [ask(started, "BTC", key) for _ in range(WITH_KEY - 1)] == [200] * (WITH_KEY - 1)
        assert [ask(started, "ETH") for _ in range(WITHOUT_KEY)] == [200] * WITHOUT_KEY
        assert [ask(started, "NOPE") for _ in range(UNKNOWN)] == [404] * UNKNOWN
        yield started
        assert started.stop() == 0


@pytest.fixture
def page(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    node.clear_faults()
    with visit(driver, node) as made:
        yield made
    node.clear_faults()


def trinity(node: Node, *words: str) -> dict[str, Any]:
    """Type a command beside the node; its object."""
    command = [sys.executable, "-m", "trinity", *words, "--json"]
    run = subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def ask(node: Node, asset: str, key: str = "") -> int:
    """One lookup; its status."""
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LPO']}/price?asset={asset}"
    request = urllib.request.Request(url, headers={"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def tile(page: Page, name: str, within: str = "main") -> str:
    """A figure by its name."""
    source = f"""return [...document.querySelectorAll({json.dumps(within + " li")})]
        .find((pair) => pair.firstChild.textContent === {json.dumps(name)})?.lastChild.textContent ?? ''"""
    return str(page.script(source))


def rows(page: Page, caption: str) -> dict[str, str]:
    """A table's first two columns, by its caption."""
    source = f"""
        const tables = [...document.querySelectorAll('main table')];
        const found = tables.find((table) => table.caption?.textContent === {json.dumps(caption)});
        const rows = found?.tBodies[0].rows ?? [];
        return [...rows].map((row) => [row.cells[0].textContent, row.cells[1].textContent])"""
    return {str(name): str(value) for name, value in page.script(source)}


def section(page: Page, title: str) -> str:
    """The text of a card whose title begins so."""
    source = f"""return [...document.querySelectorAll('main .card')]
        .find((card) => card.querySelector('h2')?.textContent.startsWith({json.dumps(title)}))?.innerText ?? ''"""
    return str(page.script(source))


def cell(page: Page, asset: str, title: str) -> str:
    """What stands in an asset's row below this title."""
    source = f"""
        const heads = [...document.querySelectorAll('.prices thead th')].map((head) => head.textContent);
        const row = document.querySelector('tr[data-asset="{asset}"]');
        return row?.cells[heads.indexOf({json.dumps(title)})]?.textContent ?? ''"""
    return str(page.script(source))


def test_prices_move_by_themselves_with_all_that_belongs_to_them(page: Page) -> None:
    """The first row changes its price without a reload; each has its spread and confidence in bps, sources, age, a
    line, and is fresh; the row itself stays the same, only its texts change."""
    page.open()
    first = page.wait("a first price", lambda: page.text('tr[data-asset="BTC"] td.price'))
    page.script("document.querySelector('tr[data-asset=BTC]').isFirst = true")
    page.wait("another price", lambda: page.text('tr[data-asset="BTC"] td.price') not in ("", first))
    assert page.script("return document.querySelector('tr[data-asset=BTC]').isFirst")
    assets = len(page.node.get("/assets")[1]["assets"])
    page.wait("the rows on the screen fresh", lambda: len(page.all(FRESH)) > 5)
    page.wait("an age", lambda: cell(page, "BTC", "Age"))
    price = float(cell(page, "BTC", "Price, USD").replace(",", ""))
    assert abs(price / page.node.price()[1]["price"] - 1) < 0.01
    assert 0 < float(cell(page, "BTC", "± bps")) < 100
    assert 0 < float(cell(page, "BTC", "Spread")) < 100
    assert cell(page, "BTC", "Sources") == "6 of 6"
    assert cell(page, "BTC", "Age").endswith((" ms", " s"))
    page.wait("a name", lambda: cell(page, "BTC", "Asset") == "BTC Bitcoin")
    page.wait(
        "a line",
        lambda: page.script("return document.querySelector('.spark path').getAttribute('d') ?? ''").count("L") > 1,
    )
    page.wait("the overview", lambda: tile(page, "Fresh prices") == f"{assets} of {assets}")
    assert tile(page, "Exchanges live") == "6 of 6"
    assert page.shown("#simulated"), "nobody takes the demo for real"


@pytest.mark.parametrize("ahead_ms", [-3_600_000, 3_600_000])
def test_ages_do_not_come_from_the_browser_s_clock(page: Page, ahead_ms: int) -> None:
    """A browser whose clock is an hour off shows the same ages."""
    source = f"const now = Date.now; Date.now = () => now() + {ahead_ms};"
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        page.open()
        page.wait("prices", lambda: len(page.all(FRESH)) > 5)
        page.wait("an age", lambda: cell(page, "BTC", "Age") not in ("", "0 ms"))
        assert cell(page, "BTC", "Age").endswith((" ms", " s"))
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_a_page_that_was_left_holds_no_connection(page: Page) -> None:
    """Its stream ends, although the browser keeps the page; on the way back there is a new one, with fresh prices."""
    ended = "SELECT count(*) FROM report_usage_log WHERE path = '/stream/rows'"
    with psycopg.connect(embedded_url(page.node.data_dir), autocommit=True) as connection:
        before = connection.execute(ended).fetchone()
        assert before is not None
        for _ in range(2):
            page.open()
            page.wait("prices", lambda: len(page.all(FRESH)) > 5)
        page.driver.get("about:blank")
        page.wait("the streams' end", lambda: connection.execute(ended).fetchone() >= (before[0] + 2,), 5)
    page.driver.back()
    page.wait("prices again", lambda: len(page.all(FRESH)) > 5)


def test_a_dead_feed_turns_red_within_five_seconds(page: Page) -> None:
    """From the moment that both its transports are cut, without a reload, and it says why."""
    page.open("#/feeds")
    page.wait("kraken is live", lambda: page.all('[data-feed="kraken"][data-level="good"]'), 60)
    cut_at = time.monotonic()
    page.node.fault(exchange="kraken", fault="rest_500", seconds=120)
    page.node.fault(exchange="kraken", fault="refuse", seconds=120)
    page.wait("kraken is red", lambda: page.all('[data-feed="kraken"][data-level="bad"]'), 15)
    assert time.monotonic() - cut_at < 5.0 + 4.0  # of a machine that does much else
    for why in ("no quote for", "not connected"):
        page.wait(why, lambda why=why: why in page.text('[data-feed="kraken"] .facts'))
    page.node.clear_faults()
    page.wait("kraken is live again", lambda: page.all('[data-feed="kraken"][data-level="good"]'), 60)


def test_no_news_at_all_is_no_lost_connection(page: Page) -> None:
    """When every exchange is dead there is silence, then each price is refused; nobody blames the connection."""
    page.open()
    page.wait("prices", lambda: len(page.all(FRESH)) > 5)
    for exchange in page.node.health()["feeds"]:
        page.node.fault(exchange=exchange, fault="rest_500", seconds=120)
        page.node.fault(exchange=exchange, fault="refuse", seconds=120)

    def is_refused() -> bool:
        assert not page.shown("#lost")
        return page.text('tr[data-asset="BTC"] td.price') == "refused"

    page.wait("the refusal", is_refused, 30)
    whys = ("stale price", "too few sources")
    page.wait("why", lambda: page.text('tr[data-asset="BTC"] .badge.bad') in whys)
    page.node.clear_faults()
    page.wait("all fresh", lambda: not page.all("tr[data-asset] .badge.bad"), 60)


def test_the_operator_sees_usage_by_key_asset_and_status_and_its_latency(page: Page) -> None:
    """The figures are those of the lookups that were made."""
    page.open("#/usage")
    page.wait("the refusal", lambda: "Usage belongs to a key" in page.text("main"))
    page.log_in(ADMIN_KEY)
    asked = WITH_KEY + WITHOUT_KEY + UNKNOWN
    page.wait("usage", lambda: int(tile(page, "Requests").replace(",", "") or 0) >= asked, 30)
    keys = rows(page, "Requests by key")
    assert int(next(asked for name, asked in keys.items() if name.startswith("Corner Shop: "))) >= WITH_KEY
    assert int(rows(page, "Requests by customer")["Corner Shop"]) >= WITH_KEY
    assert int(keys["without a key"].replace(",", "")) >= WITHOUT_KEY + UNKNOWN
    assert int(rows(page, "Prices looked up, by asset")["ETH"].replace(",", "")) >= WITHOUT_KEY
    assert int(rows(page, "Requests by status")["404 not found"]) >= UNKNOWN
    assert "http" in rows(page, "Requests by protocol")
    for name in ("Median", "90 % within", "99 % within", "Mean"):
        assert tile(page, name).endswith((" µs", " ms")), name
    page.log_out()
    page.wait("nothing is left", lambda: "Usage belongs to a key" in page.text("main"))


def test_the_operator_sees_processes_ledger_limits_and_blocks(page: Page) -> None:
    """Everything of the node's inside is there, and true; polls change it in place, so that the focus stays."""
    page.open("#/node")
    page.log_in(ADMIN_KEY)
    page.wait("processes", lambda: rows(page, "Processes").get("worker-0") == "alive")
    assert rows(page, "Processes")["supervisor"] == "alive"
    assert tile(page, "Lag").endswith(" s")
    page.wait("rows", lambda: int(tile(page, "Loaded").split("rows")[0].replace(",", "")) >= WITH_KEY, 30)
    assert tile(page, "Database") == "takes records"
    assert rows(page, "Limits of the plans") == {
        "free": "10 a second",
        "standard": "100 a second",
        "pro": "1,000 a second",
        "unlimited": "no limit",
    }
    assert "Prices a month" in section(page, "Limits")
    assert rows(page, "Blocked addresses") == {"203.0.113.0/24": "scraping"}
    assert "rate limited" in section(page, "Refused since the start")
    page.script("document.querySelector('main .scroll').focus()")
    before = section(page, "Processes")
    page.wait("another heartbeat", lambda: section(page, "Processes") != before)
    assert page.script("return document.activeElement.getAttribute('aria-label')") == "Processes"


def test_an_asset_shows_candles_each_exchange_and_its_sources(page: Page) -> None:
    """Charts draw, and whoever does not see them hears or reads the same numbers."""
    page.open("#/asset/BTC")
    page.wait("a line each and the consensus", lambda: page.all('#lines[data-series="7"]'), 30)
    page.wait("a candle", lambda: page.all("#candles[data-points] canvas"), 100)
    page.wait("six used sources", lambda: len(page.all("main table .badge.good")) == 6)
    page.script("document.querySelector('details summary').click()")
    page.wait("the table", lambda: page.all("details td"))
    last = page.script("return [...document.querySelectorAll('details td')].at(3).textContent")
    assert f"last {last} USD" in page.script("return document.getElementById('candles').getAttribute('aria-label')")
    heard = page.script("return document.getElementById('lines').getAttribute('aria-label')")
    assert all(exchange in heard for exchange in page.node.health()["feeds"])
    assert tile(page, "Confidence").startswith("± ")
    assert tile(page, "Confidence").endswith(" bps")


def test_a_disputed_asset_shows_no_price_and_no_good_source(page: Page) -> None:
    """The last good price stands under its own name, the sources are disputed, with the spread and what was needed."""
    for exchange in ("coinbase", "gemini", "kraken"):
        page.node.fault(exchange=exchange, asset="ETH", fault="scale_price", value=1.1, seconds=120)
    try:
        page.open("#/asset/ETH")
        page.wait("the refusal", lambda: tile(page, "Price, USD") == "refused")
        page.wait("six disputed sources", lambda: page.texts("main table .badge.bad") == ["disputed"] * 6)
        assert not page.all("main table .badge.good")
        assert tile(page, "Status") == "disputed"
        banner = page.text(".banner.bad")
        assert "Disputed: there is no price now" in banner
        assert "The last good one was" in banner
        assert "4 of them within 100 bps are needed" in section(page, "Why this price")
        assert page.script("return document.querySelector('.banner').dataset.sign"), "a shape, not a colour alone"
        verdict = "the exchanges disagree: no one of them counts"
        page.wait("each one's verdict", lambda: page.texts(".verdict small") == [verdict] * 6)
        page.go("#/")
        page.wait("the row", lambda: cell(page, "ETH", "Price, USD") == "refused")
        assert cell(page, "ETH", "Status") == "disputed"
    finally:
        page.node.clear_faults()
    page.go("#/asset/ETH")
    page.wait("six used sources", lambda: len(page.all("main table .badge.good")) == 6, 30)


def test_the_day_s_figures_are_in_valkey_and_on_the_page(page: Page, valkey_url: str) -> None:
    """kcc:daily holds the day, and the page shows it with its hours, protocols, statuses and assets."""
    client = SyncCacheClient.open(cache_settings(valkey_url))
    asked = WITH_KEY + WITHOUT_KEY + UNKNOWN
    read = lambda: json.loads(client.get("kcc:daily") or b"{}")  # noqa: E731
    page.wait("figures of all lookups", lambda: read().get("requests", 0) >= asked, 90)
    assert 0 < client.run([("TTL", "kcc:daily")])[0] <= 24 * 3600
    page.open("#/node")
    page.log_in(ADMIN_KEY)
    page.wait("figures", lambda: section(page, "The day's figures, 20"))
    page.wait("requests", lambda: f"Requests\n{read()['requests']:,}" in section(page, "The day's figures"))
    figures = read()
    assert rows(page, "Requests of the day by protocol") == {"http": f"{figures['by_protocol']['http']:,}"}
    assert int(rows(page, "Requests of the day by status")["404 not found"]) == figures["by_status"]["404"]
    assert (
        int(rows(page, "Prices looked up on the day by asset")["BTC"].replace(",", "")) == figures["top_assets"]["BTC"]
    )
    heard = page.script(
        "return [...document.querySelectorAll('.columns [role=img]')].map((e) => e.ariaLabel).join(' ')"
    )
    assert all(f"{int(hour):02}:00: {requests:,}" in heard for hour, requests in figures["by_hour"].items())
    client.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, theme: str) -> None:
    """Contrast, names, roles and order hold in both themes, in every view with its charts, and in the open dialog."""
    page.open()
    page.script(f"localStorage.setItem('theme', '{theme}')")
    try:
        page.open()
        page.wait("the button", lambda: page.shown("#session"))
        page.script("document.getElementById('session').click()")
        assert page.serious_violations() == [], "the dialog"
        page.press(Keys.ESCAPE)
        page.log_in(ADMIN_KEY)
        for path in VIEWS:
            page.go(path)
            _wait_filled(page, path)
            assert page.serious_violations() == [], path
    finally:
        page.script("localStorage.removeItem('theme')")


def test_the_cluster_is_shown_to_the_operator_alone(page: Page) -> None:
    """Each node with its state, who leads, load and lags; nobody else has the link."""
    page.open("#/cluster")
    page.wait("the refusal", lambda: "for the operator" in page.text("main"))
    assert page.script("return document.querySelector('nav a[href=\"#/cluster\"]').hidden")
    page.log_in(ADMIN_KEY)
    page.wait("the node", lambda: section(page, "Nodes"))
    assert not page.script("return document.querySelector('nav a[href=\"#/cluster\"]').hidden")
    node = page.node.get("/health", "HEALTH_PORT_LPO")[1]["node"]
    page.wait("who leads", lambda: "leads" in section(page, "Nodes"), 60)
    for title in ("Nodes", "Load", "Prices and lags", "Turned away"):
        assert node in section(page, title)
    assert "6 of 6" in section(page, "Prices and lags")


def test_every_view_fits_a_phone(page: Page) -> None:
    """At 360 pixels nothing but a table's own frame scrolls sideways, and each price has its status in sight."""
    page.on_phone()
    page.open()
    page.log_in(ADMIN_KEY)
    for path in VIEWS:
        page.go(path)
        _wait_filled(page, path)
        assert page.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    page.go("#/")
    page.wait("prices", lambda: page.all(FRESH))
    assert page.script(
        "const t = document.querySelector('.prices'); return t.scrollWidth <= t.parentElement.clientWidth"
    )


def _wait_filled(page: Page, path: str) -> None:
    """Until the view shows what it is for."""
    filled = {
        "#/": "tr[data-asset] .badge.good",
        "#/asset/BTC": "#candles[data-points] canvas",
        "#/feeds": "[data-feed]",
        "#/usage": "td.share",
        "#/node": "main table",
        "#/cluster": "main table td",
    }[path]
    page.wait(f"content of {path}", lambda: page.all(filled) and page.text("#link") == "live", 100)


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    """The first Tab leads to the link that skips to the content; from there Tab walks the rows, and Enter opens one."""
    page.open()
    page.wait("rows", lambda: len(page.all(FRESH)) > 5)
    page.press(Keys.TAB)
    page.wait("the link", lambda: page.script("return document.activeElement.className") == "skip")
    page.press(Keys.ENTER)
    page.wait("the content", lambda: page.script("return document.activeElement.id") == "main")
    assert page.text("main h1") == "Prices", "it skips, and goes nowhere else"
    page.press(Keys.TAB)
    page.wait("the search", lambda: page.script("return document.activeElement.id") == "search")
    page.press("ethereum")
    page.wait("one row", lambda: page.texts("tr[data-asset]:not([hidden]) th a") == ["ETH"])
    for _ in range(12):  # the table's frame, ten titles to sort by, the row
        page.press(Keys.TAB)
    page.wait("the row", lambda: page.script("return document.activeElement.textContent") == "ETH")
    page.press(Keys.ENTER)
    page.wait("the asset", lambda: page.text("main h1").startswith("ETH"))


@pytest.mark.parametrize("path", ["#/constructor", "#/asset/%", "#/%E0%A4%A", "#/nothing", "#/asset/NOPE", "#/asset/"])
def test_an_address_that_leads_nowhere_says_so(page: Page, path: str) -> None:
    """No name of the language's own, broken escape or unknown asset is a view, or an error."""
    page.open(path)
    page.wait("the answer", lambda: "no such page" in page.text("main") or "no asset of this name" in page.text("main"))
