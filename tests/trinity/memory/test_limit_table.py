"""trinity/memory/limit_table.py"""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import at_once
from tests.support.limit_tables import BOOT, MONTH, NOW_NS, OTHER_BOOT, SECOND, WALL_NS, open_table, spend, take
from tests.support.quota import quota_used
from trinity.errors import LayoutError
from trinity.limits import MISTAKES_PER_MINUTE
from trinity.memory.gcra import FOUND_WORDS
from trinity.memory.limit_table import (
    ELSEWHERE,
    ENTRY_WORDS,
    HEADER_WORDS,
    LAYOUT_VERSION,
    MAGIC,
    QUOTA,
    LimitTable,
    bytes_needed,
    consume_free_rate,
    consume_key_rate,
    forgive_mistake,
    quota_left,
    take_lookups,
)


def _take_many(path: Path, count: int) -> tuple[int, ...]:
    table = open_table(path)
    gate = table.words
    found = np.zeros(FOUND_WORDS, dtype=np.int64)
    paced = sum(bool(consume_key_rate(gate, 3, NOW_NS, 1, 10_000, found)) for _ in range(count))
    under_quota = sum(take_lookups(gate, 3, MONTH, 10_000, 1) >= 0 for _ in range(count))
    free = sum(bool(consume_free_rate(gate, 3, NOW_NS, 1, 10_000, found)) for _ in range(count))
    forgiven = sum(bool(forgive_mistake(gate, 3, NOW_NS)) for _ in range(count))
    return paced, under_quota, free, forgiven


def test_four_processes_on_one_key_get_the_limit_and_not_one_more(tmp_path: Path) -> None:
    """32,000 requests at one moment against bursts and a quota of 10,000, and against the mistakes of a minute."""
    path = tmp_path / "limits"
    open_table(path)
    _take_many(tmp_path / "others", 1)  # what is compiled is loaded before the fork
    counts = at_once(_take_many, path, 8_000)
    assert [sum(column) for column in zip(*counts, strict=True)] == [10_000, 10_000, 10_000, MISTAKES_PER_MINUTE]


