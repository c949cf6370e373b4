"""trinity/memory/segment.py"""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from trinity.errors import LayoutError, NodeRunningError
from trinity.memory import segment as segment_module
from trinity.memory.segment import HEADER_WORDS, WORD_BYTES, Segment


def test_a_created_segment_is_zero_and_can_be_attached(segment_name: str) -> None:
    """Creator and tool see the same words."""
    made = Segment.create(segment_name, 3, 0xABC, 100)
    assert made.body.size == 100
    assert not made.body.any()
    made.body[99] = 5
    seen = Segment.attach(segment_name, 3, 0xABC)
    assert int(seen.body[99]) == 5
    assert seen.owner_pid == os.getpid()
    seen.unlink()
    assert (Path("/dev/shm") / segment_name).exists(), "only the creator unlinks"
    made.unlink()
    assert not (Path("/dev/shm") / segment_name).exists()


@pytest.mark.parametrize(("version", "layout_hash", "what"), [(4, 0xABC, "layout version"), (3, 0xABD, "layout hash")])
def test_another_layout_is_refused(segment_name: str, version: int, layout_hash: int, what: str) -> None:
    """A second program of another layout cannot attach, so it cannot write either."""
    made = Segment.create(segment_name, 3, 0xABC, 8)
    with pytest.raises(LayoutError) as caught:
        Segment.attach(segment_name, version, layout_hash)
    assert caught.value.what == what
    made.unlink()


def test_memory_that_is_not_ours_is_refused(segment_name: str) -> None:
    """A file without our magic is a layout error, not a table."""
    (Path("/dev/shm") / segment_name).write_bytes(b"x" * 4096)
    with pytest.raises(LayoutError) as caught:
        Segment.attach(segment_name, 1, 1)
    assert caught.value.what == "magic"


def _create_and_die(name: str) -> None:
    Segment.create(name, 1, 1, 8)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_leftover_of_a_killed_owner_is_replaced(segment_name: str) -> None:
    """After SIGKILL of everything the next start is clean."""
    killed = multiprocessing.get_context("fork").Process(target=_create_and_die, args=(segment_name,))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    assert (Path("/dev/shm") / segment_name).exists()
    again = Segment.create(segment_name, 1, 1, 8)
    assert again.owner_pid == os.getpid()
    again.unlink()


def _try_to_create(name: str, verdicts: "multiprocessing.SimpleQueue[int]") -> None:
    try:
        Segment.create(name, 1, 1, 8)
    except NodeRunningError as error:
        verdicts.put(error.owner_pid)
    else:
        verdicts.put(0)


def test_a_live_owner_is_respected(segment_name: str) -> None:
    """Two nodes of one name cannot share memory: the second start is refused and names the owner."""
    made = Segment.create(segment_name, 1, 1, 8)
    fork = multiprocessing.get_context("fork")
    verdicts = fork.SimpleQueue()
    second = fork.Process(target=_try_to_create, args=(segment_name, verdicts))
    second.start()
    assert verdicts.get() == os.getpid()
    second.join(30)
    made.unlink()


def _hold(name: str, start: "Event", verdicts: "multiprocessing.SimpleQueue[str]", end: "Event") -> None:
    segment_module._CLAIM_TRIES = 2  # the losers need not wait for long: nobody dies here
    start.wait()
    try:
        made = Segment.create(name, 1, 1, 8)
    except NodeRunningError:
        verdicts.put("refused")
        return
    made.body[0] = os.getpid()
    verdicts.put("owner")
    end.wait()
    verdicts.put("kept" if int(Segment.attach(name, 1, 1).body[0]) == os.getpid() else "lost")


