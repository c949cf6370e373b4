"""The dashboard in a real Chromium, against a whole node: what a person would see, and what a browser complains of."""

import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.node.harness import Node, new_node

ADMIN_KEY = "the-operator-s-own-key"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")

# Without them a headless browser asks its maker's hosts for updates, which is not the page's doing.
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One demo with an operator for all tests of this module."""
    with new_node(tmp_path_factory.mktemp("dashboard"), ADMIN_KEY=ADMIN_KEY) as started:
        started.start()
        started.wait_ready()
        started.wait_all_sources()
        started.wait("the page", lambda: started.get("/session", "TCP_PORT_LRS")[0] == 200)
        yield started
        assert started.stop() == 0


class Page:
    """The browser, and what a test asks of it."""

    def __init__(self, driver: webdriver.Chrome, node: Node) -> None:
        self.driver = driver
        self.node = node
        self.base = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}"

    def open(self, path: str = "#/") -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.base}/{path}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.script(f"return document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def script(self, source: str) -> Any:
        return self.driver.execute_script(source)  # type: ignore[no-untyped-call]

    def wait(self, what: str, ready: Any, seconds: float = 15.0) -> Any:
        return self.node.wait(what, ready, seconds)

    def log_in(self) -> None:
        self.wait("the login button", lambda: self.text("#session") == "Log in")
        self.driver.find_element(By.ID, "session").click()
        self.driver.find_element(By.ID, "admin-key").send_keys(ADMIN_KEY + Keys.ENTER)
        self.wait("the session", lambda: self.text("#session") == "Log out")


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield started
    started.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    """A page without cookies; at its end the browser has complained of nothing and asked nobody else."""
    node.clear_faults()
    driver.get_log("browser")  # type: ignore[no-untyped-call]
    driver.get_log("performance")  # type: ignore[no-untyped-call]
    made = Page(driver, node)
    yield made
    errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert not errors
    for entry in driver.get_log("performance"):  # type: ignore[no-untyped-call]
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert url.startswith((made.base, "data:", "about:", "blob:")), url
    driver.delete_all_cookies()
    node.clear_faults()


def test_prices_move_by_themselves(page: Page) -> None:
    """The first row changes its price without a reload, and every asset has a fresh one."""
    page.open()
    first = page.wait("a first price", lambda: page.text('tr[data-asset="BTC"] td.price'))
    page.wait("another price", lambda: page.text('tr[data-asset="BTC"] td.price') not in ("", first))
    assets = len(page.node.get("/assets")[1]["assets"])
    page.wait("all assets fresh", lambda: len(page.all("tr[data-asset] .badge.good")) == assets)
    points = "return document.querySelector('.spark polyline')?.getAttribute('points') ?? ''"
    page.wait("a sparkline", lambda: page.script(points).count(",") > 1)
    assert page.all("#simulated")[0].is_displayed(), "nobody takes the demo for real"


def test_an_asset_shows_candles_each_exchange_and_its_sources(page: Page) -> None:
    """Charts draw: at least one closed candle, and a line for each exchange that lists the asset."""
    page.open("#/asset/BTC")
    page.wait("six lines", lambda: len(page.all("#lines .scatterlayer .trace")) == 6, 30)
    page.wait("a candle", lambda: page.all("#candles .boxlayer path, #candles .ohlclayer path"), 100)
    page.wait("six used sources", lambda: len(page.all("main table .badge.good")) == 6)


def test_a_dead_feed_turns_red_within_five_seconds(page: Page) -> None:
    """Once the exchange delivers nothing fresh, the page says so without a reload, with the reason."""
    page.open("#/feeds")
    page.wait("kraken is live", lambda: page.all('[data-feed="kraken"][data-level="good"]'))
    page.node.fault(exchange="kraken", fault="freeze", seconds=120)
    page.node.fault(exchange="kraken", fault="rest_500", seconds=120)
    page.wait("the feed is down", lambda: page.node.health()["feeds"]["kraken"]["status"] == "down", 60)
    page.wait("kraken is red", lambda: page.all('[data-feed="kraken"][data-level="bad"]'), 5)
    assert "kraken" in page.text('[data-feed="kraken"] dl')
    page.node.clear_faults()
    page.wait("kraken is live again", lambda: page.all('[data-feed="kraken"][data-level="good"]'), 60)


def test_the_operator_logs_in_with_the_keyboard_and_sees_the_inside(page: Page) -> None:
    """Usage and the node's inside need the admin key; afterwards the page shows them, until the log-out."""
    page.open("#/node")
    page.log_in()
    page.wait("processes", lambda: "worker-0" in page.text("main"))
    page.open("#/usage")
    page.wait("usage", lambda: "Last 24 hours" in page.text("main"), 30)
    page.driver.find_element(By.ID, "session").click()
    page.wait("the log-out", lambda: page.text("#session") == "Log in")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["#/", "#/asset/BTC", "#/feeds", "#/node"])
def test_axe_finds_nothing_serious(page: Page, path: str, theme: str) -> None:
    """Contrast, names, roles and order hold in both themes."""
    page.open(path)
    page.script(f"localStorage.setItem('theme', '{theme}')")
    page.open(path)
    page.wait("content", lambda: page.text("main h1") and page.text("#link") == "live")
    page.script((files("axe_selenium_python") / "node_modules/axe-core/axe.min.js").read_text())
    found = page.driver.execute_async_script("axe.run(document).then(arguments[0])")  # type: ignore[no-untyped-call]
    serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
    page.script("localStorage.removeItem('theme')")
    assert not serious, [(rule["id"], rule["nodes"][0]["html"]) for rule in serious]


def test_the_page_fits_a_phone(page: Page) -> None:
    """At 360 pixels nothing but a table's own frame scrolls sideways."""
    page.driver.set_window_size(360, 740)
    try:
        for path in ("#/", "#/asset/BTC", "#/feeds"):
            page.open(path)
            page.wait("content", lambda: page.text("main h1") and page.text("#link") == "live")
            assert page.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        page.driver.set_window_size(1280, 900)


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    """Tab goes through the links in order, the first one skips to the content, and Enter opens an asset."""
    page.open()
    page.wait("rows", lambda: page.all("tr[data-asset] a"))
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.script("return document.activeElement.className") == "skip"
    page.script("document.querySelector('tr[data-asset=\"ETH\"] a').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait("the asset", lambda: page.text("main h1") == "ETH")


def test_nothing_of_a_page_survives_in_a_file(tmp_path: Path) -> None:
    """The page's scripts never put text into the page as markup."""
    for script in (Path(__file__).parents[2] / "workers/reports/static").glob("*.js"):
        assert "innerHTML" not in script.read_text(), script
