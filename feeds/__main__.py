"""`python -m feeds`: compile what the feeds and the consensus call, and nothing else, into TRINITY_DATA_DIR.

As `python -m workers.request` does for the request loop, and beside it: both run while an installation brings all but
numba, numpy and msgspec, and must not import what these do not bring.
"""

import os
from pathlib import Path

from trinity.compiled import prepare_cache

if __name__ == "__main__":
    prepare_cache(Path(os.environ["TRINITY_DATA_DIR"]))
    import feeds.consensus.candles
    import feeds.consensus.process
    import feeds.ingest.intake

    for room in (feeds.consensus.process, feeds.consensus.candles, feeds.ingest.intake):
        room.warm_up()
