"""What a customer asked for: prices of some assets, where to, and when. Written values -> checked values.

    interval_s               every so many seconds
    deviation_bps            when a price has moved by as much
    heartbeat_s              after so long without any other reason
    max_age_ms, min_sources  what a price must be to be given

Rules: pure. A number of 0 is off; at least one of the three triggers is on. Assets are written by any of their names
and kept by their own, in the order given. Every refusal is an InputError that names the field. A change has the fields
that are to be others; what it leaves out stays.
"""

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from trinity.errors import InputError
from trinity.limits import SUBSCRIPTION_ASSETS_MAX
from trinity.push.targets import parse_target

NAME_CHARS_MAX = 100
# As much of a wrong word as is said again.
_SHOWN_CHARS = 40

# The name under which an asset is known; None for what no asset is called.
FindAsset = Callable[[str], str | None]


class Bounds(NamedTuple):
    """Of a number that is not off."""

    least: int
    most: int
    unit: str


NUMBERS = {
    "interval_s": Bounds(3, 60, "seconds"),
    "deviation_bps": Bounds(1, 10_000, "basis points"),
    "heartbeat_s": Bounds(3, 86_400, "seconds"),
    "max_age_ms": Bounds(1, 600_000, "milliseconds"),
    "min_sources": Bounds(1, 6, "exchanges"),
}
TRIGGERS = ("interval_s", "deviation_bps", "heartbeat_s")


class SubscriptionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription to be made; checked (`read_draft`)."""

    target: str
    assets: tuple[str, ...]
    name: str = ""
    interval_s: int = 0
    deviation_bps: int = 0
    heartbeat_s: int = 0
    max_age_ms: int = 0
    min_sources: int = 0


class SubscriptionChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be another; None stays. Checked (`read_change`)."""

    target: str | None = None
    assets: tuple[str, ...] | None = None
    name: str | None = None
    interval_s: int | None = None
    deviation_bps: int | None = None
    heartbeat_s: int | None = None
    max_age_ms: int | None = None
    min_sources: int | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as the database has it, secrets included: never shown, never logged."""

    id: int
    account_id: int
    key_id: int | None  # that made it; None: the operator
    name: str
    target: str
    assets: tuple[str, ...]
    interval_s: int
    deviation_bps: int
    heartbeat_s: int
    max_age_ms: int
    min_sources: int
    state: str  # active, paused, disabled
    disabled_reason: str | None
    disabled_at: datetime.datetime | None
    secret: str
    old_secret: str | None
    old_secret_until: datetime.datetime | None
    revision: int
    created_at: datetime.datetime
    changed_at: datetime.datetime
    deleted_at: datetime.datetime | None

    def __repr__(self) -> str:
        return f"Subscription(id={self.id}, account_id={self.account_id}, state={self.state!r})"


class SubscriptionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as people see it, with how its receiver fares; times are null for what has not been."""

    id: int
    account: str
    key_id: int | None
    name: str
    target: str
    assets: tuple[str, ...]
    interval_s: int
    deviation_bps: int
    heartbeat_s: int
    max_age_ms: int
    min_sources: int
    state: str
    disabled_reason: str | None
    disabled_at: datetime.datetime | None
    secret_since: datetime.datetime
    old_secret_until: datetime.datetime | None  # the secret before signs as well until then
    created_at: datetime.datetime
    changed_at: datetime.datetime
    failing_since: datetime.datetime | None
    failures: int  # one after the other
    last_attempt_at: datetime.datetime | None
    last_success_at: datetime.datetime | None
    last_status: int | None
    last_error: str | None
    last_sequence: int | None
    next_at: datetime.datetime | None  # when it is tried again, while it fails


def read_draft(given: Mapping[str, Any], find_asset: FindAsset) -> SubscriptionDraft:
    """A new subscription from its fields; InputError."""
    for field in ("target", "assets"):
        if given.get(field) is None:
            raise InputError(field, _MISSING[field])
    draft = SubscriptionDraft(**_checked(given, find_asset))
    check_triggers(draft)
    return draft


def read_change(given: Mapping[str, Any], find_asset: FindAsset) -> SubscriptionChange:
    """A change from its fields; InputError."""
    fields = _checked(given, find_asset)
    if not fields:
        raise InputError(
            "name", f"nothing is to be changed: give one of {', '.join(SubscriptionDraft.__struct_fields__)}"
        )
    return SubscriptionChange(**fields)


def check_triggers(found: SubscriptionDraft | Subscription) -> None:
    """Refuse what would never be sent."""
    if not any(getattr(found, field) for field in TRIGGERS):
        raise InputError(TRIGGERS[0], f"without one of {', '.join(TRIGGERS)} it would never be sent: give at least one")


def _checked(given: Mapping[str, Any], find_asset: FindAsset) -> dict[str, Any]:
    """The fields that were given, each as it is kept."""
    checks: dict[str, Callable[[Any], Any]] = {
        "name": _name,
        "target": _target,
        "assets": lambda written: _assets(written, find_asset),
    }
    found: dict[str, Any] = {}
    for field, written in given.items():
        if written is None:
            continue
        found[field] = _number(field, written) if field in NUMBERS else checks[field](written)
    return found


def _number(field: str, written: int) -> int:
    least, most, unit = NUMBERS[field]
    if written != 0 and not least <= written <= most:
        raise InputError(field, f"{str(written)[:_SHOWN_CHARS]} is not {least} to {most} {unit}, nor 0 for off")
    return written


def _name(written: str) -> str:
    name = written.strip()
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise InputError("name", f"{written[:_SHOWN_CHARS]!a} is not at most {NAME_CHARS_MAX} printable characters")
    return name


def _target(written: str) -> str:
    return str(parse_target(written))


def _assets(written: list[str] | tuple[str, ...], find_asset: FindAsset) -> tuple[str, ...]:
    if not 1 <= len(written) <= SUBSCRIPTION_ASSETS_MAX:
        raise InputError("assets", f"{len(written)} assets: a subscription has 1 to {SUBSCRIPTION_ASSETS_MAX}")
    found: dict[str, str] = {}
    for word in written:
        asset = find_asset(word)
        if asset is None:
            raise InputError("assets", f"there is no asset {word[:_SHOWN_CHARS]!a}: `/assets` lists them")
        if asset in found:
            raise InputError("assets", f"{asset} stands there twice: {found[asset]!a} and {word!a} are the same")
        found[asset] = word
    return tuple(found)


_MISSING = {
    "target": "say where to: https://... or udp://host:port",
    "assets": "say which: a list of names",
}
