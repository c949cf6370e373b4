"""Whether something may be delivered to an address that the operator typed: asked where the command runs.

Rules: a name is resolved now, by this machine's resolver and this configuration's allow-list. The node that delivers
asks again at each dial: that protects, this tells the operator at once.
"""

from trinity.config import PushSection
from trinity.errors import DeliveryError, InputError
from trinity.push.addresses import AllowList
from trinity.push.resolve import check_target_once
from trinity.push.targets import parse_target


def check_typed(section: PushSection, option: str, target: str) -> None:
    """InputError names the option and says why nothing may be delivered there."""
    allow = AllowList.parse(section.allowed_targets)
    try:
        check_target_once(parse_target(target), allow, section.resolvers)
    except DeliveryError as error:
        raise InputError(option, error.detail) from None
