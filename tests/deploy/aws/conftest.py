"""The templates of deploy/aws, worked out: as production, and as each copy that has a file of parameters."""

import pytest

from tests.support.cloudformation import parameters_of, whole_of
from tests.support.deployment import COPIES, Part


@pytest.fixture(scope="session")
def whole() -> dict[str, Part]:
    return whole_of(parameters_of("production"))


@pytest.fixture(scope="session", params=COPIES)
def copy(request: pytest.FixtureRequest) -> dict[str, Part]:
    return whole_of(parameters_of(request.param), COPIES[request.param])
