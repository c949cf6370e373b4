"""A real Chromium before a node's page: what a person would see, and what a browser complains of."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.node.harness import Node

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

# Without them a headless browser asks its maker's hosts for updates, which is not the page's doing.
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1280,900",
)  # fmt: skip
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False}


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """A browser that keeps what it complains of, and what it asks for."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield started
    finally:
        started.quit()


class Page:
    """A node's page in the browser, and what a test asks of it."""

    def __init__(self, driver: webdriver.Chrome, node: Node) -> None:
        self.driver = driver
        self.node = node
        self.base = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}"
        self.asked: list[str] = []

    def open(self, path: str = "#/") -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.base}/{path}")

    def go(self, path: str) -> None:
        """To another view, without loading the page anew."""
        self.script(f"location.hash = {json.dumps(path)}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.script(f"return document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def texts(self, selector: str) -> list[str]:
        """The texts of all that match, at one moment."""
        found = self.script(f"return [...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")
        return [str(text) for text in found]

    def shown(self, selector: str) -> bool:
        return bool(self.script(f"return !!document.querySelector({json.dumps(selector)})?.checkVisibility()"))

    def script(self, source: str) -> Any:
        return self.driver.execute_script(source)  # type: ignore[no-untyped-call]

    def wait(self, what: str, ready: Any, seconds: float = 15.0) -> Any:
        return self.node.wait(what, ready, seconds)

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def log_in(self, key: str) -> None:
        """By keyboard alone, once the button is reached."""
        self.wait("the login button", lambda: self.text("#session") == "Log in" and self.shown("#session"))
        self.script("document.getElementById('session').focus()")
        self.press(Keys.ENTER)
        self.wait("the field", lambda: self.script("return document.activeElement.id") == "key")
        self.press(key + Keys.ENTER)
        self.wait("the session", lambda: self.text("#session") == "Log out")

    def log_out(self) -> None:
        self.driver.find_element(By.ID, "session").click()
        self.wait("the log-out", lambda: self.text("#session") == "Log in")

    def serious_violations(self) -> list[tuple[str, str]]:
        """What axe finds that shuts people out."""
        self.script((files("axe_selenium_python") / "node_modules/axe-core/axe.min.js").read_text())
        found = self.driver.execute_async_script("axe.run(document).then(arguments[0])")  # type: ignore[no-untyped-call]
        serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
        return [(rule["id"], node["html"]) for rule in serious for node in rule["nodes"]]

    def complaints(self) -> list[str]:
        """What the browser complained of since it was asked last."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """All addresses that the page asked for."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
        return self.asked

    def on_phone(self, is_phone: bool = True) -> None:
        command = "Emulation.setDeviceMetricsOverride" if is_phone else "Emulation.clearDeviceMetricsOverride"
        self.driver.execute_cdp_cmd(command, PHONE if is_phone else {})


@contextlib.contextmanager
def visit(driver: webdriver.Chrome, node: Node) -> Iterator[Page]:
    """A page without cookies; at its end the browser has complained of nothing and asked nobody else."""
    made = Page(driver, node)
    made.complaints()
    driver.get_log("performance")  # type: ignore[no-untyped-call]
    try:
        yield made
        complaints = made.complaints()
        assert not complaints, complaints
        strangers = [url for url in made.requests() if not url.startswith((made.base, "data:", "about:", "blob:"))]
        assert strangers == []
    finally:
        made.on_phone(False)
        driver.delete_all_cookies()
        driver.get("about:blank")
