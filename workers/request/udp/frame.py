"""The binary protocol: one frame asks for up to 64 assets, one frame of fixed-size records answers. Pure, compiled.

All numbers are little-endian. Request, at least 40 bytes; bytes behind the names, or the key, are padding:

    0   4  magic D7 'T' 'R' 'Q'         8   8  request id, echoed
    4   1  version 1                    16  4  max_age_ms, 0: not stated
    5   1  flags: 1 LAST_GOOD, 2 KEY    20  4  max_conf_milli_bps (1/1000 basis points), 0: not stated
    6   1  count of names, 1 to 64      24  16 * count  names, any case, filled up with zero bytes
    7   1  min_sources, 0: not stated       with KEY: 1 byte length of the API key, up to 128, then the key; 0: none

Reply, 24 + 22 * count bytes, so 1,432 at most; a record for each name, in the order asked:

    0   4  magic D7 'T' 'R' 'A'         0   8  price mantissa, signed
    4   1  version 1                    8   4  confidence mantissa
    5   1  frame status                 12  4  age in ms, FFFFFFFF: there is no price
    6   1  count of records             16  1  price exponent of 10, signed
    7   1  zero                         17  1  confidence exponent of 10, signed
    8   8  request id                   18  1  status, 0: fresh (answer.VERDICT_CODES)
    16  8  time_ms, wall clock          19  1  sources
    24     records of 22 bytes          20  1  rejected
                                        21  1  zero

Rules: a price that is not fresh is not given: price, confidence and sources are 0 and the status says why. Only a
client that sets LAST_GOOD gets the last good price there, beside the same status. What is refused for the client's own
limits keeps its sources: the node has the price. `time_ms - age` is a record's timestamp, the age its price's. A frame
that cannot be read, or whose sender may not ask, is answered with a header alone, whose status says why; it is never
longer than the request. Where time is all that is missing, it has the milliseconds to wait in the place of the time.
"""

from trinity.access.gate import Gate
from trinity.compiled import compiled
from trinity.limits import API_KEY_BYTES_MAX, ASSET_NAME_BYTES_MAX, UDP_ASSETS_MAX, UDP_PAYLOAD_BYTES_MAX
from trinity.memory.answer_table import ANSWER_DTYPE, ROW_WORDS, SLOT_WORDS
from trinity.memory.atomics import Words
from trinity.memory.cell import WORD_BYTES, snapshot_prefix
from trinity.native.octets import Octets, append_byte, append_slice, byte_at
from workers.request.answer import (
    ASSET_RESOLVING,
    CONSENSUS,
    GOOD,
    PRICE_TOO_OLD,
    UNKNOWN,
    VERDICT_LOOKUPS,
    Names,
    Record,
    age_ms_of,
    find_name,
    judge,
    row_of,
)
from workers.request.beyond import NOT_OF_CATALOG, Beyond, begin_names, decide, is_undecided, verdict_of
from workers.request.prices import judge_spare

MAGIC_BYTE = 0xD7  # no text and no UTF-8 JSON begins so
VERSION = 1
HEADER_BYTES = 24
# Where the number of names stands.
COUNT_AT = 6
NAME_BYTES = ASSET_NAME_BYTES_MAX
RECORD_BYTES = 22
FLAG_LAST_GOOD, FLAG_KEY = 1, 2

# Then the refusals of the gate, in the order of vocabulary.CODES from missing_key on.
FRAME_WAITS = -1  # instead of a reply's end
FRAME_OK, FRAME_BAD_REQUEST, FRAME_BAD_VERSION, FRAME_PAD_REQUEST, FRAME_MISSING_KEY = range(5)
AGE_NONE = 2**32 - 1

assert HEADER_BYTES + UDP_ASSETS_MAX * RECORD_BYTES <= UDP_PAYLOAD_BYTES_MAX, "a reply is one Ethernet frame"
assert HEADER_BYTES + UDP_ASSETS_MAX * NAME_BYTES + 1 + API_KEY_BYTES_MAX <= UDP_PAYLOAD_BYTES_MAX, (
    "and so is a request"
)

