"""What a limit table holds of a key's month: the layout of trinity/memory/limit_table.py, read for tests alone."""

from trinity.memory import limit_table
from trinity.memory.limit_table import LimitTable


def quota_used(table: LimitTable, key_id: int) -> tuple[int, int]:
    """The newest month in which this key asked, counted since the year 0, and its requests under a quota in it."""
    word = int(table.words[limit_table.HEADER_WORDS + key_id * limit_table.ENTRY_WORDS + limit_table.QUOTA])
    return word >> limit_table.MONTH_SHIFT, word & limit_table.COUNT_MASK
