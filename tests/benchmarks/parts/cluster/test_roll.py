"""benchmarks/parts/cluster/roll.py; the run itself is `trinity bench roll`."""

from benchmarks.parts.cluster.roll import _found
from benchmarks.parts.cluster.steady_clients import Tally


def test_rows_are_held_against_what_clients_counted() -> None:
    """A row less than answers is missing; rows beyond answers and what was asked again are surplus."""
    tallies = {"http": Tally(100, 0, 2, 100), "udp": Tally(50, 1, 3, 49, ["BTC: no answer"])}
    found = _found(tallies, {"http": 102, "udp": 53}, [{"node": "node-1", "seconds": 9.0}], 60.0)
    assert [found["kinds"]["http"][name] for name in ("missing", "surplus")] == [0, 0]
    assert [found["kinds"]["udp"][name] for name in ("missing", "surplus")] == [0, 1]
    assert found["wrong"] == 2
    assert _found(tallies, {"http": 99, "udp": 49}, [], 60.0)["kinds"]["http"]["missing"] == 1
