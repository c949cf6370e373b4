"""Single requests for PostgreSQL, packed: one row for those of a key that went alike, in a second.

A row has the columns that its requests share, and for each of them two numbers (128 bits) in an array, as
trinity/store/migrations/0004-runs.sql says; the view usage_log takes them apart again. Beside a row a request that is a
sixth of the bytes, and a twentieth of PostgreSQL's work: a heap tuple, its log and two entries of indexes are written
for up to 240 requests, and not for each.

Rules: pure numpy, no Python a record, one step a run. A run ends with its second, so that runs in the order of their
seconds are requests in the order of their seconds. Values of a record that do not fit are clipped, never refused.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND, NS_PER_US
from workers.ledger.kind import Records
from workers.ledger.rows import ELEMENT, EPOCH_US, INT8_OID, SIGNATURE, TRAILER, row_template
from workers.ledger.sums import number_rows
from workers.ledger.usage.usage_sums import KEY_ID_MAX, SMALL_MAX

# With an address each, 7.7 KB: a row has to fit into a page of 8 KB.
RUN_RECORDS_MAX = 240
# Positions of a ring that share a base: what is left of a request id takes so many bits.
ID_BITS = 20
_ID_MASK = np.uint64((1 << ID_BITS) - 1)
# Less than 1 MB of COPY: enough to make calls rare, little enough that the drain's thread gets its turn.
_RECORDS_A_PIECE = 32_768
_WORDS, _ADDRESS_WORDS = 2, 2
_US_PER_SECOND = NS_PER_SECOND // NS_PER_US

_ARRAY = np.dtype(
    [("size", ">i4"), ("dimensions", ">i4"), ("has_null", ">i4"), ("oid", ">i4"), ("length", ">i4"), ("lower", ">i4")]
)
_COLUMNS = (
    ("second", ">i8"),
    ("base_id", ">i8"),
    ("key_id", ">i4"),
    ("node_id", ">i2"),
    ("rows", ">i2"),
    ("protocol", ">i2"),
    ("status", ">i2"),
    ("code", ">i2"),
    ("weight", ">i2"),
)
_SHARED = row_template(_COLUMNS)
_HEAD = np.zeros(1, dtype=[("shared", _SHARED.dtype), ("words", _ARRAY)])
_HEAD["shared"] = _SHARED
_HEAD["shared"]["columns"] = len(_COLUMNS) + 1
for _field, _value in (("dimensions", 1), ("oid", INT8_OID), ("lower", 1)):
    _HEAD["words"][_field] = _value


def usage_runs(
    records: Records, alike: NDArray[np.int64], asset_ids: NDArray[np.int64], weights: NDArray[np.int64], node_id: int
) -> Iterator[bytes]:
    """COPY's bytes for usage_runs, in pieces.

    Of each record: `alike` says which others have its key, protocol and status; its asset's id; its weight.
    """
    yield SIGNATURE
    if len(records):
        order, starts, ends = _cut(records, alike, weights)
        heads = _heads(records[order[starts]], weights[order[starts]], node_id)
        heads["shared"]["rows"] = ends - starts
        words = _words(records, asset_ids)
        halves = np.ascontiguousarray(records["address"]).view(np.uint64).T
        cuts = np.unique(np.searchsorted(starts, np.arange(0, len(records), _RECORDS_A_PIECE)))
        for first, last in itertools.pairwise([*cuts.tolist(), len(starts)]):
            at = int(starts[first])
            places = order[at : ends[last - 1]]
            yield _piece(
                heads[first:last],
                starts[first:last] - at,
                ends[first:last] - at,
                [word[places] for word in words],
                [half[places] for half in halves],
            )
    yield TRAILER


def _cut(
    records: Records, alike: NDArray[np.int64], weights: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The order in which runs stand together, by second; first and end of each."""
    seconds, bases = records["time_ns"] // NS_PER_SECOND, records["request_id"] >> np.uint64(ID_BITS)
    number, firsts = number_rows(seconds, bases, alike, records["code"], weights)
    # Numbers of 16 bits are sorted in a tenth of the time; nearly always there are no more.
    order = np.argsort(number.astype(np.min_scalar_type(len(firsts))), kind="stable")
    counts = np.bincount(number)
    parts = -(-counts // RUN_RECORDS_MAX)
    of_run = np.repeat(np.cumsum(counts) - counts, parts)
    part = np.arange(len(of_run)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = of_run + part * RUN_RECORDS_MAX
    return order, starts, np.append(starts[1:], len(records))


def _heads(firsts: Records, weights: NDArray[np.int64], node_id: int) -> NDArray[np.void]:
    """What the requests of each run share, out of its first one."""
    heads = np.repeat(_HEAD, len(firsts))
    shared = heads["shared"]
    shared["second"] = firsts["time_ns"] // NS_PER_SECOND * _US_PER_SECOND - EPOCH_US
    shared["base_id"] = firsts["request_id"] & ~_ID_MASK
    shared["node_id"] = node_id
    shared["key_id"] = np.minimum(firsts["key_id"], KEY_ID_MAX)
    shared["status"] = np.minimum(firsts["status"], SMALL_MAX)
    shared["protocol"], shared["code"] = firsts["protocol"], firsts["code"]
    shared["weight"] = np.minimum(weights, SMALL_MAX)
    return heads


def _words(records: Records, asset_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What the requests of a run do not share, as two numbers each."""
    in_second_us = records["time_ns"] % NS_PER_SECOND // NS_PER_US
    ids = (records["request_id"] & _ID_MASK).astype(np.int64)
    assets = np.minimum(records["assets"], SMALL_MAX).astype(np.int64)
    return in_second_us << 32 | records["latency_ns"], ids << 38 | asset_ids << 23 | assets << 8 | records["source"]


def _piece(
    heads: NDArray[np.void],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    words: Sequence[NDArray[np.int64]],
    halves: Sequence[NDArray[np.uint64]],
) -> bytes:
    """COPY's bytes of some runs."""
    address_ends = np.where(_are_alike(halves, starts, ends), starts + 1, ends)
    length = _WORDS * (ends - starts) + _ADDRESS_WORDS * (address_ends - starts)
    heads["words"]["length"] = length
    heads["words"]["size"] = _ARRAY.itemsize - 4 + ELEMENT.itemsize * length  # without the size itself
    number = np.arange(len(heads))
    parts = (
        _cuts(heads, number, number + 1),
        _cuts(_elements(words), starts, ends),
        _cuts(_elements([half.view(">u8") for half in halves]), starts, address_ends),
    )
    return b"".join(itertools.chain.from_iterable(zip(*parts, strict=True)))


def _are_alike(
    columns: Sequence[NDArray[np.uint64]], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether all of a run have the same values."""
    as_first = np.ones(int(ends[-1]), dtype=np.bool_)
    for column in columns:
        as_first &= column == np.repeat(column[starts], ends - starts)
    return np.logical_and.reduceat(as_first, starts)


def _elements(columns: Sequence[NDArray[np.generic]]) -> NDArray[np.void]:
    """Rows of numbers as elements of an array."""
    made = np.empty((len(columns[0]), len(columns)), dtype=ELEMENT)
    made["size"] = made.dtype["value"].itemsize
    for place, column in enumerate(columns):
        made["value"][:, place] = column
    return made


def _cuts(values: NDArray[np.void], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[memoryview]:
    """The bytes of some rows, from each start to its end."""
    data, size = memoryview(values.tobytes()), values[:1].nbytes
    return [data[start:end] for start, end in zip((starts * size).tolist(), (ends * size).tolist(), strict=True)]
