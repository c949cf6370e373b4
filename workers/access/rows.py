"""What the database says about keys, plans and blocks, as values; keys as rows of bytes.

    key    64 bytes   id, plan, state, limits of its own, end, SHA-256

Rules: the query `access_keys` puts the very bytes of KEY_DTYPE together, in network order, so a million keys are
decoded without a line of Python for each; the snapshot keeps the same bytes. What is null in the database is NULL
here, and END_NEVER as an end. Times are microseconds since 1970, the resolution of PostgreSQL.
"""

import ipaddress

import msgspec
import numpy as np
from numpy.typing import NDArray

from trinity.vocabulary import KeyState

Rows = NDArray[np.void]

# State of a key in the database, as shared memory has it. ABSENT: there is no such key.
ABSENT, ACTIVE, SUSPENDED, REVOKED = map(int, KeyState)

# A limit that is the plan's.
NULL = -1
END_NEVER = 2**63 - 1

KEY_DTYPE = np.dtype(
    [
        ("id", ">i4"),
        ("plan_id", ">i2"),
        ("state", ">i2"),
        ("rate", ">i4"),
        ("burst", ">i4"),
        ("monthly_quota", ">i8"),
        ("ends_at_us", ">i8"),
        ("digest", np.uint8, 32),
    ]
)
KEY_WORDS = 8
assert KEY_DTYPE.itemsize == 8 * KEY_WORDS, "rows are compared as words"


class PlanRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plan's limits (rate: see trinity/rates.py); a rate or a quota of 0 is no limit.

    A snapshot of before there were admission classes has none: its plans are of the lowest but one.
    """

    id: int
    rate: int
    burst: int
    monthly_quota: int
    dry_run: bool
    admission_class: int = 1


class BlockRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One blocked network; its text is checked when it is decoded."""

    network: str
    ends_at_us: int

    def __post_init__(self) -> None:
        ipaddress.ip_network(self.network)


def key_rows(raw: bytes) -> Rows:
    """The rows in `raw`, without copying."""
    return np.frombuffer(raw, dtype=KEY_DTYPE)