def test_limits_survive_a_restart(tmp_path: Path) -> None:
    """Rate and quota go on where they were; other keys have theirs untouched."""
    path = tmp_path / "access" / "limits"
    table = open_table(path)
    spend(table, 2)
    for _ in range(3):
        take_lookups(table.words, 2, MONTH, 100, 1)
    again = open_table(path, now_ns=NOW_NS + 5, wall_ns=WALL_NS + 5)
    assert take(again, 2) == SECOND
    assert quota_used(again, 2) == (MONTH, 3)
    assert take(again, 1) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_limits_survive_the_death_of_who_counted(tmp_path: Path) -> None:
    """SIGKILL right behind the last count loses none of it."""
    path = tmp_path / "limits"
    open_table(path)
    child = os.fork()
    if child == 0:
        table = open_table(path)
        spend(table, 1)
        take_lookups(table.words, 1, MONTH, 100, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    again = open_table(path)
    assert take(again, 1) == SECOND
    assert quota_used(again, 1) == (MONTH, 1)


def test_a_tat_expires_at_the_same_moment_after_a_reboot(tmp_path: Path) -> None:
    """The monotonic clock begins anew; the wall clock connects the two."""
    path = tmp_path / "limits"
    spend(open_table(path), 1)
    booted = open_table(path, boot_id=OTHER_BOOT, now_ns=20 * SECOND, wall_ns=WALL_NS + SECOND // 2)
    assert take(booted, 1, now_ns=20 * SECOND) == SECOND // 2
    later = open_table(path, boot_id=BOOT, now_ns=SECOND, wall_ns=WALL_NS + 3600 * SECOND)
    assert take(later, 1, now_ns=SECOND) == 0


def test_a_wall_clock_that_was_set_is_noted_for_the_next_boot(tmp_path: Path) -> None:
    """A machine that booted with a wrong date and was corrected neither forgets nor extends TATs at its reboot."""
    path = tmp_path / "limits"
    table = open_table(path, wall_ns=WALL_NS - 3600 * SECOND)
    table.note_clock(NOW_NS, WALL_NS)
    spend(table, 1)
    booted = open_table(path, boot_id=OTHER_BOOT, now_ns=20 * SECOND, wall_ns=WALL_NS)
    assert take(booted, 1, now_ns=20 * SECOND) == SECOND


def test_more_keys_make_the_file_grow_and_fewer_leave_it(tmp_path: Path) -> None:
    """What was counted stays, whichever way KEYS_MAX is changed."""
    path = tmp_path / "limits"
    spend(open_table(path, keys_max=10), 10)
    grown = open_table(path, keys_max=1000)
    assert path.stat().st_size == bytes_needed(1001)
    assert take(grown, 10) == SECOND
    assert take(grown, 1000) == 0
    small = open_table(path, keys_max=5)
    assert take(small, 10) == SECOND
    assert path.stat().st_size == bytes_needed(1001)


@pytest.mark.parametrize(
    ("what", "content"),
    [("magic", b""), ("magic", b"other" * 40), ("layout version", b"TRINITYL" + bytes(100)), ("size", None)],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, what: str, content: bytes | None) -> None:
    """Nothing is read as limits that is none, and the file is left as it is."""
    path = tmp_path / "limits"
    if content is None:
        open_table(path)
        content = path.read_bytes()[:-8]
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=f"limits: {what}"):
        open_table(path)
    assert path.read_bytes() == content


def layout_before(version: int, counts: dict[int, tuple[int, int]], capacity: int, boot_id: bytes = BOOT) -> bytes:
    """A file as it was: two words a key, TAT and quota, or four with those of what is free and of mistakes."""
    entry_words = {1: 2, 2: 4}[version]
    words = np.zeros(8 + entry_words * capacity, dtype=np.uint64)
    words[0], words[1], words[2], words[5] = MAGIC, version, capacity, WALL_NS - NOW_NS
    words[3:5] = np.frombuffer(boot_id, dtype=np.uint64)
    entries = words[8:].reshape(capacity, entry_words)
    entries[:, 2:] = range(7, 5 + entry_words)
    for key_id, (tat_ns, used) in counts.items():
        entries[key_id, :2] = tat_ns, MONTH << 48 | used
    return words.tobytes()


@given(
    counts=st.dictionaries(st.integers(0, 20), st.tuples(st.integers(0, 2**62), st.integers(0, 2**40)), max_size=8),
    keys_max=st.integers(1, 40),
    version=st.sampled_from([1, 2]),
)
def test_a_file_of_the_layout_before_is_brought_forward_with_every_count(
    tmp_path_factory: pytest.TempPathFactory, counts: dict[int, tuple[int, int]], keys_max: int, version: int
) -> None:
    """Rates and months go on where they were, whether KEYS_MAX grew or not; what is new begins anew."""
    path = tmp_path_factory.mktemp("before") / "limits"
    path.write_bytes(layout_before(version, counts, 21))
    table = open_table(path, keys_max)
    assert (int(table.words[1]), int(table.words[2])) == (LAYOUT_VERSION, max(21, keys_max + 1))
    assert not table.words[8:HEADER_WORDS].any()
    entries = table.words[HEADER_WORDS:].reshape(-1, ENTRY_WORDS)
    for key_id in range(21):
        tat_ns, used = counts.get(key_id, (0, 0))
        first = [tat_ns, MONTH << 48 | used if key_id in counts else 0, *([7, 8] if version == 2 else [0, 0])]
        assert list(entries[key_id]) == [*first, 0, 0, 0, 0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_the_layout_before_is_whole_whenever_its_upgrade_is_killed(tmp_path: Path) -> None:
    """At each system call of the way: the next start finds the old file or the new one, with every count."""
    path = tmp_path / "limits"
    for calls in range(1, 40):
        path.write_bytes(layout_before(2, {2: (NOW_NS + SECOND, 5)}, 11))
        child = os.fork()
        if child == 0:
            sys.setprofile(_killer(calls))
            open_table(path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert quota_used(open_table(path), 2) == (MONTH, 5)
        if os.WIFEXITED(status):
            break
    assert calls > 10, "it was killed on its way"


def _killer(calls: int) -> Callable[[FrameType, str, object], None]:
    """Ends the process at its so-manieth call into C: files are opened, written and renamed there."""
    left = calls

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        left -= event == "c_call"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return profile


def test_looking_changes_nothing_and_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    """For tools beside the node: no file is made, none of another layout is read, and none is written."""
    path = tmp_path / "limits"
    assert LimitTable.look(path) is None
    path.write_bytes(layout_before(2, {}, 11))
    assert LimitTable.look(path) is None
    take_lookups(open_table(path).words, 3, MONTH, 100, 7)
    before = path.read_bytes()
    found = LimitTable.look(path)
    assert found is not None
    assert list(found.used(np.array([1, 3, 10_000]), MONTH)) == [0, 7, 0]
    with pytest.raises(ValueError, match="read-only"):
        found.words[0] = 0
    assert path.read_bytes() == before


@pytest.mark.uncompiled
@given(
    newest=st.integers(0, MONTH + 3),
    count=st.integers(0, 50),
    month=st.integers(MONTH - 30, MONTH + 3),
    newest_elsewhere=st.integers(MONTH - 1, MONTH + 3),
    count_elsewhere=st.integers(0, 50),
)
def test_what_is_shown_as_used_is_what_the_quota_goes_by(
    newest: int, count: int, month: int, newest_elsewhere: int, count_elsewhere: int
) -> None:
    """Of many keys at once, in every case of a clock that is or was wrong, here and at the other nodes."""
    table = LimitTable.private(2)
    entry = table.words[HEADER_WORDS + ENTRY_WORDS :]
    entry[QUOTA], entry[ELSEWHERE] = newest << 48 | count, newest_elsewhere << 48 | count_elsewhere
    assert table.used(np.array([1]), month)[0] == 100 - quota_left(table.words, 1, month, 100)


@pytest.mark.uncompiled
@given(st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 20, 59, 60, 61, 200]), st.booleans()), max_size=150))
def test_mistakes_are_forgiven_by_the_minute_also_where_clocks_differ(steps: list[tuple[int, bool]]) -> None:
    """A worker whose turn began before the minute did counts in the one that has begun: nothing is forgiven twice."""
    table, at_seconds, minute, count = LimitTable.private(1), 1_000, 0, 0
    for seconds, is_late in steps:
        at_seconds += seconds
        if at_seconds // 60 != minute:
            minute, count = at_seconds // 60, 0
            assert forgive_mistake(table.words, 1, at_seconds * SECOND)
            count += 1
        said_seconds = minute * 60 - 1 if is_late else at_seconds
        assert forgive_mistake(table.words, 1, said_seconds * SECOND) == (count < MISTAKES_PER_MINUTE)
        count = min(count + 1, MISTAKES_PER_MINUTE)


