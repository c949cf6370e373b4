"""What every test needs: the cache of compiled code before the first compiled import."""

import os
from pathlib import Path

from trinity.compiled import prepare_cache

prepare_cache(Path(os.environ.get("TRINITY_DATA_DIR", Path(__file__).resolve().parent.parent / ".data")))
