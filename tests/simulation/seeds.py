"""The events of `make test-long`, in parts that test processes share: each file that imports this has its own seeds."""

import os

from tests.simulation.runner import run
from trinity.compiled import jit_enabled

# `make test-long` runs these, some five minutes of processor time; `make simulate` as many as wanted. Uncompiled it is
# a sample.
STEPS = int(os.environ.get("SIMULATE_STEPS", "1000000" if jit_enabled() else "8000"))
SEEDS = (1, 2, 3, 4)


def assert_holds(seed: int) -> None:
    """A seed's share of the events; a failure prints its shortest history."""
    failure = run(seed, STEPS // len(SEEDS))
    assert failure is None, str(failure)
