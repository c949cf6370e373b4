"""A ledger to be brought to Valkey."""

from collections.abc import Iterator

import pytest

from tests.trinity.sync.ledger_copy import LedgerCopy


@pytest.fixture
def ledger_copy(database_url: str) -> Iterator[LedgerCopy]:
    """Of one test's own, with four keys of one account."""
    made = LedgerCopy(database_url)
    yield made
    made.close()
