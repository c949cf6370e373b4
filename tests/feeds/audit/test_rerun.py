"""The state that is made again: loaded from a checkpoint, and written as the same one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from feeds.audit.entries import Checkpoint, Header, Turn
from feeds.audit.recorder import result_of
from feeds.audit.rerun import Rerun, outcome_of
from feeds.audit.segments import FOLDER, list_segments, read_segment
from tests.feeds.audit.small_node import SmallNode, small_node
from tests.feeds.consensus.cases import EXCHANGES, write_quote

BTC, COIN_LEGS = "71000", ("coinbase", "kraken", "cryptocom")


def recorded(
    data_dir: Path, trade: Callable[[SmallNode], None] = lambda node: node.trade_a_while(60)
) -> tuple[Header, list[Checkpoint | Turn]]:
    with small_node(data_dir) as node:
        node.switch(True)
        trade(node)
        node.close()
    (info,) = (info for info in list_segments(data_dir / FOLDER) if info.stream == "consensus")
    header, *entries = (entry for _, chunk in read_segment(info.path) for entry in chunk)
    assert isinstance(header, Header)
    return header, [entry for entry in entries if isinstance(entry, Checkpoint | Turn)]


def test_a_checkpoint_loads_and_writes_itself(tmp_path: Path) -> None:
    """Every checkpoint of a recording comes out as it went in."""
    header, entries = recorded(tmp_path)
    checkpoints = [entry for entry in entries if isinstance(entry, Checkpoint)]
    assert len(checkpoints) > 3
    for checkpoint in checkpoints:
        assert Rerun(header, checkpoint).checkpoint(checkpoint.at_ns, checkpoint.wall_ns) == checkpoint


def trade_with_liars(node: SmallNode) -> None:
    """BTC on six exchanges; Kraken lies for a while in the coins, so that an index is held and then refused."""
    for turn in range(80):
        scale = "0.95" if 20 <= turn < 60 else "1"
        for exchange in EXCHANGES:
            write_quote(node.context, exchange, "BTC", BTC)
        for exchange in COIN_LEGS:
            write_quote(node.context, exchange, "USDT", scale if exchange == "kraken" else "1")
        write_quote(node.context, "kraken", "USDC", scale)
        node.turn(0.6)


@pytest.mark.parametrize("trade", [lambda node: node.trade_a_while(60), trade_with_liars])
def test_turns_lead_from_one_checkpoint_to_the_next(tmp_path: Path, trade: Callable[[SmallNode], None]) -> None:
    """Reviews in the recorded order give what the process had: hold-outs, last prices and held indexes included."""
    header, entries = recorded(tmp_path, trade)
    first = entries[0]
    assert isinstance(first, Checkpoint)
    rerun, compared = Rerun(header, first), 0
    for entry in entries[1:]:
        if isinstance(entry, Checkpoint):
            assert rerun.checkpoint(entry.at_ns, entry.wall_ns) == entry
            compared += 1
            continue
        for row in entry.read:
            rerun.set_row(row, row.quote)
        results = {result.asset: result for result in entry.results}
        for asset in entry.reviewed:
            decision, answer, is_new = rerun.review(asset, entry.at_ns)
            if is_new:
                assert result_of(asset, outcome_of(decision), answer) == results[asset]
        if entry.is_measured:
            rerun.measure_coins(entry.at_ns)
    assert compared > 3


def test_an_index_is_held_and_refused_in_the_recording(tmp_path: Path) -> None:
    """The history with liars has all three: measured, held until it was too old, and refused."""
    _, entries = recorded(tmp_path, trade_with_liars)
    checkpoints = [entry for entry in entries if isinstance(entry, Checkpoint)]
    held = [(entry.at_ns - entry.held["USDT"].measured_at_ns) > 0 for entry in checkpoints[1:]]

    assert {"USDT" in entry.indexes for entry in checkpoints[1:]} == {True, False}
    assert held.count(True) > 1
