"""workers/request/worker.py"""

from typing import Any

import numpy as np

from trinity.memory.control import BLOCK_WORDS, COUNTERS
from trinity.native.networks import trusted_networks
from trinity.observe import metrics
from workers.request.http.slots import make_connections
from workers.request.turns import make_governor
from workers.request.worker import FD_COUNT, LOOKUPS_BEFORE, make_worker


def test_a_worker_goes_on_counting_where_the_one_before_stopped(make_private: Any) -> None:
    """Lookups that were told before it began are not told again."""
    private = make_private()
    block = np.zeros(BLOCK_WORDS, dtype=np.uint64)
    block[COUNTERS + metrics.REQUEST.index("lookups_total")] = 7
    connections = make_connections(0, private.context, 2)
    fds = np.zeros(FD_COUNT, dtype=np.int64)
    worker = make_worker(fds, block, private.context, trusted_networks(()), connections, make_governor(0))
    assert worker.marks[LOOKUPS_BEFORE] == 7
    assert worker.counters.base is not None
    assert worker.mailbox.context.beyond is worker.context.beyond
