"""A past moment explained: as the running node would have explained it then."""

from pathlib import Path

import pytest

from feeds.account import Account
from feeds.explain import explain_moment, explain_now
from tests.feeds.recording.small_node import SmallNode, small_node
from trinity.clock import NS_PER_SECOND
from trinity.errors import AbsentError


def now(node: SmallNode) -> Account:
    seat, clock = node.seat, node.clock
    return explain_now(seat.prices, seat.answers, seat.catalog, 1, clock.monotonic_ns(), clock.wall_ns())


def test_a_recorded_moment_is_explained_as_it_was_then(tmp_path: Path) -> None:
    """Every source, every step and the result, at moments all over a recording."""
    then: list[tuple[int, Account]] = []
    with small_node(tmp_path) as node:
        node.switch(True)
        for seed in range(30):
            node.trade_a_while(5, seed)
            node.turn(0.0)
            then.append((node.clock.wall_ns(), now(node)))
            node.turn(0.1)
        node.close()

    good = 0
    for wall_ns, account in then:
        again = explain_moment(tmp_path, "SOL", wall_ns)
        assert again.sources == account.sources
        assert (again.state, again.price, again.used, again.left_out) == (
            account.state,
            account.price,
            account.used,
            account.left_out,
        )
        assert again.served_as == account.served_as
        good += account.price is not None
    assert good > 10


def test_a_moment_outside_of_the_recording_is_absent(tmp_path: Path) -> None:
    """Before it, long after it, while it was off, and an asset that it does not have: said, not guessed."""
    with small_node(tmp_path) as node:
        before_ns = node.clock.wall_ns() - NS_PER_SECOND
        node.switch(True)
        node.trade_a_while(20)
        node.switch(False)
        node.clock.advance(60)
        off_ns = node.clock.wall_ns()
        node.switch(True)
        node.trade_a_while(20)
        within_ns = node.clock.wall_ns()
        node.turn()
        node.close()

    for wall_ns in (before_ns, off_ns - 10 * NS_PER_SECOND, within_ns + 3600 * NS_PER_SECOND):
        with pytest.raises(AbsentError, match="recording of SOL"):
            explain_moment(tmp_path, "SOL", wall_ns)
    with pytest.raises(AbsentError, match="it has BTC SOL USDT USDC"):
        explain_moment(tmp_path, "DOGE", within_ns)
    with pytest.raises(AbsentError):
        explain_moment(tmp_path / "nowhere", "SOL", within_ns)
    assert explain_moment(tmp_path, "SOL", within_ns).asset == "SOL"
