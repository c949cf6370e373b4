"""Turns of the consensus in compiled code: which cells changed, which assets are due, each decided and published.

    take_turn   one turn; True when the process must be told something before the next
    serve       turn after turn, each as soon as a feed wakes it, until the process must be told

An asset that nobody touched is looked at again after CONSENSUS_REVIEW_NS, because time alone makes sources stale.

Rules: all changed cells are read before the first asset is decided, so that who is live is the same for all. Changed
assets come first, then those that time alone may have changed. `changes` says what was done; the process tells its
observers. An asset whose numbers do not fit is left to the process, which decides it in decimals.
"""

import numpy as np

from feeds.consensus.integers.arrays import (
    COUNT_DISAGREEMENTS,
    COUNT_OFF_BOOK,
    COUNT_REJECTED,
    COUNT_UPDATES,
    DECIDED,
    DECIDED_AT,
    ENDLESS_NS,
    EXACT,
    EXACT_AT,
    LISTS,
    PUBLISHED_MAX,
    READ,
    READ_AT,
    REVIEWED,
    REVIEWED_AT,
    ROWS,
    UNTOLD,
    UNTOLD_AT,
    VERDICTS,
    TableWords,
)
from feeds.consensus.integers.quotes import judge, take_quote
from feeds.consensus.integers.records import publish_consensus, publish_venue
from feeds.consensus.integers.votes import decide, fits
from trinity.clock import NS_PER_MS
from trinity.compiled import compiled
from trinity.limits import (
    ASSETS_MAX,
    COINS_GAP_NS,
    CONSENSUS_AHEAD_NS,
    CONSENSUS_REVIEW_NS,
    CONSENSUS_TELL_NS,
    CONSENSUS_WAIT_MS_MAX,
)
from trinity.memory.answer_table import VERDICT_REJECTED, AnswerState, publish_verdict
from trinity.memory.atomics import load_acquire
from trinity.memory.price_table import cell_at, state_of
from trinity.native.libc import (
    EVENT_WORDS,
    MONOTONIC,
    REALTIME,
    Events,
    event_tag,
    read_clock,
    read_words,
    wait_events,
)
from trinity.native.octets import Integers, Octets

# Two descriptors: the feeds' and the supervisor's.
EVENTS_MAX = 2
Scratch = tuple[Events, Integers, Octets]

_GOOD, _DISAGREE = int(AnswerState.GOOD), int(AnswerState.SOURCES_DISAGREE)


@compiled
def read_changes(tables: TableWords, state: np.void) -> int:
    """Read every cell whose counter or state is another than before; how many there were."""
    changes = state["changes"]
    changes[READ] = 0
    for asset in range(state["count"]):
        for exchange in range(state["exchanges"]):
            if state["assets"][asset]["listed"] >> exchange & 1 == 0:
                continue
            row = state["rows"][asset * ROWS + exchange]
            version = load_acquire(tables.prices, cell_at(state["exchanges"], state["capacity"], exchange, asset))
            if (
                version == row["version"]
                and state_of(tables.prices, state["capacity"], exchange, asset) == row["state"]
            ):
                continue
            take_quote(tables, state, exchange, asset)
            changes[READ_AT + changes[READ]] = asset * ROWS + exchange
            changes[READ] += 1
    count: int = changes[READ]
    return count


@compiled
def take_turn(tables: TableWords, state: np.void, clock_ns: int, wall_ns: int) -> bool:
    """Bring the answers of all changed assets, and of those that are due, up to date; whether someone must be told.

    `clock_ns` is monotonic. A turn decides for now, or for the next end of an answer when that is near, so that there
    is no gap before the next; never back.
    """
    read_changes(tables, state)
    now_ns, end_ns = max(clock_ns, state["decided_at_ns"]), state["next_end_ns"]
    if now_ns < end_ns and end_ns <= now_ns + CONSENSUS_AHEAD_NS:
        now_ns = end_ns
    state["decided_at_ns"] = now_ns
    _review_all(tables, state, now_ns, wall_ns)
    end_ns = ENDLESS_NS
    for number in range(state["count"]):
        end_ns = min(end_ns, state["assets"][number]["ends_at_ns"])
    state["next_end_ns"] = end_ns
    changes = state["changes"]
    return bool(
        state["each_turn"] != 0
        or changes[EXACT] + changes[UNTOLD] > 0
        or (state["coins_changed"] != 0 and now_ns - state["coins_measured_at_ns"] >= COINS_GAP_NS)
        or state["published_count"] > PUBLISHED_MAX - ASSETS_MAX
    )


@compiled
def _review_all(tables: TableWords, state: np.void, now_ns: int, wall_ns: int) -> None:
    """Decide every asset that was read, then those that time alone may have changed."""
    changes = state["changes"]
    for which in range(REVIEWED, LISTS):
        changes[which] = 0
    faulty = live_faulty(state, now_ns)
    touched = -1
    for i in range(changes[READ]):
        number = changes[READ_AT + i] // ROWS
        if number != touched:  # rows were read in the order of their assets
            _review(tables, state, number, faulty, now_ns, wall_ns)
            touched = number
    for number in range(state["count"]):
        asset = state["assets"][number]
        is_late = asset["reviewed_at_ns"] <= now_ns - CONSENSUS_REVIEW_NS or asset["ends_at_ns"] <= now_ns
        if is_late and asset["reviewed_at_ns"] < now_ns:
            _review(tables, state, number, faulty, now_ns, wall_ns)


