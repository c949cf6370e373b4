"""Mails of events that end something for an account: a subscription or an endpoint that was disabled.

Rules: out of band, for who does not read the feed, and whose endpoint may be what has ended. A row of the database
claims each mail (trinity/push/events.py writes it with the event), so there is one in the whole cluster. It goes to the
account's address, a copy to the operator; who has none is told by the feed alone. What could not be sent is tried
again, ever more seldom, for a week. What a mail says comes from the event, so nothing in it is a secret.
"""

import datetime
import logging
from collections.abc import Mapping
from typing import Any

from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import OPERATOR
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.operator.mail import Letter, Mailer

# Mails handed over at once: with a server that is silent they take some minutes.
MAILS_AT_ONCE = 20
# What each of these events is about, by the field of its data that has the number.
_WHAT = {"subscription.disabled": "subscription", "endpoint.disabled": "endpoint"}
_COMMANDS = {"subscription.disabled": "trinity push resume", "endpoint.disabled": "trinity endpoints resume"}

_SENT, _FAILED = (OPERATOR.index("operator_mails_total", result) for result in ("sent", "failed"))


class EventMails:
    """The mails of one node's process; `mailer` is its own."""

    def __init__(self, mailer: Mailer, block: ProcessBlock, log: logging.Logger) -> None:
        self._mailer = mailer
        self._block = block
        self._log = log

    def send(self, connection: AnyConnection) -> None:
        """Mark what was sent, tell what was not, and hand over what is due."""
        if not self._mailer.is_configured:
            return
        for letter, failure in self._mailer.take():
            fields = {"event": letter.reference[0], "subject": letter.subject}
            self._block.count(_SENT if failure is None else _FAILED)
            if failure is None:
                connection.execute(load("events.mailed"), letter.reference)
                self._log.info("event mail sent", extra={"fields": fields})
            else:
                self._log.warning("event mail is tried again", extra={"fields": {**fields, "error": failure}})
        if not self._mailer.is_idle:
            return
        rows = connection.execute(load("events.take_mails"), {"count": MAILS_AT_ONCE}).fetchall()
        letters = [_letter(self._mailer.operator, *row) for row in rows]
        for letter in letters:
            if not letter.recipients:
                connection.execute(load("events.mailed"), letter.reference)
        self._mailer.send([letter for letter in letters if letter.recipients])


def _letter(
    operator: str, event_id: int, event_type: str, data: Mapping[str, Any], occurred_at: datetime.datetime,
    account: str | None, email: str | None,
) -> Letter:  # fmt: skip
    what = _WHAT[event_type]
    number = data.get(what)
    lines = (
        f"Account:   {account or 'the operator'}",
        f"{what.capitalize()}: {number}",
        f"Target:    {data.get('target') or data.get('url')}",
        f"Disabled:  {occurred_at:%Y-%m-%d %H:%M} UTC",
        f"Because:   {data.get('reason')}",
        *([f"Last try:  {data['error']}"] if data.get("error") else []),
        "",
        "Nothing is sent to it any more. When its receiver works, resume it: on the dashboard (Pushes),",
        f"over the API, or with `{_COMMANDS[event_type]} {number}`.",
    )
    recipients = tuple(dict.fromkeys(address for address in (email, operator) if address))
    subject = f"{what.capitalize()} {number} was disabled: {data.get('reason')}"
    return Letter((event_id,), recipients, " ".join(subject.split()), "\n".join(lines) + "\n")
