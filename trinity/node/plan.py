"""What a node is started with, and what its next processes are: a reload puts another plan in the place of the first.

Must not know any process: trinity/node/roles.py says what each makes of it.
"""

import uuid
from dataclasses import dataclass
from typing import NamedTuple

from trinity.config import Config
from trinity.markets import Catalog


class NodePlan(NamedTuple):
    """What is to be started."""

    config: Config
    catalog: Catalog
    with_simulator: bool
    node_uuid: uuid.UUID
    with_receiver: bool = False


@dataclass
class RunningPlan:
    """What a process is started with from now on."""

    plan: NodePlan
