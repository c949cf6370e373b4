"""trinity/node/replacement.py alone; within the supervisor, with deaths at any moment: test_supervisor_machine.py."""

from trinity.limits import RETIRE_MAX_NS
from trinity.node.replacement import Begin, Overdue, Replace, Replaced, Replacement, Retire, Seating

POOL = Replace((), ("worker",))


def running(pool: str = "", seat: int | None = None) -> Seating:
    return Seating(pool, seat, running=True, first_beat_ns=1)


def two_workers() -> dict[str, Seating]:
    return {"worker-0": running("worker", 0), "worker-1": running("worker", 1), "worker-2": Seating("worker", None)}


def begin(process: Seating) -> None:
    process.running, process.first_beat_ns = True, 1


def end(process: Seating) -> None:
    process.running, process.first_beat_ns, process.retiring = False, 0, False


def test_each_seat_of_a_pool_goes_to_the_spare_and_who_had_it_is_the_next_spare() -> None:
    """The old one is told only when the new one beats; at the end every seat is taken and one process rests."""
    processes = two_workers()
    replacement = Replacement(POOL, processes)
    spare = "worker-2"
    for seat, old in enumerate(("worker-0", "worker-1")):
        assert list(replacement.go_on(0)) == [Begin(spare)]
        assert (processes[spare].seat, processes[spare].standing_by) == (seat, True)
        processes[spare].running = True
        assert list(replacement.go_on(0)) == [], "it does not beat yet"
        begin(processes[spare])
        assert list(replacement.go_on(0)) == [Retire(old)]
        assert not processes[spare].standing_by
        assert processes[old].seat is None
        assert list(replacement.go_on(RETIRE_MAX_NS)) == []
        assert replacement.ended(old, "it ended with exit code 0")
        end(processes[old])
        spare = old
    assert list(replacement.go_on(0)) == [Replaced(("worker-0", "worker-1"))]
    assert sorted(of.seat for of in processes.values() if of.seat is not None) == [0, 1]
    assert [name for name, of in processes.items() if of.is_resting] == ["worker-1"]


def test_who_does_not_end_in_time_is_killed_once() -> None:
    """Of a pool and alone, not a moment before."""
    for wanted, name in ((POOL, "worker-0"), (Replace(("feed",)), "feed")):
        processes = {**two_workers(), "feed": running()}
        replacement = Replacement(wanted, processes)
        list(replacement.go_on(0))
        begin(processes["worker-2"])
        list(replacement.go_on(0))
        assert list(replacement.go_on(RETIRE_MAX_NS)) == []
        assert list(replacement.go_on(RETIRE_MAX_NS + 1)) == [Overdue(name)]
        assert list(replacement.go_on(RETIRE_MAX_NS + 2)) == []


def test_a_successor_that_cannot_begin_leaves_the_old_one_where_it_was() -> None:
    """It was never told; the spare has no seat again, and nobody else is replaced."""
    processes = two_workers()
    replacement = Replacement(POOL, processes)
    list(replacement.go_on(0))
    assert replacement.ended("worker-2", "no memory")
    (said,) = replacement.go_on(0)
    assert said == Replaced((), "worker-2 could not begin: no memory")
    assert (processes["worker-0"].seat, processes["worker-0"].retiring) == (0, False)
    assert processes["worker-2"].is_resting


def test_a_seat_whose_holder_died_belongs_to_the_spare_at_once() -> None:
    """The death is no death: who died is the next spare, and the replacement goes on with the next seat."""
    processes = two_workers()
    replacement = Replacement(POOL, processes)
    list(replacement.go_on(0))
    begin(processes["worker-2"])
    assert replacement.ended("worker-0", "killed by SIGKILL")
    end(processes["worker-0"])
    assert (processes["worker-2"].seat, processes["worker-2"].standing_by) == (0, False)
    assert list(replacement.go_on(0)) == [Begin("worker-0")]
    assert processes["worker-0"].seat == 1


def test_who_is_of_no_pool_ends_before_it_begins_anew() -> None:
    """And one that cannot begin anew ends the replacement, with its name and the cause."""
    processes = {"feed": running(), "flusher": running()}
    replacement = Replacement(Replace(("feed", "flusher")), processes)
    assert list(replacement.go_on(0)) == [Retire("feed")]
    assert replacement.ended("feed", "it ended with exit code 0")
    end(processes["feed"])
    processes["feed"].running = True
    assert list(replacement.go_on(0)) == []
    begin(processes["feed"])
    assert list(replacement.go_on(0)) == [Retire("flusher")]
    assert replacement.ended("flusher", "it ended with exit code 0")
    end(processes["flusher"])
    assert not replacement.ended("flusher", "a bug"), "that death is the supervisor's"
    assert list(replacement.go_on(0)) == [Replaced(("feed",), "flusher could not begin anew: a bug")]
