"""What a reader chooses on the dashboard, in a real Chromium: range, order, search, time zone, numbers; and what is
there for who comes to a place where nothing is."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from selenium import webdriver

from tests.node.browser import Page, visit
from tests.node.harness import Node
from tests.node.past import store_minutes
from tests.node.test_dashboard import FRESH, cell, tile
from trinity.store.embedded import embedded_url

DAYS = 8.0
MINUS = "\N{MINUS SIGN}"
CANDLES = "#candles[data-points] canvas"


@pytest.fixture(scope="module")
def old_node(node: Node) -> Node:
    """A node that seems to have run for eight days, for all assets but one."""
    node.wait("the database", lambda: node.get("/node", "TCP_PORT_LRS")[1].get("database"), 90)
    names = [name for name in node.get("/assets")[1]["assets"] if name != "XRP"]
    store_minutes(
        embedded_url(node.data_dir), {name: Decimal(str(node.price(name)[1]["price"])) for name in names}, 1.2
    )
    store_minutes(embedded_url(node.data_dir), {"BTC": Decimal(str(node.price()[1]["price"]))}, DAYS)
    return node


@pytest.fixture
def page(driver: webdriver.Chrome, old_node: Node) -> Iterator[Page]:
    with visit(driver, old_node) as made:
        made.open()
        made.script("localStorage.clear()")
        yield made
        made.script("localStorage.clear()")


def _points(page: Page) -> int:
    return int(page.script("return document.getElementById('candles').dataset.points ?? 0"))


def test_history_is_there_before_the_page_was_opened_in_the_range_that_is_chosen(page: Page) -> None:
    """Each button brings its own candles; the choice is remembered."""
    page.open("#/asset/BTC")
    page.wait("candles", lambda: page.all(CANDLES) and _points(page) > 300, 30)
    for name, least, most in (("1h", 50, 62), ("24h", 280, 290), ("7d", 160, 170)):
        page.script(f"document.querySelector('[data-range=\"{name}\"]').click()")
        page.wait(name, lambda least=least, most=most: least <= _points(page) <= most, 30)
    page.wait("the choice", lambda: page.texts('[aria-pressed="true"]') == ["7d"])
    page.open("#/asset/ETH")
    page.wait("the same range", lambda: page.texts('[aria-pressed="true"]') == ["7d"])


def test_the_day_of_each_asset_stands_beside_its_price(page: Page) -> None:
    """Change, high and low are those of the candles; of an asset without a day of them they are unknown."""
    page.wait("the day", lambda: cell(page, "BTC", "24 h") not in ("", "unknown"), 90)
    days = {day["asset"]: day for day in page.node.get("/node/day", "TCP_PORT_LRS")[1]["assets"]}
    change = float(cell(page, "BTC", "24 h").replace(MINUS, "-").removesuffix(" %"))
    now = float(cell(page, "BTC", "Price, USD").replace(",", ""))
    assert abs(change - 100 * (now / days["BTC"]["price_24h"] - 1)) < 0.5
    assert abs(float(cell(page, "BTC", "High").replace(",", "")) - days["BTC"]["high_24h"]) < 0.01
    assert {cell(page, "XRP", name) for name in ("24 h", "High", "Low")} == {"unknown"}


def test_rows_are_found_by_name_and_sorted_by_any_title(page: Page) -> None:
    """The order is told to screen readers and remembered; who finds nothing gets a way back."""
    page.wait("rows", lambda: len(page.all(FRESH)) > 5)
    page.wait("names", lambda: cell(page, "BTC", "Asset") == "BTC Bitcoin", 30)
    page.script("[...document.querySelectorAll('.sort')].find((button) => button.textContent === 'Price, USD').click()")
    page.wait("the dearest first", lambda: page.texts("tr[data-asset] th a")[:2] == ["BTC", "ETH"])
    assert page.script("return document.querySelector('th[aria-sort=descending]').textContent") == "Price, USD"
    page.open()
    page.wait("the same order", lambda: page.texts("tr[data-asset] th a")[:2] == ["BTC", "ETH"], 30)
    find = "const s = document.getElementById('search'); s.value = {}; s.dispatchEvent(new Event('input'))"
    page.script(find.format(json.dumps("bitcoin")))
    page.wait("two of this name", lambda: page.texts("tr[data-asset]:not([hidden]) th a") == ["BTC", "BCH"])
    page.script(find.format(json.dumps("nothing at all")))
    page.wait("that none is", lambda: "No asset of this node is called “nothing at all”" in page.text("main"))
    page.script("document.querySelector('.card [role=status] button').click()")
    page.wait("all rows", lambda: len(page.texts("tr[data-asset]:not([hidden])")) > 20)


def test_time_zone_and_numbers_are_chosen_and_remembered(page: Page) -> None:
    """Prices and the times of candles change at once, and stay so after a reload."""
    page.go("#/asset/BTC")
    page.wait("candles", lambda: page.all(CANDLES), 30)
    page.script("document.getElementById('format').click()")
    page.script("document.getElementById('zone').value = 'Asia/Tokyo'")
    page.script("document.getElementById('numbers').value = '1.234,56'")
    page.script("document.querySelector('#settings-form .primary').click()")
    page.wait("German numbers", lambda: "." in tile(page, "Price, USD") and "," in tile(page, "Price, USD")[-3:])
    page.wait("the zone", lambda: "times in Asia/Tokyo" in page.text("main"), 30)
    page.open("#/asset/BTC")
    page.wait("the zone again", lambda: "times in Asia/Tokyo" in page.text("main"), 30)
    page.script("""localStorage.setItem('format', '{"zone":"Nowhere/None","numbers":7}')""")
    page.open()
    page.wait("the usual numbers", lambda: cell(page, "BTC", "Price, USD")[-3:-2] == ".", 30)


def test_only_rows_near_the_screen_are_asked_for(page: Page) -> None:
    """On a phone the stream names fewer assets than there are, and others once they are scrolled to."""
    page.on_phone()
    page.open()
    page.wait("rows", lambda: len(page.all(FRESH)) > 5)
    asked = lambda: [url for url in page.requests() if "/stream/rows?assets=" in url]  # noqa: E731
    page.wait("the rows on the screen", asked)
    assets = len(page.node.get("/assets")[1]["assets"])
    assert len(asked()[-1].split(",")) < assets - 5
    page.script("window.scrollTo(0, document.body.scrollHeight)")
    page.wait("the last row", lambda: cell(page, "XRP", "Status") == "fresh")
    assert "XRP" in asked()[-1]


def test_an_unknown_asset_leads_to_those_that_there_are(page: Page) -> None:
    """With a link to each, and one back."""
    page.go("#/asset/NOPE")
    page.wait("the list", lambda: "BTC" in page.texts(".names a"))
    page.wait("the way back", lambda: page.texts("p.back a") == ["All prices"])
    page.script("document.querySelector('.names a[href$=BTC]').click()")
    page.wait("the asset", lambda: page.text("main h1").startswith("BTC"))
