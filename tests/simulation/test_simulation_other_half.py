"""The other half of the seeds: in a file of its own, so that another test process takes it."""

import pytest

from tests.simulation.seeds import SEEDS, assert_holds


@pytest.mark.long
@pytest.mark.uncompiled
@pytest.mark.parametrize("seed", SEEDS[1::2])
def test_all_invariants_hold_over_the_other_half(seed: int) -> None:
    """Honest, fresh, counted once, within the limits and truthful, whatever is lost, late, killed, full or wrong."""
    assert_holds(seed)
