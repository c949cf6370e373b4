"""trinity/node/plan.py"""

import uuid

import msgspec

from trinity.config import Config
from trinity.markets import load_catalog
from trinity.node.plan import NodePlan, RunningPlan


def test_whoever_holds_the_running_plan_sees_the_one_that_took_its_place() -> None:
    """A process that is started anew gets what a reload has put there, not what the node began with."""
    config = Config()
    running = RunningPlan(NodePlan(config, load_catalog(), with_simulator=False, node_uuid=uuid.UUID(int=1)))
    held_by_a_process = running
    section = msgspec.structs.replace(config.access, free_rate="7/s")
    running.plan = running.plan._replace(config=msgspec.structs.replace(config, access=section))
    assert held_by_a_process.plan.config.access.free_rate == "7/s"
    assert config.access.free_rate != "7/s"
