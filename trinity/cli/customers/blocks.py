"""`trinity block | unblock | blocks`: addresses and networks that no node answers.

Loopback, this machine's own addresses and trusted proxies are never blocked, nor is a network that holds one of them.
"""

import argparse

from trinity.access import blocks, values
from trinity.access.keys import Connection
from trinity.access.networks import parse_network, protected_networks
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_action, given, perform
from trinity.cli.text import table, when
from trinity.config import AccessSection, Config
from trinity.errors import AbsentError
from trinity.limits import BLOCKS_MAX, IPV6_PREFIX_BITS_MAX


def _block(parsed: Parsed, section: AccessSection) -> Work:
    network = parse_network(parsed.address)
    reason = values.name("--reason", parsed.reason) if parsed.reason else ""
    duration = given(values.lifetime, "--for", parsed.duration)
    protected = protected_networks(section.trusted_proxies)

    def work(connection: Connection) -> ActionOutcome:
        made = blocks.block(connection, network, reason, duration, protected, BLOCKS_MAX)
        until = f"until {when(made.expires_at)}" if made.expires_at else "until it is unblocked"
        lines = [f"{made.network} is blocked {until}"]
        if network.version == 6 and network.prefixlen == IPV6_PREFIX_BITS_MAX:
            lines.append("(of IPv6 nothing narrower than a /64 is blocked: one customer has that many addresses)")
        return ActionOutcome({"block": made}, lines)

    return work


def _unblock(parsed: Parsed, _section: AccessSection) -> Work:
    network = parse_network(parsed.address)

    def work(connection: Connection) -> ActionOutcome:
        removed, covering = blocks.unblock(connection, network)
        if not removed:
            wider = (
                f"{' and '.join(covering)} holds it: unblock that" if covering else "`trinity blocks` lists them all"
            )
            raise AbsentError("block of", str(network), wider)
        lines = [f"{network} is unblocked"]
        lines += [f"but {wider}, which holds it, is still blocked" for wider in covering]
        return ActionOutcome({"network": str(network), "unblocked": True, "still_blocked_by": covering}, lines)

    return work


def _list_blocks(_parsed: Parsed, _section: AccessSection) -> Work:
    def work(connection: Connection) -> ActionOutcome:
        found = blocks.list_blocks(connection)
        rows = [(b.network, when(b.created_at), when(b.expires_at), b.reason) for b in found]
        lines = table(("network", "since", "until", "reason"), rows) if found else ["nothing is blocked"]
        return ActionOutcome({"blocks": found}, lines)

    return work


_ADDRESS = Argument("address", "an IPv4 or IPv6 address or network")

ACTIONS = (
    Action(
        "block",
        "refuse an address or a network on all nodes",
        (_ADDRESS, Argument("--reason", "why"), Argument("--for", "how long: 1h, 7d; left out: until it is unblocked")),
        _block,
    ),
    Action("unblock", "answer an address or a network again", (_ADDRESS,), _unblock),
    Action("blocks", "list what is blocked", (), _list_blocks),
)


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """The address, or nothing for the list."""
    add_action(parser, next(action for action in ACTIONS if action.word == command))


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    return perform(config, parsed)
