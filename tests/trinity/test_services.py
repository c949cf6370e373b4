"""What a node runs by its type."""

import pytest

from trinity.services import SERVICES, ServerType, services_of_type


@pytest.mark.parametrize("server_type", SERVICES)
def test_push_adds_one_service_once(server_type: ServerType) -> None:
    """A type that delivers already is as it was; the order of the others stays."""
    alone, pushing = services_of_type(server_type), services_of_type(server_type, with_push=True)
    assert alone == SERVICES[server_type]
    assert pushing[: len(alone)] == alone
    assert pushing.count("push") == 1


def test_every_type_runs_something_of_its_own() -> None:
    """No two types are the same, and the default one answers everything and delivers nothing."""
    assert len(set(SERVICES.values())) == len(SERVICES)
    assert all(SERVICES.values())
    assert SERVICES["APP_REPORT_SERVER"] == ("lookups", "reports")
