"""trinity/cli/customers/targets.py: an address is refused under the option that it was typed for."""

import pytest

from trinity.cli.customers.targets import check_typed
from trinity.config import PushSection
from trinity.errors import InputError


@pytest.mark.parametrize("option", ["--target", "URL"])
def test_an_address_that_nothing_is_delivered_to_is_refused_by_its_option(option: str) -> None:
    """With the variable that opens it; an address that is public, or was opened, is no error."""
    with pytest.raises(InputError, match="PUSH_ALLOWED_TARGETS") as refused:
        check_typed(PushSection(), option, "https://127.0.0.1/")
    assert refused.value.field == option
    check_typed(PushSection(allowed_targets=("127.0.0.0/8",)), option, "https://127.0.0.1/")
    check_typed(PushSection(), option, "udp://93.184.216.34:9")
