"""benchmarks/errors.py"""

import pytest

from benchmarks.errors import PeerError
from trinity.errors import TrinityError

pytestmark = pytest.mark.uncompiled


def test_the_sentence_names_who_failed_and_how() -> None:
    """And the command line catches it as any error that was raised on purpose."""
    error = PeerError("store", "did not start")
    assert isinstance(error, TrinityError)
    assert (str(error), error.peer, error.reason) == ("store: did not start", "store", "did not start")
