"""The bill of a month as a table: which month, which columns. Pure; docs/billing.md says what they mean.

Rules: a month is one of UTC, from its first moment to the next one's. A month that has not begun has no bill.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from trinity.store.partitions import first_day_of_sums
from workers.api.usage.columns import Column

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)

COLUMNS = (
    Column("month", "text"),
    Column("account_id", "integer"),
    Column("account", "name"),
    Column("plan", "name"),
    Column("plan_since", "date"),
    Column("keys", "integer"),
    Column("price", "amount"),
    Column("currency", "text"),
    Column("price_since", "date"),
    Column("base_amount", "amount"),
    Column("included", "integer"),  # null: the plan has no quota
    Column("answers", "integer"),
    Column("billable", "integer"),
    Column("overage", "integer"),
    Column("first_day", "date"),
    Column("last_day", "date"),
    Column("next_plan", "name"),  # the plan at the month's end, where it is another
)
STATEMENT = "billing.bill"


class Month(NamedTuple):
    """A month of UTC."""

    text: str
    start: datetime
    end: datetime

    @property
    def file(self) -> str:
        """What its bill is called as a file."""
        return f"trinity-bill-{self.text}"

    def parameters(self, account_ids: list[int] | None) -> dict[str, object]:
        """What the statement is given; None is every account."""
        return {"start": self.start, "end": self.end, "account_ids": account_ids}

    def head(self, now: datetime) -> dict[str, object]:
        """What is said before the rows; a month that is not over may still grow."""
        return {"month": self.text, "from": self.start, "to": self.end, "complete": now >= self.end}


def read_month(text: str, now: datetime, months_kept: int) -> Month:
    """`2026-11`; ValueError with what is wrong."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise ValueError("not a month: use 2026-11")
    year, month = int(found[1]), int(found[2])
    start = datetime(year, month, 1, tzinfo=UTC)
    if start > now:
        raise ValueError("this month has not begun")
    if start.date() < first_day_of_sums(now.date(), months_kept):
        raise ValueError(f"sums by day are kept for {months_kept} months")
    return Month(text, start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))
