"""workers/cluster/context.py"""

from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.memory.control import HEARTBEAT_NS
from workers.cluster.context import Turns


def test_the_process_beats_as_the_task_whose_turn_is_longest_ago(process: OpenContext) -> None:
    """One that stands still is seen, though the others go on."""
    clock = ManualClock(now_ns=100)
    turns = Turns(process.block, clock)
    first, second = turns.of("first"), turns.of("second")
    clock.now_ns = 200
    first()
    assert process.block.read(HEARTBEAT_NS) == 100
    second()
    assert process.block.read(HEARTBEAT_NS) == 200