_REQUEST_MARK, _REPLY_MARK = b"QA"
_LETTER_T, _LETTER_R = b"TR"
REQUEST_MAGIC = bytes((MAGIC_BYTE, _LETTER_T, _LETTER_R, _REQUEST_MARK))
# The numbers of an answer lie before its texts: only they are copied out of the shared slot.
assert ANSWER_DTYPE.fields is not None
_NUMBER_WORDS = ANSWER_DTYPE.fields["price_text"][1] // WORD_BYTES


@compiled
def answer_frame(
    table_words: Words,
    record: Record,
    assets: Names,
    exchanges: Names,
    beyond: Beyond,
    gate: Gate,
    address: Words,
    request: Octets,
    start: int,
    reply: Octets,
    at: int,
    now_ns: int,
) -> tuple[int, int]:
    """(position behind the reply, what its prices cost) of a frame that is good and whose sender may ask.

    The position is FRAME_WAITS when it is to wait for one of its names.
    """
    count = byte_at(request, start + COUNT_AT)
    min_sources = byte_at(request, start + 7)
    max_age_ms = _read_u32(request, start + 16)
    max_conf_milli_bps = _read_u32(request, start + 20)
    with_last_good = byte_at(request, start + 5) & FLAG_LAST_GOOD != 0
    time_ms = lookups = strangers = 0
    begin_names(beyond)
    out = _write_header(request, start, FRAME_OK, count, reply, at)
    for i in range(count):
        name = start + HEADER_BYTES + i * NAME_BYTES
        asset = find_name(assets, request, name, end_of_name(request, name))
        if asset == UNKNOWN:
            end = end_of_name(request, name)
            strangers += 1
            asset = decide(beyond, gate, address, request, name, end, now_ns)
            if asset < 0:
                out = _write_refused(verdict_of(asset), reply, out)
                continue
            verdict = judge_spare(
                table_words, record, exchanges, beyond, request, name, end, asset, CONSENSUS, now_ns, max_age_ms,
                min_sources, max_conf_milli_bps,
            )  # fmt: skip
        else:
            row = row_of(exchanges, asset, CONSENSUS)
            if not snapshot_prefix(table_words, row * ROW_WORDS, SLOT_WORDS, _NUMBER_WORDS, record.words):
                record.fields["state"] = 0
                record.fields["has_last_good"] = 0
                record.fields["rejected"] = 0
            verdict = judge(record, now_ns, max_age_ms, min_sources, max_conf_milli_bps)
        lookups += max(0, VERDICT_LOOKUPS[verdict])
        age_ms = AGE_NONE
        if verdict == GOOD or record.fields["has_last_good"] == 1:
            age_ms = min(age_ms_of(record, now_ns), AGE_NONE - 1)
            if time_ms == 0:
                time_ms = record.fields["timestamp_ms"] + age_ms
        out = _write_record(record, verdict, with_last_good, age_ms, reply, out)
    _put(time_ms, 8, reply, at + 16)
    if is_undecided(beyond):
        return FRAME_WAITS, 0
    beyond.state[NOT_OF_CATALOG] += strangers
    return out, lookups


@compiled
def is_request_frame(request: Octets, start: int, end: int) -> bool:
    """Whether this has a request's header; an answer frame has not, so it is never answered."""
    return (
        end - start >= HEADER_BYTES
        and byte_at(request, start) == MAGIC_BYTE
        and byte_at(request, start + 1) == _LETTER_T
        and byte_at(request, start + 2) == _LETTER_R
        and byte_at(request, start + 3) == _REQUEST_MARK
    )


@compiled
def write_frame_status(request: Octets, start: int, status: int, wait_ms: int, reply: Octets, at: int) -> int:
    """A reply without records, HEADER_BYTES long."""
    end = _write_header(request, start, status, 0, reply, at)
    _put(wait_ms, 8, reply, at + 16)
    return end