@pytest.mark.parametrize("leftover", ["none", "of a dead node", "half a header", "empty"])
def test_of_starts_at_the_same_moment_exactly_one_gets_the_name(segment_name: str, leftover: str) -> None:
    """Many rounds of six processes that start together: one owner, whose memory stays what the name stands for."""
    fork = multiprocessing.get_context("fork")
    for _ in range(15):
        path = Path("/dev/shm") / segment_name
        if leftover == "half a header":
            path.write_bytes(b"\1" * (HEADER_WORDS * WORD_BYTES // 2))
        elif leftover == "empty":
            path.touch()
        elif leftover == "none":
            path.unlink(missing_ok=True)
        # Else the owner of the last round has ended and left it.
        start, end, verdicts = fork.Event(), fork.Event(), fork.SimpleQueue()
        rivals = [fork.Process(target=_hold, args=(segment_name, start, verdicts, end)) for _ in range(6)]
        for rival in rivals:
            rival.start()
        start.set()
        assert sorted(verdicts.get() for _ in rivals) == ["owner"] + ["refused"] * 5
        end.set()
        assert verdicts.get() == "kept"
        for rival in rivals:
            rival.join(30)
            assert rival.exitcode == 0


_CREATE = (
    "import sys; from trinity.errors import NodeRunningError; from trinity.memory.segment import Segment\n"
    "try: Segment.create(sys.argv[1], 1, 1, 8)\n"
    "except NodeRunningError: print('refused')\n"
    "else: print('created')"
)
_ATTACH = "import sys; from trinity.memory.segment import Segment; print(Segment.attach(sys.argv[1], 1, 1).is_in_use())"


def _in_another_container(script: str, name: str) -> str:
    """Run it where this process has no number, with the same /dev/shm."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    return subprocess.run([*command, name], capture_output=True, text=True, check=True, timeout=120).stdout.strip()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]).returncode != 0,
    reason="this machine gives no namespaces of process numbers",
)
def test_a_live_owner_is_seen_from_another_container(segment_name: str) -> None:
    """One /dev/shm, process numbers of each one's own: what cannot be found in /proc holds its lock all the same."""
    assert _in_another_container(_CREATE, segment_name) == "created"
    made = Segment.create(segment_name, 1, 1, 8)  # the other one's leftover
    assert _in_another_container(_CREATE, segment_name) == "refused"
    assert _in_another_container(_ATTACH, segment_name) == "True"
    assert made.is_in_use()
    made.unlink()


def test_a_tool_sees_when_the_node_has_ended_and_when_another_took_its_name(segment_name: str) -> None:
    """In use while a process of the node lives; the memory of a later node is not this one."""
    fork = multiprocessing.get_context("fork")
    seen = []
    for _ in range(2):
        start, end, verdicts = fork.Event(), fork.Event(), fork.SimpleQueue()
        owner = fork.Process(target=_hold, args=(segment_name, start, verdicts, end))
        owner.start()
        start.set()
        assert verdicts.get() == "owner"
        seen.append(Segment.attach(segment_name, 1, 1))
        assert [segment.is_in_use() for segment in seen] == [False] * (len(seen) - 1) + [True]
        end.set()
        assert verdicts.get() == "kept"
        owner.join(30)
        assert not seen[-1].is_in_use()
    assert [segment.is_in_use() for segment in seen] == [False, False]


def test_memory_that_is_not_finished_is_no_memory_yet(segment_name: str) -> None:
    """A tool that comes while a node starts finds no node, instead of a broken one."""
    path = Path("/dev/shm") / segment_name
    for content in (b"", bytes(4), bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(FileNotFoundError):
            Segment.attach(segment_name, 1, 1)


def test_a_creator_whose_name_was_taken_by_hand_leaves_the_new_owners_alone(segment_name: str) -> None:
    """Somebody removed the name while the node ran: its end does not remove what another has made since."""
    made = Segment.create(segment_name, 1, 1, 8)
    (Path("/dev/shm") / segment_name).unlink()
    again = Segment.create(segment_name, 1, 1, 8)
    made.unlink()
    assert (Path("/dev/shm") / segment_name).exists()
    again.unlink()


def test_a_full_shared_memory_fails_at_creation(segment_name: str) -> None:
    """The failure comes at start, as an OSError, and leaves no name behind."""
    with pytest.raises(OSError):
        Segment.create(segment_name, 1, 1, 2**33)
    assert not (Path("/dev/shm") / segment_name).exists()
