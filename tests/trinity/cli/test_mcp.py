"""Which node `trinity mcp` asks, and what it says without the protocol's library."""

import subprocess
import sys

import pytest

from trinity.cli.mcp import missing, node_of
from trinity.config import Config
from trinity.errors import ConfigError

KEY = "trk_mcp-tests-only"


def test_without_an_address_the_configured_ports_are_asked() -> None:
    """Lookups and reports each on their own."""
    assert node_of(Config(), {}) == ("http://127.0.0.1:8080", "http://127.0.0.1:9090", None)
    assert node_of(Config(), {"TRINITY_URL": "", "TRINITY_API_KEY": ""}) == node_of(Config(), {})


def test_another_node_is_one_address() -> None:
    """Its reporting service answers everything; the key is in no text."""
    node = node_of(Config(), {"TRINITY_URL": "https://far/oracle/", "TRINITY_API_KEY": KEY})
    assert node == ("https://far/oracle", "https://far/oracle", KEY)
    assert KEY not in repr(node)


def test_an_address_without_its_scheme_is_refused_at_the_start() -> None:
    """With the setting's name and what one looks like."""
    with pytest.raises(ConfigError, match=r"TRINITY_URL: .* such as http://host:9090"):
        node_of(Config(), {"TRINITY_URL": "far:9090"})


def test_without_the_library_it_says_which_extra_to_install() -> None:
    """On one line, exit code 2; a module of ours that is missing is no extra."""
    hidden = "import sys; sys.modules['mcp'] = None; from trinity.__main__ import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "configuration: mcp: the library is not installed: pip install 'trinity-oracle[mcp]'\n"
    ours = ModuleNotFoundError("no", name="trinity.gone")
    assert missing(ours) is ours
