"""Warnings when a month's quota is nearly or wholly used: an event of the account, and a mail where it is configured.

    warn         on every node: looks at its own counts, claims what has reached a threshold, and emits its event
    send_mails   on the one active node: hands what is claimed to the mailer, and marks what was sent

Rules: a row of the database claims each warning, so there is one a key, month and threshold in the whole cluster,
whichever node counted it; the event is of the same transaction. The month is the clock's (UTC). A mail goes to the
account's address, a copy to the operator; who has none is told by the event and in `/account` alone. What could not be
sent is tried again, ever more seldom.
"""

import datetime
import logging

import numpy as np

from trinity.limits import QUOTA_WARNING_PERCENTS
from trinity.memory.control import ProcessBlock
from trinity.memory.limit_table import LimitTable
from trinity.observe.metrics import OPERATOR
from trinity.push.events import emit
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.operator.mail import Letter, Mailer

# Mails handed over at once: with a server that is silent they take some minutes.
MAILS_AT_ONCE = 20

_WARNINGS = {percent: OPERATOR.index("quota_warnings_total", str(percent)) for percent in QUOTA_WARNING_PERCENTS}
_SENT, _FAILED = (OPERATOR.index("operator_mails_total", result) for result in ("sent", "failed"))


class QuotaWarnings:
    """The warnings of one node's process."""

    def __init__(self, limits: LimitTable, mailer: Mailer, block: ProcessBlock, log: logging.Logger) -> None:
        self._limits = limits
        self._mailer = mailer
        self._block = block
        self._log = log

    def warn(self, connection: AnyConnection, now: datetime.datetime) -> None:
        """Claim the thresholds that keys have reached by this node's counts, and tell of those that were new."""
        quotas = np.array(connection.execute(load("quotas.quotas")).fetchall(), dtype=np.int64).reshape(-1, 2)
        used = self._limits.used(quotas[:, 0], now.year * 12 + now.month - 1)
        reached = [
            (int(key_id), percent, int(count), int(quota))
            for (key_id, quota), count in zip(quotas, used, strict=True)
            for percent in QUOTA_WARNING_PERCENTS
            if int(count) * 100 >= int(quota) * percent
        ]
        if not reached:
            return
        month = now.date().replace(day=1)
        columns = zip(("key_ids", "percents", "used", "quotas"), map(list, zip(*reached, strict=True)), strict=True)
        with connection.transaction():
            rows = connection.execute(load("quotas.claim"), {"month": month, **dict(columns)}).fetchall()
            for key_id, prefix, _, account_id, percent, count, quota in rows:
                told = {"key": key_id, "prefix": prefix, "month": f"{month:%Y-%m}", "percent": percent}
                emit(connection, account_id, "key.quota_warning", {**told, "used": count, "quota": quota})
        for key_id, prefix, account, _, percent, count, quota in rows:
            self._block.count(_WARNINGS[percent])
            fields = {"key": key_id, "prefix": prefix, "account": account, "percent": percent, "used": count}
            self._log.warning("quota warning", extra={"fields": {**fields, "quota": quota, "month": f"{month:%Y-%m}"}})

    def send_mails(self, connection: AnyConnection) -> None:
        """Mark what was sent, tell what was not, and hand over what is due."""
        if not self._mailer.is_configured:
            return
        for letter, failure in self._mailer.take():
            key_id, month, percent = letter.reference
            fields = {"key": key_id, "percent": percent, "month": f"{month:%Y-%m}"}
            self._block.count(_SENT if failure is None else _FAILED)
            if failure is None:
                connection.execute(load("quotas.mailed"), letter.reference)
                self._log.info("quota mail sent", extra={"fields": fields})
            else:
                self._log.warning("quota mail is tried again", extra={"fields": {**fields, "error": failure}})
        if not self._mailer.is_idle:
            return
        rows = connection.execute(load("quotas.take_mails"), {"count": MAILS_AT_ONCE}).fetchall()
        letters = [_letter(self._mailer.operator, *row) for row in rows]
        for letter in letters:
            if not letter.recipients:
                connection.execute(load("quotas.mailed"), letter.reference)
        self._mailer.send([letter for letter in letters if letter.recipients])


def _letter(
    operator: str, key_id: int, month: datetime.date, percent: int, used: int, quota: int, prefix: str, name: str,
    account: str, email: str | None,
) -> Letter:  # fmt: skip
    called = f"{name} ({prefix}...)" if name else f"{prefix}..."
    ends = (month + datetime.timedelta(days=31)).replace(day=1)
    left = max(quota - used, 0)
    lines = (
        f"Account: {account}",
        f"API key: {called}",
        f"Month:   {month:%Y-%m} (UTC)",
        f"Used:    {used:,} of {quota:,} lookups",
        f"Left:    {left:,}",
        "",
        f"The month ends on {ends:%Y-%m-%d} at 00:00 UTC; then all of it is there again.",
        "Prices are answered with 429 quota_exceeded until then." if left == 0 else
        "When it is used up, prices are answered with 429 quota_exceeded until then.",
        "The account, the reports and the dashboard are answered in any case.",
    )  # fmt: skip
    recipients = tuple(dict.fromkeys(address for address in (email, operator) if address))
    subject = f"{percent} % of this month's quota is used: {account}, {called}"
    return Letter((key_id, month, percent), recipients, " ".join(subject.split()), "\n".join(lines) + "\n")