@compiled
def live_faulty(state: np.void, now_ns: int) -> int:
    """How many of the exchanges that were heard lately in any market may lie (independence.py)."""
    live = 0
    for exchange in range(state["exchanges"]):
        for number in range(state["count"]):
            row = state["rows"][number * ROWS + exchange]
            if row["has_quote"] != 0 and now_ns <= row["heard_until_ns"]:
                live += 1
                break
    return max(0, (live - 1) // 2)


@compiled
def _review(tables: TableWords, state: np.void, number: int, faulty: int, now_ns: int, wall_ns: int) -> None:
    """Judge the asset's rows, decide it and publish what came out differently, the consensus before the rows."""
    asset, changes = state["assets"][number], state["changes"]
    asset["reviewed_at_ns"] = now_ns
    changes[REVIEWED_AT + changes[REVIEWED]] = number
    changes[REVIEWED] += 1
    if asset["is_coin"] != 0:
        state["coins_changed"] = 1
    if not fits(state, number):
        changes[EXACT_AT + changes[EXACT]] = number
        changes[EXACT] += 1
        return
    for exchange in range(ROWS):
        if asset["listed"] >> exchange & 1:
            judge(state["rows"][number * ROWS + exchange], state["quotes"][number * ROWS + exchange], asset, now_ns)
    state_before = asset["state"]
    decide(state, number, faulty, now_ns)
    asset["ends_at_ns"] = asset["valid_until_ns"] if asset["valid_until_ns"] != 0 else ENDLESS_NS
    is_new = publish_consensus(tables, state, number)
    if is_new:
        state["counts"][COUNT_UPDATES] += asset["state"] == _GOOD
        state["counts"][COUNT_DISAGREEMENTS] += asset["state"] == _DISAGREE and state_before != _DISAGREE
    for exchange in range(ROWS):
        if asset["listed"] >> exchange & 1:
            is_new = _publish_verdict(tables, state, number, exchange) or is_new
    for exchange in range(state["exchanges"]):
        _publish_row(tables, state, number, exchange)
    if is_new:
        changes[DECIDED_AT + changes[DECIDED]] = number
        changes[DECIDED] += 1
        _note(state, number, now_ns, wall_ns)
    if asset["state"] != asset["told"]:
        changes[UNTOLD_AT + changes[UNTOLD]] = number
        changes[UNTOLD] += 1


def make_scratch() -> Scratch:
    """What the system calls of `serve` write to."""
    events = np.zeros(EVENT_WORDS * EVENTS_MAX, dtype=np.uint32)
    return events, np.zeros(2, dtype=np.int64), np.zeros(8, dtype=np.uint8)


@compiled
def _note(state: np.void, number: int, now_ns: int, wall_ns: int) -> None:
    """Write down what was published, for those who watch."""
    asset, note = state["assets"][number], state["published"][state["published_count"]]
    state["published_count"] += 1
    note["asset"], note["state"], note["price"] = number, asset["state"], asset["price"]
    note["confidence"], note["places"] = asset["confidence"], asset["places"]
    note["valid_until_ns"], note["now_ns"], note["wall_ns"] = asset["valid_until_ns"], now_ns, wall_ns
    note["sources"] = 0
    for exchange in range(ROWS):
        note["sources"] += asset["used"] >> exchange & 1


@compiled
def _publish_verdict(tables: TableWords, state: np.void, number: int, exchange: int) -> bool:
    """Say what became of a source; a reason that is new is counted, whether it is new is returned."""
    verdict = state["assets"][number]["verdicts"][exchange]
    place = state["verdicts_at"] + exchange * state["capacity"] + number
    is_new = publish_verdict(tables.answers, place, verdict)
    if is_new and verdict >= VERDICT_REJECTED:
        state["counts"][COUNT_REJECTED + exchange * VERDICTS + verdict] += 1
    return is_new


@compiled
def _publish_row(tables: TableWords, state: np.void, number: int, exchange: int) -> None:
    """Render the exchange's own price when its quote or its standing changed."""
    row = state["rows"][number * ROWS + exchange]
    state["counts"][COUNT_OFF_BOOK + exchange] += row["is_off_book"] > row["off_book_told"]
    row["off_book_told"] = row["is_off_book"]
    if (
        row["shown_version"] == row["version"]
        and row["shown_verdict"] == row["verdict"]
        and row["shown_until_ns"] == row["fresh_until_ns"]
    ):
        return
    publish_venue(tables, state, number, exchange)
    row["shown_version"], row["shown_verdict"] = row["version"], row["verdict"]
    row["shown_until_ns"] = row["fresh_until_ns"]


@compiled
def serve(tables: TableWords, state: np.void, epoll_fd: int, wake_fd: int, scratch: Scratch) -> None:
    """Take turns until the process must be told, at the latest CONSENSUS_TELL_NS after it was.

    Each descriptor's tag in the epoll is itself; any but the one that the feeds wake ends the call.
    """
    events, timespec, words = scratch
    while not take_turn(tables, state, read_clock(MONOTONIC, timespec), read_clock(REALTIME, timespec)):
        now_ns = read_clock(MONOTONIC, timespec)
        if now_ns - state["told_at_ns"] >= CONSENSUS_TELL_NS:
            return
        ready = wait_events(epoll_fd, events, EVENTS_MAX, wait_ms(state, now_ns))
        if ready < 0:
            return  # a signal
        # An eventfd is emptied before the table is compared, so no wake-up is lost between the two.
        for i in range(ready):
            fd = event_tag(events, i)
            read_words(fd, words)
            if fd != wake_fd:
                return


@compiled
def wait_ms(state: np.void, now_ns: int) -> int:
    """How long the next turn may wait for a quote: less where an answer ends, or the process is told, before that."""
    ahead_ns: int = state["next_end_ns"] - CONSENSUS_AHEAD_NS - now_ns
    return min(CONSENSUS_WAIT_MS_MAX, max(0, (ahead_ns + NS_PER_MS - 1) // NS_PER_MS))
