"""trinity/observe/register.py, with what trinity/observe/metrics.py declares"""

import pytest

from trinity.limits import COUNTER_WORDS
from trinity.observe.metrics import CONSENSUS, FEED, REGISTERS
from trinity.vocabulary import SHAPE_REASONS


@pytest.mark.parametrize("kind", sorted(REGISTERS))
def test_every_series_has_a_word_of_its_own(kind: str) -> None:
    """Indexes are dense, distinct and within a block."""
    register = REGISTERS[kind]
    words = [register.index(metric.name, *series) for metric in register.metrics for series in metric.series()]
    assert words == list(range(len(words)))
    assert len(words) <= COUNTER_WORDS


def test_an_undeclared_series_is_an_error() -> None:
    """A misspelt reason cannot vanish into a shared word."""
    with pytest.raises(KeyError):
        FEED.index("parse_errors_total", "typo")
    with pytest.raises(KeyError):
        CONSENSUS.index("parse_errors_total", SHAPE_REASONS[0])