@pytest.mark.uncompiled
def test_mistakes_of_another_boot_are_forgotten() -> None:
    """Its minutes are not comparable."""
    table = LimitTable.private(1)
    for _ in range(MISTAKES_PER_MINUTE):
        assert forgive_mistake(table.words, 1, 10**6 * SECOND)
    assert not forgive_mistake(table.words, 1, 10**6 * SECOND)
    assert forgive_mistake(table.words, 1, 60 * SECOND)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from trinity.memory.limit_table import LimitTable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    LimitTable.open(Path(sys.argv[1]), int(sys.argv[2]), bytes(16), 1, 1)
except OSError as error:
    print(error.strerror)
"""


def test_a_full_disk_is_an_error_at_the_start_and_leaves_what_was(tmp_path: Path) -> None:
    """Made or grown: the room is reserved before the first use, half a file is never left under the name."""
    path = tmp_path / "limits"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}

    def run(keys_max: int) -> str:
        command = [sys.executable, "-c", FULL_DISK, str(path), str(keys_max)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert run(100_000) == "File too large\n"
    assert list(tmp_path.iterdir()) == []
    assert run(10) == ""
    assert run(100_000) == "File too large\n"
    assert run(10) == ""


@pytest.mark.uncompiled
@given(
    quota=st.integers(1, 20),
    steps=st.lists(st.sampled_from([0, 0, 0, 1, -1]), max_size=60),
)
def test_a_month_admits_its_quota_and_a_clock_set_back_gives_nothing_again(quota: int, steps: list[int]) -> None:
    """The newest month counts, also while the clock says the one before."""
    table, month, newest, used = LimitTable.private(1), MONTH, MONTH, 0
    for step in [0, *steps]:
        month = max(min(month + step, newest + 1), newest - 1)
        if month > newest:
            newest, used = month, 0
        left = int(take_lookups(table.words, 1, month, quota, 1))
        assert left == (quota - used - 1 if used < quota else -1)
        used = min(used + 1, quota)
        assert quota_used(table, 1) == (newest, used)


@pytest.mark.uncompiled
def test_a_month_far_ahead_was_an_error_and_its_count_goes_on_in_the_month_of_now() -> None:
    """A clock that was a year ahead for a moment does not take the quota of a year, nor give one away."""
    table = LimitTable.private(1)
    for _ in range(3):
        assert take_lookups(table.words, 1, MONTH + 12, 5, 1) >= 0
    assert take_lookups(table.words, 1, MONTH, 5, 1) == 1
    assert quota_used(table, 1) == (MONTH, 4)
    assert take_lookups(table.words, 1, MONTH + 1, 5, 1) == 4


@pytest.mark.uncompiled
def test_a_machine_that_boots_in_1970_gives_no_month_again() -> None:
    """Before the clock is set and after: the month goes on, for a key that began without a clock as well."""
    table, year_0 = LimitTable.private(2), 1970 * 12
    assert [int(take_lookups(table.words, 1, MONTH, 3, 1)) for _ in range(2)] == [2, 1]
    assert [int(take_lookups(table.words, 1, year_0, 3, 1)) for _ in range(2)] == [0, -1]
    assert quota_left(table.words, 1, year_0, 3) == 0
    assert take_lookups(table.words, 1, MONTH, 3, 1) == -1
    assert quota_used(table, 1) == (MONTH, 3)
    assert [int(take_lookups(table.words, 2, month, 3, 1)) for month in (year_0, year_0, MONTH, MONTH)] == [2, 1, 0, -1]
    assert take_lookups(table.words, 1, MONTH + 1, 3, 1) == 2


@pytest.mark.uncompiled
def test_looking_at_a_quota_takes_nothing() -> None:
    """As often as one looks; the next month has all of it again."""
    table = LimitTable.private(1)
    assert take_lookups(table.words, 1, MONTH, 2, 1) == 1
    assert all(quota_left(table.words, 1, MONTH, 2) > 0 for _ in range(5))
    assert take_lookups(table.words, 1, MONTH, 2, 1) == 0
    assert quota_left(table.words, 1, MONTH, 2) == 0
    assert quota_left(table.words, 1, MONTH + 1, 2) > 0
    assert quota_used(table, 1) == (MONTH, 2)


def test_the_room_is_reserved_not_only_promised(tmp_path: Path) -> None:
    """A sparse file would be a SIGBUS on a disk that is full by then."""
    path = tmp_path / "limits"
    open_table(path, keys_max=100_000)
    assert path.stat().st_blocks * 512 >= bytes_needed(100_001)
