"""What the objects in a target are called, and the positions of the write-ahead log that stand in the names; pure.

    trinity-backup.json                                 which target this is
    <system>/base/<label>/data.age                      one base backup, sealed (crypt.py)
    <system>/base/<label>/base.json                     what it is, in the open; written last: without it there is none
    <system>/wal/<timeline>/<segment>-<first>-<end>-<moment>.age   bytes of one segment of the log, sealed
    <system>/history/<timeline>.history.age             where a timeline began
    <system>/nodes/<node uuid>/<moment>-<lsn>.age       what a node holds itself, sealed

`system` is PostgreSQL's system identifier, so one target may serve several databases. `moment` is in seconds since
1970: whatever was committed up to then is in the bytes up to `end`. All of it can be read without an identity: who
backs up must know what is there, and cannot open it.
"""

import datetime
import re
from typing import Literal, NamedTuple

MARK_NAME = "trinity-backup.json"
BaseKind = Literal["full", "incremental"]
# PostgreSQL's own: segments are counted anew after 4 GB of log.
_XLOG_BYTES = 1 << 32
_WAL_NAME = re.compile(r"(\d+)/wal/([0-9A-F]{8})/([0-9A-F]{24})-([0-9a-f]{8})-([0-9a-f]{8})-(\d{10,12})\.age")
_BUNDLE_NAME = re.compile(r"(\d+)/nodes/([0-9a-f-]{36})/(\d{10,12})-([0-9a-f]{16})\.age")
_BASE_NAME = re.compile(r"(\d+)/base/([0-9]{8}T[0-9]{6}Z-(?:full|incremental))/(data\.age|base\.json)")
_HISTORY_NAME = re.compile(r"(\d+)/history/([0-9A-F]{8})\.history\.age")
_SYSTEM = re.compile(r"(\d{1,20})/")


class WalPiece(NamedTuple):
    """Bytes `first` to `end` of a segment of the log."""

    system: str
    segment: str  # its file's name
    first: int
    end: int
    moment: int  # what was committed up to this second is before `end`
    stored_bytes: int = 0

    @property
    def timeline(self) -> int:
        return int(self.segment[:8], 16)

    @property
    def name(self) -> str:
        place = f"{self.system}/wal/{self.segment[:8]}"
        return f"{place}/{self.segment}-{self.first:08x}-{self.end:08x}-{self.moment:010d}.age"


class BundleName(NamedTuple):
    """A node's own files at a moment; `lsn` is the log's position behind all that the database had of them."""

    system: str
    node: str
    moment: int
    lsn: int
    stored_bytes: int = 0

    @property
    def name(self) -> str:
        return f"{self.system}/nodes/{self.node}/{self.moment:010d}-{self.lsn:016x}.age"


def read_wal_name(name: str, stored_bytes: int = 0) -> WalPiece | None:
    found = _WAL_NAME.fullmatch(name)
    if found is None or found[2] != found[3][:8]:
        return None
    first, end = int(found[4], 16), int(found[5], 16)
    return WalPiece(found[1], found[3], first, end, int(found[6]), stored_bytes) if first < end else None


def read_bundle_name(name: str, stored_bytes: int = 0) -> BundleName | None:
    found = _BUNDLE_NAME.fullmatch(name)
    return found and BundleName(found[1], found[2], int(found[3]), int(found[4], 16), stored_bytes)


def read_base_name(name: str) -> tuple[str, str, str] | None:
    """System, label and file of an object of a base."""
    found = _BASE_NAME.fullmatch(name)
    return found and (found[1], found[2], found[3])


def read_history_name(name: str) -> tuple[str, int] | None:
    """System and timeline."""
    found = _HISTORY_NAME.fullmatch(name)
    return found and (found[1], int(found[2], 16))


def read_system(name: str) -> str | None:
    """The database that an object is of."""
    found = _SYSTEM.match(name)
    return found and found[1]


def base_label(moment: int, kind: BaseKind) -> str:
    """Of a base backup that begins now; in the order of time."""
    return f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y%m%dT%H%M%SZ}-{kind}"


def base_place(system: str, label: str) -> str:
    return f"{system}/base/{label}"


def history_name(system: str, timeline: int) -> str:
    return f"{system}/history/{timeline:08X}.history.age"


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number; ValueError."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The file of the log's segment `number`."""
    each = _XLOG_BYTES // segment_bytes
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def segment_number(segment: str, segment_bytes: int) -> int:
    return int(segment[8:16], 16) * (_XLOG_BYTES // segment_bytes) + int(segment[16:24], 16)
