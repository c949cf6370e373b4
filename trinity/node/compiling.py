"""Everything compiled that the node's processes call: made, or loaded, before they are forked and inherit it.

`python -m trinity.node.compiling` makes it and nothing else, into TRINITY_DATA_DIR: an installation runs that beside
the rest of itself, for it needs numba, numpy and msgspec alone. Must not import what these do not bring.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import feeds.consensus.candles
import feeds.consensus.process
import feeds.ingest.intake
import trinity.access.warm_up
import trinity.memory.delivery_ring
import trinity.memory.limit_shares
import trinity.memory.price_table
import trinity.native.hmac
import trinity.native.nearest
import workers.push.entries
import workers.push.udp.sender
import workers.request.loop
from trinity.compiled import prepare_cache
from trinity.memory.atomics import fence, load_acquire, store_release
from trinity.memory.cell import cell_words, publish, snapshot
from trinity.memory.price_table import cell_at


def compile_before_fork(announce: Callable[[str], None] = lambda _why: None) -> bool:
    """Compile, or load from the cache, what the children call: they inherit it through the fork. True: it compiled.

    Where the loop has to be compiled, `announce` is told why, and it gets a process of its own: it takes longer than
    all else, and the memory that compiling takes ends with that process.
    """
    helper = 0
    if not workers.request.loop.is_compiled():
        from trinity.compiled.shipped import why_compiling

        announce(why_compiling())
        helper = _in_a_child(workers.request.loop.warm_up)
    for warm_up in _WARM_UPS:
        warm_up()
    if helper:
        os.waitpid(helper, 0)
    workers.request.loop.warm_up()
    return helper != 0


def _in_a_child(warm_up: Callable[[], None]) -> int:
    """Run it in a process of its own; whatever that misses, the parent compiles."""
    child = os.fork()
    if child == 0:
        try:
            warm_up()
        finally:
            os._exit(0)
    return child


def _warm_up_cells() -> None:
    words = np.zeros(cell_words(8), dtype=np.uint64)
    publish(words, 0, 8, np.ones(8, dtype=np.uint64))
    snapshot(words, 0, 8, np.zeros(8, dtype=np.uint64))
    store_release(words, 0, load_acquire(words, 0))
    # A word whose highest bit is set is another type for numba.
    store_release(words, 0, np.uint64(1 << 63))  # type: ignore[arg-type]
    cell_at(1, 1, 0, 0)
    fence()


# What compiles, or loads, all that the children call but the request loop, by calling it once.
_WARM_UPS = (
    _warm_up_cells,
    feeds.consensus.process.warm_up,
    feeds.consensus.candles.warm_up,
    feeds.ingest.intake.warm_up,
    trinity.access.warm_up.warm_up,
    trinity.memory.delivery_ring.warm_up,
    trinity.memory.limit_shares.warm_up,
    trinity.memory.price_table.warm_up,
    trinity.native.hmac.warm_up,
    trinity.native.nearest.warm_up,
    workers.push.entries.warm_up,
    workers.push.udp.sender.warm_up,
)

if __name__ == "__main__":
    prepare_cache(Path(os.environ["TRINITY_DATA_DIR"]))
    compile_before_fork()
