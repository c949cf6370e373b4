"""What an attempt says of a message and of its receiver: pure tables.

    2xx                   delivered
    410, or its header    the receiver wants no more: disabled
    3xx                   not followed: a signed message goes where its owner said
    408, 425, 5xx         worth a quick retry, unless the receiver says when to come back
    429, other 4xx        the same message would be refused again
    no answer             worth a quick retry where another connection may do better

Rules: whether there is time and leave for a retry is the caller's to know (delivering.py).
"""

from collections.abc import Mapping
from typing import NamedTuple

from trinity.errors import DeliveryError

# Standard Webhooks: a receiver may answer so to be left alone.
DELIVERY_HEADER = "webhook-delivery"
_DISABLE = "disable"
_GONE = 410
_RETRIED_STATUSES = frozenset({408, 425, 500, 502, 503, 504})
_RETRIED_KINDS = frozenset({"connect", "reset", "timeout"})
# Of our own making: nothing is known of the receiver.
_OURS = "busy"


class Verdict(NamedTuple):
    """`outcome` is one of vocabulary.DELIVERY_OUTCOMES."""

    outcome: str
    status: int
    may_retry: bool = False
    retry_after_s: float = 0.0
    is_gone: bool = False
    detail: str = ""

    @property
    def is_delivered(self) -> bool:
        return self.outcome == "delivered"

    @property
    def is_ours(self) -> bool:
        """The attempt was not made, for want of room here."""
        return self.outcome == _OURS


def of_reply(status: int, headers: Mapping[str, str], retry_after_s: float | None) -> Verdict:
    """An answer's."""
    if status == _GONE or headers.get(DELIVERY_HEADER, "").strip().lower() == _DISABLE:
        return Verdict("gone", status, is_gone=True)
    if 200 <= status < 300:
        return Verdict("delivered", status)
    if 300 <= status < 400:
        return Verdict("redirect", status)
    may_retry = status in _RETRIED_STATUSES and retry_after_s is None
    return Verdict("refused_status", status, may_retry, retry_after_s or 0.0)


def of_error(error: DeliveryError) -> Verdict:
    """No answer's."""
    return Verdict(error.kind, 0, error.kind in _RETRIED_KINDS, detail=error.detail)
