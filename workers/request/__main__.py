"""`python -m workers.request`: compile the request loop, and nothing else, into TRINITY_DATA_DIR.

It needs numba, numpy and msgspec alone, so it runs while an installation brings everything else; `trinity compile` does
what is left. Must not import what these do not bring.
"""

import os
from pathlib import Path

from trinity.compiled import prepare_cache

if __name__ == "__main__":
    prepare_cache(Path(os.environ["TRINITY_DATA_DIR"]))
    from workers.request.loop import warm_up

    warm_up()
