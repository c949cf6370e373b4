"""Idempotency-Key: a request that is sent again has its effect once, and is told what the first one was told.

    with connection.transaction():
        answer = once(connection, account_id, key, digest, work)

Rules: the claim, the effect and the answer are one transaction, so there is no effect without its answer and no answer
without its effect, whatever dies. What is refused leaves nothing behind: the same key may be tried again. The same key
with another request is refused (422), as is one that is being answered right now (409; draft-ietf-httpapi-idempotency-
key-header). Keys are an account's own. Answers are kept for a day.
"""

import contextlib
import datetime
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from trinity.errors import InputError, TrinityError
from trinity.limits import IDEMPOTENCY_SECONDS
from trinity.store.queries import load

Connection = psycopg.Connection[Any]

# The name of the operator's account here: they have none.
OPERATOR = 0
FIELD = "Idempotency-Key"
# As many as others take; a UUID has 36.
KEY_CHARS_MAX = 255
# The draft writes it as a string with quotation marks, most clients without.
_KEY = re.compile(r'"([!#-\[\]-~ ]+)"|([!#-~]+)')


class GivenAnswer(NamedTuple):
    """What a request was told; `is_replay`: an earlier one was, and this one did nothing."""

    status: int
    body: str  # JSON
    is_replay: bool = False


class KeyReusedError(TrinityError):
    """The key stands for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"{FIELD}: another request was sent with this key: take a new one for each request"


class KeyInUseError(TrinityError):
    """A request with this key is being answered."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"{FIELD}: a request with this key is being answered right now: try again in a moment"


def read_key(written: str) -> str:
    """The key out of the header's value; InputError."""
    found = _KEY.fullmatch(written)
    key = (found[1] or found[2]) if found else ""
    if not 1 <= len(key) <= KEY_CHARS_MAX:
        raise InputError(FIELD, f"it is 1 to {KEY_CHARS_MAX} printable ASCII characters, such as a UUID")
    return key


def digest_of(route: str, body: bytes) -> bytes:
    """What tells requests apart: where to and what; how a body's JSON is spaced and ordered does not count."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # refused by whoever reads it
        body = msgspec.json.encode(msgspec.json.decode(body or b"{}"), order="deterministic")
    return hashlib.sha256(route.encode() + b"\n" + body).digest()


def once(
    connection: Connection, account_id: int | None, key: str, digest: bytes, work: Callable[[], GivenAnswer]
) -> GivenAnswer:
    """Do `work`, or say what it was told when it was done; in a transaction of the caller's, which ends with it."""
    named = named_by(account_id, key)
    row = connection.execute(load("push.try_idempotency"), named).fetchone()
    assert row is not None
    if not row[0]:
        raise KeyInUseError(key)
    first = first_answer(key, digest, connection.execute(load("push.first_answer"), named).fetchone())
    if first is not None:
        return first
    answer = work()
    told = {"request_digest": digest, "status": answer.status, "body": answer.body}
    connection.execute(load("push.keep_answer"), named | told)
    return answer


def named_by(account_id: int | None, key: str) -> dict[str, Any]:
    """The parameters of `push.first_answer`."""
    kept = datetime.timedelta(seconds=IDEMPOTENCY_SECONDS)
    return {"account_id": OPERATOR if account_id is None else account_id, "key": key, "kept": kept}


def first_answer(key: str, digest: bytes, row: Sequence[Any] | None) -> GivenAnswer | None:
    """What the first request was told, out of its row; KeyReusedError where that was another request."""
    if row is None:
        return None
    if bytes(row[0]) != digest:
        raise KeyReusedError(key)
    return GivenAnswer(row[1], row[2], is_replay=True)
