"""One run of the sync job: what Valkey misses, newest first, as far as there is room for it.

    no mark, or of another database    what is left of entries is removed, everything is missing
    a mark that is too old             everything is missing, and written over what is there
    a mark                             what came since, and what an earlier run did not get to
    --full                             as without a mark

Rules: the mark is this run's own before anything is written, and moves behind each piece: who kills a run loses a
piece of its work. What has no room is left out, and stays missing; newer entries take the place of the oldest ones. A
piece is built while the one before it is sent.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from trinity.cache.address import CacheSettings
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import APP_CONFIG, DAY_SECONDS, SYNC_MARK, SYNC_MARK_OF, USAGE_SECONDS
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.sync.entries import (
    Commands,
    Vocabulary,
    command,
    entry_blocks,
    entry_names,
    expiring,
    set_commands,
    uuid_texts,
)
from trinity.sync.intervals import Interval, Intervals, clip, subtract, union
from trinity.sync.mark import MOVE, Mark, read_mark
from trinity.sync.room import Room
from trinity.sync.runs import second_of, unpack
from trinity.sync.source import SyncSource
from trinity.sync.wire import SILENCE_SECONDS, Bulk
from trinity.sync.words import call_commands, key_commands, parameter_commands

# Of the ledger's rows that are unpacked, built and sent together: 40,000 to 160,000 requests, some 80 MB of commands.
PIECE_BYTES = 5_000_000
# Of one second, when more than that were asked in it: the mark moves behind the last of them.
_PIECE_BYTES_MAX = 4 * PIECE_BYTES
_CALLS_A_PIECE = 5_000
# Rows of a clock that is ahead are there as well; 2100.
_LAST_SECOND = 4_102_444_800


class Progress(NamedTuple):
    """How far a run is."""

    entries: int
    second: int  # down to which it has come


@dataclass(frozen=True)
class SyncResult:
    """What a run did."""

    is_whole: bool = False  # everything was missing
    usage_entries: int = 0
    report_calls: int = 0
    api_keys: int = 0
    parameters: int = 0
    removed: int = 0  # entries that made room for newer ones
    left_out: Intervals = ()  # for which there was no room


class _NoRoomError(Exception):
    """What is older than all that is held has no room."""


class SyncJob:
    """One run: `run` once."""

    def __init__(
        self,
        source: SyncSource,
        settings: CacheSettings,
        life_seconds: int,
        run: str,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._source, self._settings = source, settings
        self._life_seconds, self._on_progress = min(life_seconds, USAGE_SECONDS), on_progress
        self._run = run
        self._known = Vocabulary(source.asset_names(), source.key_digests())
        self._result = SyncResult()
        self._expiring: set[bytes] = set()  # sets whose end was set in this run
        self._under_way: tuple[Future[None], list[Commands], Intervals, int] | None = None

    def run(self, *, is_whole: bool = False) -> SyncResult:
        """Do it; CacheUnavailableError, or psycopg's error, where one of the two is gone: the next run goes on."""
        self._cache, self._bulk = SyncCacheClient.open(self._settings), Bulk(self._settings)
        try:
            self._room = Room(self._bulk)
            self._begin(is_whole=is_whole)
            self._bring_small()
            try:
                self._bring_missing()
            except _NoRoomError:
                self._add(left_out=self._mark.missing)
        finally:
            self._bulk.close()
            self._cache.close()
        return self._result

    # --- what is missing ------------------------------------------------------------------------------------------

    def _begin(self, *, is_whole: bool) -> None:
        """Find out what is missing, and make the mark this run's own."""
        found = self._read_mark()
        is_ours = found is not None and found.database == self._source.identity and not is_whole
        old = found if is_ours and found is not None else None
        changes = self._source.changes(None if old is None else old.snapshot)
        is_known = old is not None and old.is_fresh(changes.now_s) and changes.seconds is not None
        first = changes.now_s - self._life_seconds
        missing: Intervals = ((first, _LAST_SECOND),)
        if old is None:
            self._remove_all()
        elif is_known:
            assert changes.seconds is not None
            missing = clip(union(old.missing, changes.seconds), (first, _LAST_SECOND))
            # Before the mark says so: what the old snapshot did not see is found by it alone.
            self._send_calls(self._source.calls_since(old.snapshot))
        tags = self._room.tags()
        mark = Mark(self._source.identity, changes.snapshot, missing, first, changes.now_s, self._run, tags)
        self._bulk.send(self._setting(tag, self._run) for tag in tags)
        before = found.run if found is not None else ""
        self._move(mark, "" if old is None else before)
        self._add(is_whole=not is_known)
        if old is not None and old.first < first:
            self._room.remove_sets_before(first * 1_000_000, self._known)

    def _read_mark(self) -> Mark | None:
        """The mark, unless a server has lost what it is about."""
        (found,) = self._ask([("HGETALL", SYNC_MARK.name())])
        pairs = dict(zip(found[::2], found[1::2], strict=True)) if isinstance(found, list) else found
        mark = read_mark(pairs)
        if mark is None:
            return None
        held = self._ask([("GET", SYNC_MARK_OF.name(tag)) for tag in mark.tags])
        if mark.tags != self._room.tags() or any(value != mark.run.encode() for value in held):
            return None
        return mark

    def _move(self, mark: Mark, before: str) -> None:
        """CacheUnavailableError where the mark is not this run's any more: Valkey was emptied."""
        (moved,) = self._cache.script(MOVE, [(SYNC_MARK.name(), [before, *mark.fields()])], SILENCE_SECONDS)
        if isinstance(moved, CacheReplyError):
            raise CacheUnavailableError(str(moved))
        if moved != 1:
            raise CacheUnavailableError("it was emptied while it was filled, or another database's sync writes to it")
        self._mark = mark

    # --- bringing -------------------------------------------------------------------------------------------------

    def _bring_small(self) -> None:
        records, parameters = self._source.key_records(), self._source.parameters()
        (held,) = self._ask([("HKEYS", APP_CONFIG.name())])
        names = [name.decode() for name in held]
        self._bulk.send([*key_commands(records), *parameter_commands(parameters, names)])
        self._add(api_keys=len(records), parameters=len(parameters))

    def _bring_missing(self) -> None:
        for start, end in reversed(self._mark.missing):
            # A row of a clock that is ahead is seldom: one stretch from this day on.
            bound = min(end, (self._mark.taken_at // DAY_SECONDS + 1) * DAY_SECONDS)
            if bound > start and bound < end:
                self._bring((bound, end))
                end = bound
            while end > start:
                day = max(start, (end - 1) // DAY_SECONDS * DAY_SECONDS)
                self._bring((day, end))
                end = day
        self._settle()

    def _bring(self, chunk: Interval) -> None:
        """The rows of a time, a piece after the other, and its calls of the reporting service."""
        rows: list[bytes] = []
        size, above = 0, chunk[1]
        for row in self._source.runs_of(chunk):
            if size >= PIECE_BYTES:
                second, below = second_of(rows[-1]), second_of(row)
                if below != second or size >= _PIECE_BYTES_MAX:
                    done = (second, above) if below != second else (above, above)
                    self._send_piece(rows, done)
                    rows, size, above = [], 0, done[0]
            rows.append(row)
            size += len(row)
        self._send_calls(self._source.calls_of(chunk))
        self._send_piece(rows, (chunk[0], above))

    def _send_piece(self, rows: list[bytes], done: Interval) -> None:
        """Begin to send, after the one before it has arrived; `done` are the seconds that are whole with it."""
        commands, count = self._build(rows)
        self._settle()
        self._make_room(count, second_of(rows[-1]) if rows else done[0])
        self._under_way = self._bulk.start(commands), commands, (done,), count
        if count == 0:
            self._settle()

    def _build(self, rows: list[bytes]) -> tuple[list[Commands], int]:
        """The commands of some rows, and how many requests they have."""
        if not rows:
            return [], 0
        requests = unpack(rows)
        texts = uuid_texts(requests)
        names, made, first = entry_names(texts), list[Commands](), 0
        for data, ends in entry_blocks(requests, texts, self._known, self._life_seconds):
            made += self._bulk.cut(names[first : first + len(ends)], data, ends)
            first += len(ends)
        for one in set_commands(requests, texts, self._known):
            made.append(one)
            if one.name not in self._expiring:
                self._expiring.add(one.name)
                made += expiring([one.name])
        return made, requests.total

    def _settle(self) -> None:
        """Wait for what is under way, and move the mark behind it."""
        if self._under_way is None:
            return
        future, commands, done, count = self._under_way
        self._under_way = None
        try:
            future.result()
        except CacheReplyError as error:
            if not error.is_full:
                raise CacheUnavailableError(str(error)) from None
            self._room.is_refused = True
            self._make_room(count, done[0][0])
            self._resend(commands)
        missing = self._mark.missing
        for stretch in done:
            missing = subtract(missing, stretch)
        self._move(self._mark.with_missing(missing), self._run)
        self._add(usage_entries=count)
        self._on_progress(Progress(self._result.usage_entries, done[0][0]))

    def _resend(self, commands: Iterable[Commands]) -> None:
        try:
            self._bulk.send(commands)
        except CacheReplyError as error:
            if error.is_full:
                raise _NoRoomError from None
            raise CacheUnavailableError(str(error)) from None

    def _send_calls(self, rows: Iterator[tuple[object, ...]]) -> None:
        pending: list[Commands] = []
        for one in call_commands(rows, self._life_seconds):
            pending.append(one)
            if len(pending) == _CALLS_A_PIECE:
                self._send_counted(pending)
                pending = []
        self._send_counted(pending)

    def _send_counted(self, commands: list[Commands]) -> None:
        if commands:
            self._settle()
            self._make_room(0, 0)
            self._resend(commands)
            self._add(report_calls=len(commands))

    # --- room -----------------------------------------------------------------------------------------------------

    def _make_room(self, count: int, oldest: int) -> None:
        """Room for so many entries, the oldest of this second: what is older than they are goes. Else _NoRoomError."""
        while not self._room.has_room(count):
            cut_us = self._room.cut(count)
            if cut_us is None or cut_us > oldest * 1_000_000:
                raise _NoRoomError
            cut = cut_us // 1_000_000 + 1
            self._move(self._mark.with_missing(union(self._mark.missing, ((self._mark.first, cut),))), self._run)
            self._add(removed=self._room.remove_before(cut * 1_000_000, self._known))

    def _remove_all(self) -> None:
        """Entries of another database, or of a Valkey that lost a part of them."""
        self._ask([("DEL", SYNC_MARK.name())])
        self._room.remove_all()

    def _setting(self, tag: str, value: str) -> Commands:
        name = SYNC_MARK_OF.name(tag)
        return Commands(name.encode(), command("SET", name, value), 1)

    def _ask(self, commands: list[tuple[str, ...]]) -> list[Any]:
        replies = self._cache.run(commands, SILENCE_SECONDS)
        for reply in replies:
            if isinstance(reply, CacheReplyError):
                raise CacheUnavailableError(str(reply))
        return replies

    def _add(self, **changes: Any) -> None:
        numbers: dict[str, Any] = {
            name: getattr(self._result, name) + value if type(value) is int else value
            for name, value in changes.items()
        }
        self._result = dataclasses.replace(self._result, **numbers)
