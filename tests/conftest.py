"""What every test needs: the cache of compiled code before the first compiled import, hypothesis without a clock."""

import os
from pathlib import Path

from hypothesis import settings

from trinity.compiled import prepare_cache

prepare_cache(Path(os.environ.get("TRINITY_DATA_DIR", Path(__file__).resolve().parent.parent / ".data")))

# The machine is shared and the first call of a compiled function compiles it: a deadline would test the weather.
# `make test` tries the same examples each time, so that a commit is good or bad whoever runs it; `make fuzz` searches.
settings.register_profile("trinity", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("trinity")

pytest_plugins = ["tests.support.database", "tests.support.valkey_server"]
