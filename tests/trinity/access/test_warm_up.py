"""trinity/access/warm_up.py"""

import ast
from pathlib import Path

from trinity.access.warm_up import warm_up

ROOT = Path(__file__).resolve().parents[3]


def test_it_warms_up_what_the_reports_ask() -> None:
    """Every compiled function that the reports' admission.py takes from the gate and its headers is called here."""
    warm_up()
    asked, warmed = (
        _taken(ROOT / path) for path in ("workers/api/base/callers/admission.py", "trinity/access/warm_up.py")
    )
    assert {"admit_known", "charge", "append_limit_headers", "append_limits_left"} <= asked <= warmed


def _taken(path: Path) -> set[str]:
    """The functions that a file imports from the modules with compiled code."""
    rooms = [f"trinity.access.{room}" for room in ("charge", "gate", "limit_headers", "months")]
    rooms.append("trinity.memory.block_table")
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in rooms
        for alias in node.names
        if alias.name.islower()
    }