@compiled
def check_frame(request: Octets, start: int, end: int) -> int:
    """FRAME_OK when the request frame can be read, with its key, else why not."""
    flags, count = byte_at(request, start + 5), byte_at(request, start + COUNT_AT)
    if byte_at(request, start + 4) != VERSION:
        return FRAME_BAD_VERSION
    names_end = start + HEADER_BYTES + count * NAME_BYTES
    if flags & ~(FLAG_LAST_GOOD | FLAG_KEY) != 0 or not 1 <= count <= UDP_ASSETS_MAX or end < names_end:
        return FRAME_BAD_REQUEST
    if flags & FLAG_KEY != 0:
        if end == names_end:
            return FRAME_BAD_REQUEST
        length = byte_at(request, names_end)  # above API_KEY_BYTES_MAX it is a wrong key, for the gate to refuse
        if end < names_end + 1 + length:
            return FRAME_BAD_REQUEST
    return FRAME_OK


@compiled
def frame_key(request: Octets, start: int) -> tuple[int, int]:
    """Start and end of the API key in a frame that `check_frame` found good; the same when it has none."""
    at = start + HEADER_BYTES + byte_at(request, start + COUNT_AT) * NAME_BYTES
    if byte_at(request, start + 5) & FLAG_KEY == 0:
        return at, at
    return at + 1, at + 1 + byte_at(request, at)


@compiled
def _write_header(request: Octets, start: int, status: int, count: int, reply: Octets, at: int) -> int:
    at = append_slice(request, start, 3, reply, at)
    at = append_byte(_REPLY_MARK, reply, at)
    at = append_byte(VERSION, reply, at)
    at = append_byte(status, reply, at)
    at = append_byte(count, reply, at)
    at = append_byte(0, reply, at)
    at = append_slice(request, start + 8, 8, reply, at)
    return _put(0, 8, reply, at)


@compiled
def _write_record(record: Record, verdict: int, with_last_good: bool, age_ms: int, reply: Octets, at: int) -> int:
    price, confidence, exponent = 0, 0, 0
    if verdict == GOOD or (with_last_good and age_ms != AGE_NONE):
        price = record.fields["price"]
        confidence = record.fields["confidence"]
        exponent = -record.fields["scale"]
    confidence_exponent = exponent
    while confidence > AGE_NONE:  # more digits than 32 bits hold: fewer places, rounded up, never too narrow
        confidence = (confidence + 9) // 10
        confidence_exponent += 1
    at = _put(price, 8, reply, at)
    at = _put(confidence, 4, reply, at)
    at = _put(age_ms, 4, reply, at)
    at = _put(exponent, 1, reply, at)
    at = _put(confidence_exponent, 1, reply, at)
    at = _put(verdict, 1, reply, at)
    has_no_sources = GOOD < verdict < PRICE_TOO_OLD or verdict == ASSET_RESOLVING
    at = _put(0 if has_no_sources else record.fields["sources"], 1, reply, at)
    at = _put(record.fields["rejected"], 1, reply, at)
    return _put(0, 1, reply, at)


@compiled
def _write_refused(verdict: int, reply: Octets, at: int) -> int:
    """The record of a name that has no row."""
    at = _put(0, 8, reply, at)
    at = _put(0, 4, reply, at)
    at = _put(AGE_NONE, 4, reply, at)
    at = _put(0, 2, reply, at)
    at = _put(verdict, 1, reply, at)
    return _put(0, 3, reply, at)


@compiled
def end_of_name(request: Octets, at: int) -> int:
    """Where the zero bytes of the name field at `at` begin."""
    end = at
    while end < at + NAME_BYTES and request[end] != 0:
        end += 1
    return end


@compiled
def _read_u32(request: Octets, at: int) -> int:
    value = 0
    for i in range(4):
        value |= byte_at(request, at + i) << (8 * i)
    return value


@compiled
def _put(value: int, size: int, reply: Octets, at: int) -> int:
    """Append the lowest `size` bytes of `value`, little-endian."""
    for i in range(size):
        reply[at + i] = (value >> (8 * i)) & 0xFF
    return at + size
