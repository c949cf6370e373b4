"""benchmarks/feeds/sent_node.py"""

import tomllib

from benchmarks.feeds import sent_node
from trinity.markets import DEFAULT_PATH


def test_the_markets_file_is_written_as_toml() -> None:
    """What is written reads back the same, with the probe on its exchange alone."""
    markets = sent_node._markets()
    assert tomllib.loads(sent_node._toml(markets)) == markets
    listing = [name for name, table in markets["exchanges"].items() if "PROBE" in table["assets"]]
    assert listing == [sent_node.PROBE_EXCHANGE]
    assert markets["defaults"] == tomllib.loads(DEFAULT_PATH.read_text())["defaults"]
