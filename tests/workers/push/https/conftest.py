"""One authority for the receivers of these tests: making one takes a tenth of a second."""

import pytest
import trustme


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
