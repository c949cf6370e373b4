"""Pictures of the dashboard for the documents: `python -m tests.node.pictures [FOLDER]` starts a demo and takes them.

The demo gets two days of candles from before it began (past.py), one exchange that is far off on BTC, and three that
are on ETH, so that the pictures show what matters: a price with its confidence, one source left out, one asset refused.
"""

import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from trinity.compiled import prepare_cache

prepare_cache(Path(".data").resolve())

from tests.node.browser import Page, browser, visit  # noqa: E402
from tests.node.harness import Node, new_node  # noqa: E402
from tests.node.past import store_minutes  # noqa: E402
from trinity.store.embedded import embedded_url  # noqa: E402

FOLDER = Path("docs/pictures")
DAYS = 2.0
FAULT_SECONDS = 600


class Shot(NamedTuple):
    """A view, what is there when it is filled, and how it is looked at."""

    name: str
    path: str
    filled: str
    theme: str = "light"
    is_phone: bool = False


SHOTS = (
    Shot("overview", "#/", "tr.bad"),
    Shot("overview-dark-phone", "#/", "tr[data-asset] .badge.good", "dark", is_phone=True),
    Shot("asset", "#/asset/BTC", '#lines[data-points="12"]'),
    Shot("asset-disputed-dark", "#/asset/ETH", '.banner.bad + * , #lines[data-points="12"]', "dark"),
)


def main(folder: Path) -> None:
    """Take all of them."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as data, new_node(Path(data)) as node, browser() as driver:
        node.start()
        node.wait_ready()
        node.wait("the database", lambda: node.get("/node", "TCP_PORT_LRS")[1].get("database"), 90)
        names = node.get("/assets")[1]["assets"]
        prices = {name: Decimal(str(node.price(name)[1]["price"])) for name in names}
        store_minutes(embedded_url(node.data_dir), prices, DAYS)
        _disturb(node)
        for shot in SHOTS:
            with visit(driver, node) as page:
                (folder / f"{shot.name}.png").write_bytes(_take(page, shot))
        node.stop()


def _disturb(node: Node) -> None:
    node.fault(exchange="okx", asset="BTC", fault="scale_price", value=1.002, seconds=FAULT_SECONDS)
    for exchange in ("coinbase", "gemini", "kraken"):
        node.fault(exchange=exchange, asset="ETH", fault="scale_price", value=1.1, seconds=FAULT_SECONDS)
    node.wait("the refusal", lambda: node.price("ETH")[0] == 503)


def _take(page: Page, shot: Shot) -> bytes:
    page.on_phone(shot.is_phone)
    page.open()
    page.script(f"localStorage.setItem('theme', '{shot.theme}')")
    page.open(shot.path)
    page.wait(shot.name, lambda: page.all(shot.filled) and page.text("#link") == "live", 60)
    picture: bytes = page.driver.get_screenshot_as_png()
    return picture


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
