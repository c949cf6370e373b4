"""The context of a cluster process over real shared memory."""

from collections.abc import Iterator

import pytest

from tests.support.contexts import OpenContext, open_context
from trinity.markets import load_catalog


@pytest.fixture
def process() -> Iterator[OpenContext]:
    with open_context("cluster", "cluster", load_catalog()) as context:
        yield context
