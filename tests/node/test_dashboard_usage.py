"""The Usage page of a whole node in a real Chromium: time, month, customer, limit, forecast, files; spent months."""

import csv
import datetime
import io
import urllib.request
from collections.abc import Iterator

import psycopg
import pytest
from selenium import webdriver

from tests.node.browser import Page, visit
from tests.node.harness import Node, new_node
from tests.node.test_dashboard import ADMIN_KEY, ask, rows, section, tile, trinity
from trinity.store.embedded import embedded_url
from trinity.vocabulary import LATENCY_BUCKETS

QUOTA = 20
A_DAY = 700  # of the other customer, on each of the days before
DAYS = 9
_DAY = datetime.timedelta(days=1)
_PUT = """
INSERT INTO usage_day (start, key_id, asset_id, protocol, status, node_id, requests, lookups, latency_sum_ns,
    latency_buckets)
VALUES (%s, 2, (SELECT min(id) FROM assets), 0, 200, 1, %s, %s, 0, %s)
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One demo with two customers: the month of the first is spent, the second has days behind it."""
    with new_node(tmp_path_factory.mktemp("usage"), ADMIN_KEY=ADMIN_KEY) as started:
        started.start()
        started.wait_ready()
        started.wait("the database", lambda: started.get("/node", "TCP_PORT_LRS")[1].get("database"), 60)
        started.wait_all_sources()
        trinity(started, "plans", "set", "shop", "--rate", "1000", "--burst", "1000", "--quota", str(QUOTA))
        started.customer = trinity(started, "keys", "create", "--account", "Corner Shop", "--plan", "shop")["api_key"]  # type: ignore[attr-defined]
        trinity(started, "keys", "create", "--account", "Big Bank", "--plan", "standard")
        started.wait("the key", lambda: ask(started, "BTC", started.customer) == 200)  # type: ignore[attr-defined]
        while ask(started, "BTC", started.customer) == 200:  # type: ignore[attr-defined]
            pass
        today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with psycopg.connect(embedded_url(started.data_dir), autocommit=True) as connection:
            named = connection.cursor()
            started.wait("the ledger", lambda: named.execute("SELECT 1 FROM assets LIMIT 1").fetchone(), 60)
            for days in range(1, DAYS + 1):
                connection.execute(_PUT, [today - days * _DAY, A_DAY, A_DAY, [A_DAY] + [0] * (LATENCY_BUCKETS - 1)])
        yield started
        assert started.stop() == 0


