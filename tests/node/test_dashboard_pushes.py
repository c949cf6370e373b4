"""Pushes of a whole demo, by its receiver and on the dashboard in a real Chromium: prices and events arrive, and what a
customer and the operator may do with them."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver

from tests.node.browser import Page, visit
from tests.node.harness import Node, new_node
from tests.node.test_dashboard import ADMIN_KEY, trinity
from tests.node.test_dashboard_administration import closed, fill, press


def received(node: Node) -> dict[str, Any]:
    """What the demo's receiver shows; empty while it does not answer."""
    try:
        trusted = ssl.create_default_context(cafile=str(node.data_dir / "receiver" / "authorities.pem"))
        url = f"https://127.0.0.1:{node.ports['PUSH_RECEIVER_PORT']}/"
        with urllib.request.urlopen(url, timeout=5, context=trusted) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except OSError:
        return {"subscriptions": [], "events": []}


def of_events(node: Node) -> list[str]:
    return [event["type"] for event in received(node)["events"]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One demo that pushes, with an operator."""
    with new_node(tmp_path_factory.mktemp("pushes"), ADMIN_KEY=ADMIN_KEY, PUSH="true") as started:
        started.start()
        started.wait_ready()
        started.wait("pushed prices", lambda: len(received(started)["subscriptions"]) == 3, 90)
        yield started
        assert started.stop() == 0


@pytest.fixture
def page(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    with visit(driver, node) as made:
        made.open("#/pushes")
        yield made


def manage(page: Page, row: int, act: str) -> None:
    """Press a button of the dialog about one of the list."""
    page.wait("the list", lambda: len(page.all("[data-act=manage]")) > row)
    page.script(f"document.querySelectorAll('[data-act=manage]')[{row}].click()")
    press(page, act, "dialog")


def fits(page: Page) -> bool:
    """Nothing that there is to read or to press lies beyond the edge of its table."""
    script = "return [...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)"
    return bool(page.script(script))


def test_a_stranger_sees_prices_of_every_kind_arrive(node: Node) -> None:
    """Over HTTPS by the clock and by moves, and over UDP; signed, in order, without a gap."""

    def later() -> Any:
        found = received(node)["subscriptions"]
        return found if all(one["messages"] > 2 for one in found if one["reason"] == "interval") else None

    found = node.wait("some messages of each", later, 60)
    assert {one["over"] for one in found} == {"https", "udp"}
    assert all(one["gaps"] == one["old"] == 0 for one in found)
    assert all(price.get("price") for one in found for price in one["prices"])


def test_what_happens_to_an_account_reaches_its_endpoint(node: Node) -> None:
    """A key that is made; the demo's account hears of its own alone."""
    trinity(node, "keys", "create", "--account", "somebody else")
    trinity(node, "keys", "create", "--account", "demo receiver")
    node.wait("the event", lambda: of_events(node) == ["key.created"], 30)


def test_the_operator_sees_all_tests_one_and_reads_why(page: Page) -> None:
    """The list, a test with its result, deliveries with their outcome, endpoints, events."""
    page.log_in(ADMIN_KEY)
    page.wait("the demo's subscriptions", lambda: len(page.all("main tbody tr")) == 3)
    page.wait("their account", lambda: "demo receiver" in page.text("main"))
    assert fits(page)
    assert page.serious_violations() == []
    manage(page, 0, "Test")
    page.wait("its end", lambda: "arrived" in page.texts("dialog .badge"), 30)
    assert page.serious_violations() == []
    press(page, "Close", "dialog")
    page.wait("the end of the dialog", lambda: closed(page))
    manage(page, 0, "Deliveries")
    page.wait("deliveries", lambda: page.texts("dialog tbody .badge"), 30)
    assert {"delivered", "sent"} >= set(page.texts("dialog tbody .badge"))
    assert fits(page)
    press(page, "Send again", "dialog")
    page.wait("the end of the replay", lambda: "arrived" in page.texts("dialog .badge"), 30)
    page.go("#/pushes/endpoints")
    page.wait("the endpoint", lambda: "/events" in page.text("main"))
    page.go("#/pushes/events")
    page.wait("the events", lambda: "key.created" in page.text("main") and "demo receiver" in page.text("main"))
    assert page.serious_violations() == []


def test_a_customer_s_subscription_on_the_page(page: Page) -> None:
    """Nothing at first; a private target is refused beside its field; made, paused, resumed, deleted."""
    key = trinity(page.node, "keys", "create", "--account", "Corner Shop")["api_key"]
    page.wait("the invitation", lambda: "belongs to a key" in page.text("main"))
    page.log_in(key)
    page.wait("the way on", lambda: "Nothing is pushed yet" in page.text("main"))
    press(page, "New subscription")
    fill(page, target="https://10.0.0.1/", assets="BTC, ETH", name="shop")
    press(page, "Make it", "dialog")
    page.wait("the reason", lambda: page.text("#field-target-wrong"))
    page.complaints()  # a refused request is one to the browser
    fill(page, target=f"https://127.0.0.1:{page.node.ports['PUSH_RECEIVER_PORT']}/prices")
    press(page, "Make it", "dialog")
    secret = "return document.getElementById('secret')?.value ?? ''"
    page.wait("the secret", lambda: page.script(secret).startswith("whsec_"))
    press(page, "I have it", "dialog")
    page.wait("the list", lambda: closed(page) and "shop" in page.text("main"))
    for act, state in (("Pause", "paused"), ("Resume", "active")):
        manage(page, 0, act)
        press(page, f"{act} it", "dialog")
        page.wait(state, lambda state=state: closed(page) and page.texts("main td .badge") == [state])
    manage(page, 0, "Change")
    fill(page, interval_s="20")
    press(page, "Change it", "dialog")
    page.wait("the change", lambda: closed(page) and "every 20 s" in page.text("main"))
    manage(page, 0, "Delete")
    fill(page, confirm="shop")
    press(page, "Delete it for good", "dialog")
    page.wait("the empty list", lambda: closed(page) and "Nothing is pushed yet" in page.text("main"))


def test_a_customer_s_endpoint_on_the_page(page: Page) -> None:
    """Made, tested; what became of the test is told."""
    key = trinity(page.node, "keys", "create", "--account", "Book Shop")["api_key"]
    page.wait("the page", lambda: page.all("#session"))
    page.log_in(key)
    page.go("#/pushes/endpoints")
    press(page, "New endpoint")
    fill(page, url=f"https://127.0.0.1:{page.node.ports['PUSH_RECEIVER_PORT']}/events", name="books")
    press(page, "Make it", "dialog")
    page.wait("the secret", lambda: page.all("#secret"))
    press(page, "I have it", "dialog")
    page.wait("the list", lambda: closed(page) and "books" in page.text("main"))
    manage(page, 0, "Test")
    press(page, "Test it", "dialog")
    page.wait("the end of the dialog", lambda: closed(page))
    manage(page, 0, "Deliveries")
    page.wait("the test", lambda: "endpoint.test" in page.text("dialog[open]"))
