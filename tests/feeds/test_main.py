"""feeds/__main__.py"""

from pathlib import Path

import pytest

from tests.support.first_installed import compile_with_what_is_first
from trinity.compiled import jit_enabled


@pytest.mark.skipif(not jit_enabled(), reason="there is no machine code")
def test_feeds_and_consensus_are_compiled_by_what_is_installed_first(tmp_path: Path) -> None:
    """It imports nothing that `make` installs later, and leaves the machine code where a node looks for it."""
    compiled = compile_with_what_is_first("feeds", tmp_path)
    assert {
        "feeds.consensus.cycle.serve",
        "feeds.consensus.candles.follow",
        "feeds.ingest.intake.take_frames",
    } <= compiled
