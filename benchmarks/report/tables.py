"""A plain text table, as all results are shown."""

from collections.abc import Sequence
from typing import Any


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain text table, first column to the left, the others to the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(heads), *cells]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [list(heads), ["-" * width for width in widths], *cells]
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _text(cell: Any) -> str:
    if isinstance(cell, dict):
        return ", ".join(f"{key} {value}" for key, value in cell.items()) or "none"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1_000 else f"{cell:,.4g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
