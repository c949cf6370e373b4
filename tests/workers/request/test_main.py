"""workers/request/__main__.py"""

from pathlib import Path

import pytest

from tests.support.first_installed import FIRST, ROOT, compile_with_what_is_first
from trinity.compiled import jit_enabled


@pytest.mark.skipif(not jit_enabled(), reason="there is no machine code")
def test_the_loop_is_compiled_by_what_is_installed_first(tmp_path: Path) -> None:
    """It imports nothing that `make` installs later, and leaves the loop where a node looks for it."""
    assert "workers.request.loop._serve" in compile_with_what_is_first("workers.request", tmp_path)


def test_make_installs_first_what_the_loop_needs() -> None:
    """The names in the Makefile are these, and the lock has each of them."""
    pattern = f"/^({'|'.join(sorted(FIRST))})==/"
    assert pattern in (ROOT / "Makefile").read_text()
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert locked >= FIRST