@pytest.fixture
def page(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    with visit(driver, node) as made:
        yield made


def number(text: str) -> int:
    """The figure of a tile, without what stands behind it."""
    return int(text.split(" ")[0].replace(",", "") or 0)


def choose(page: Page, field: str, text: str) -> None:
    """The option that begins so."""
    find = f"[...document.getElementById('{field}').options].find((o) => o.textContent.startsWith({text!r}))"
    page.wait(f"the option {text}", lambda: page.script(f"return !!{find}"))
    page.script(
        f"const s = document.getElementById('{field}'); s.value = {find}.value; s.dispatchEvent(new Event('change'))"
    )


# What charts write from now on, and where each text begins.
_SPY = """
    window.written = [];
    const real = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, ...rest) {
      const left = this.textAlign === "center" ? x - this.measureText(text).width / 2 : x;
      window.written.push([text, left]);
      return real.call(this, text, x, ...rest);
    };
    dispatchEvent(new Event("themechange"));
"""


def test_counts_begin_at_zero_and_every_date_is_whole(page: Page) -> None:
    """No axis has a number below 0, and no date begins left of its chart, in each range."""
    page.open("#/usage")
    page.log_in(ADMIN_KEY)
    page.wait("the chart", lambda: page.all("#month canvas") and page.all("#time canvas"), 30)
    for text in ("Last 24 hours", "Last 30 days"):
        choose(page, "range", text)
        page.wait(text, lambda text=text: text in page.text("main") and page.all("#time[data-points] canvas"))
        page.script(_SPY)
        written = page.wait("the axes", lambda: page.script("return window.written"))
        dates = [left for label, left in written if label.startswith("20")]
        assert dates
        assert min(dates) > -1, "the library aligns to half a pixel"
        assert [label for label, _ in written if label[0] in "-−"] == []  # noqa: RUF001 - both are a minus


def test_a_spent_month_is_read_by_its_customer_and_the_page_costs_nothing_of_it(page: Page) -> None:
    """The page says that it is spent, with limit and reset, polls on, and the count stays where it was."""
    page.open("#/usage")
    page.log_in(page.node.customer)  # type: ignore[attr-defined]
    page.wait("the month", lambda: section(page, "This month").find("spent") > 0, 30)
    assert number(tile(page, "Used")) == QUOTA
    assert number(tile(page, "Limit")) == QUOTA
    assert number(tile(page, "Left")) == 0
    page.wait("the sentence", lambda: "The month is spent" in page.text("main .strip.bad"))
    page.wait("the chart", lambda: page.all("#month[data-points]"), 30)
    assert f"of {QUOTA}" in page.script("return document.getElementById('month').getAttribute('aria-label')")
    assert not page.all("#account"), "a customer has no other to choose"
    assert "Big Bank" not in page.text("main")
    calls = len(page.requests())
    page.wait("more calls", lambda: len(page.requests()) > calls + 10, 30)
    assert number(tile(page, "Used")) == QUOTA


def test_the_operator_chooses_time_and_customer_and_sees_the_forecast(page: Page) -> None:
    """Of one customer: the limit's line, and what the last seven whole days lead to; of a month, its days."""
    page.open("#/usage")
    page.log_in(ADMIN_KEY)
    choose(page, "account", "Big Bank")
    page.wait("its limit", lambda: number(tile(page, "Limit")) == 100_000_000, 30)
    now = datetime.datetime.now(datetime.UTC)
    used = A_DAY * min(DAYS, now.day - 1)
    assert number(tile(page, "Used")) == used
    month_end = (now.replace(day=28) + 4 * _DAY).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    expected = used + A_DAY * (month_end - now) / _DAY
    assert number(tile(page, "Forecast")) == pytest.approx(expected, abs=A_DAY / 20)
    assert "the mean of the last 7 whole days" in section(page, "This month")
    assert page.script("return document.getElementById('month').dataset.series") == "3", "used, forecast, limit"
    choose(page, "range", "Last 30 days")
    page.wait("its days", lambda: number(tile(page, "Requests")) == A_DAY * DAYS, 30)
    page.wait("a bar a day", lambda: page.script("return document.getElementById('time').dataset.points") == "30")
    choose(page, "account", "All customers")
    page.wait("both", lambda: set(rows(page, "Requests by customer")) >= {"Big Bank", "Corner Shop"}, 30)
    choose(page, "range", "Last 24 hours")


def test_what_is_shown_is_exported(page: Page) -> None:
    """CSV and Excel of the chosen time, through the session of the page."""
    page.open("#/usage")
    page.log_in(ADMIN_KEY)
    choose(page, "range", "Last 30 days")
    page.wait("the links", lambda: "granularity=day" in page.script(
        "return document.querySelector('.toolbar a')?.href ?? ''"), 30)  # fmt: skip
    cookie = "; ".join(f"{c['name']}={c['value']}" for c in page.driver.get_cookies())  # type: ignore[no-untyped-call]
    files = {}
    for link in page.all(".toolbar a")[:2]:
        request = urllib.request.Request(link.get_attribute("href"), headers={"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=30) as response:
            files[link.text] = response.read()
    table = list(csv.DictReader(io.StringIO(files["CSV"].decode("utf-8-sig"))))
    assert sum(int(row["requests"]) for row in table if row["account"] == "Big Bank") == A_DAY * DAYS
    assert files["Excel"].startswith(b"PK")


def test_a_time_without_requests_leads_on(page: Page) -> None:
    """A month in which nothing was asked says so, and where it is told how to ask."""
    page.open("#/usage")
    page.log_in(ADMIN_KEY)
    year_ago = datetime.datetime.now(datetime.UTC) - 330 * _DAY
    choose(page, "range", f"{year_ago:%Y-%m}")
    page.wait("the sentence", lambda: "Nothing was asked in this time" in section(page, f"{year_ago:%Y-%m}"), 30)
    assert page.all("main a[href='/docs']")
    choose(page, "range", "Last 24 hours")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_it_fits_a_phone(page: Page, theme: str) -> None:
    """With charts, in both themes; at 360 pixels nothing scrolls sideways, and no chart covers "simulated"."""
    page.open()
    page.script(f"localStorage.setItem('theme', '{theme}')")
    try:
        page.open("#/usage")
        page.log_in(ADMIN_KEY)
        page.wait("the charts", lambda: page.all("#month[data-points]") and page.all("#time[data-points]"), 30)
        assert page.serious_violations() == []
        page.on_phone()
        page.open("#/usage")
        page.wait("the charts", lambda: page.all("#month[data-points]") and page.all("#time[data-points]"), 30)
        wide = "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth)"
        outside = page.script(f"return {wide}.map((e) => e.tagName + '.' + e.className).slice(0, 9)")
        is_fit = page.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert is_fit, outside
        assert page.script("const bar = document.querySelector('nav'); return bar.scrollWidth <= bar.clientWidth")
        page.script("document.querySelector('#month').scrollIntoView({ block: 'end' })")
        assert page.script(
            "const box = document.querySelector('#simulated').getBoundingClientRect();"
            "return !!document.elementFromPoint(innerWidth / 2, box.top + box.height / 2)?.closest('#simulated')"
        )
    finally:
        page.script("localStorage.removeItem('theme')")
