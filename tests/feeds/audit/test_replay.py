"""A recording replayed: equal bit for bit, and the first difference named when anything was changed."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feeds.audit.entries import Checkpoint, Entry, Result, Turn
from feeds.audit.replay import replay
from feeds.audit.segments import FOLDER, RecordingError, list_segments, read_segment
from tests.feeds.audit.small_node import frames_of, rewrite, small_node


def record(data_dir: Path, seed: int = 1, turns: int = 60) -> None:
    with small_node(data_dir) as node:
        node.switch(True)
        node.trade_a_while(turns, seed)
        node.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(min_value=0, max_value=10**6))
def test_a_replay_is_equal_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Any seed: outliers, hold-outs, frozen rows, REST and quiet turns come out again with every byte."""
    data_dir = tmp_path_factory.mktemp("replay")
    record(data_dir, seed, 80)
    outcome = replay(data_dir)

    assert outcome.difference is None
    assert outcome.turns == 80
    assert outcome.decisions > 50
    assert outcome.quotes > 50
    assert outcome.quotes_unrecorded == 0
    assert outcome.checkpoints > 3, "each is compared, not only loaded"
    assert outcome.frames >= outcome.quotes


def test_a_changed_frame_is_found(tmp_path: Path) -> None:
    """One digit of one frame: the replay names the asset, the exchange and what each says."""
    record(tmp_path)
    victim = frames_of(tmp_path, "coinbase")[10]

    def change(entry: Entry) -> Entry:
        if entry == victim:
            return msgspec.structs.replace(victim, frame=victim.frame.replace(b'"20', b'"21').replace(b'"19', b'"18'))
        return entry

    rewrite(tmp_path, "coinbase", change)
    difference = replay(tmp_path).difference
    assert difference is not None
    assert difference.what == "the frame says something else"
    assert (difference.asset, difference.exchange) == ("SOL", "coinbase")
    assert difference.wall_ns >= victim.wall_ns


def test_a_missing_frame_is_found(tmp_path: Path) -> None:
    """A frame that was taken out of the middle is missed, because the frames around it are there."""
    record(tmp_path)
    victim = frames_of(tmp_path, "coinbase")[10]
    rewrite(tmp_path, "coinbase", lambda entry: None if entry == victim else entry)

    difference = replay(tmp_path).difference
    assert difference is not None
    assert difference.what == "no frame has this quote"


def test_a_changed_result_is_found(tmp_path: Path) -> None:
    """A published price that the rules do not give."""
    record(tmp_path)

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Turn) and entry.results and entry.results[0].price is not None:
            wrong = msgspec.structs.replace(entry.results[0], price=entry.results[0].price * 2)
            return msgspec.structs.replace(entry, results=(wrong, *entry.results[1:]))
        return entry

    rewrite(tmp_path, "consensus", change)
    difference = replay(tmp_path).difference
    assert difference is not None
    assert difference.what == "decision"
    assert isinstance(difference.recorded, Result)
    assert difference.recorded.price == 2 * difference.replayed.price


def test_a_changed_checkpoint_is_found(tmp_path: Path) -> None:
    """A state that the turns before it do not lead to."""
    record(tmp_path)
    seen: list[Checkpoint] = []

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Checkpoint):
            seen.append(entry)
            if len(seen) == 2:
                return msgspec.structs.replace(entry, indexes={"USDT": Decimal(2)})
        return entry

    rewrite(tmp_path, "consensus", change)
    difference = replay(tmp_path).difference
    assert difference is not None
    assert difference.what == "checkpoint"


def test_what_was_not_recorded_is_counted_and_replayed_all_the_same(tmp_path: Path) -> None:
    """A feed that was killed takes its last frames with it; the consensus's own stream has the quotes."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.trade_a_while(60)
        node.send("kraken", "201.5")
        node.process.turn()
        node.process.close()
    outcome = replay(tmp_path)

    assert outcome.difference is None
    assert 0 < outcome.quotes_unrecorded < outcome.quotes / 2


def test_a_recording_over_restarts_and_switches_is_replayed(tmp_path: Path) -> None:
    """Recording that begins in the middle of a connection, ends, begins again; a consensus process that is killed."""
    with small_node(tmp_path) as node:
        node.trade_a_while(20, seed=3)
        node.switch(True)
        node.trade_a_while(30, seed=4)
        node.switch(False)
        node.trade_a_while(10, seed=5)
        node.switch(True)
        node.trade_a_while(30, seed=6)
        node.restart_consensus()
        node.trade_a_while(30, seed=7)
        node.close()
    outcome = replay(tmp_path)

    assert outcome.difference is None
    assert outcome.turns > 80
    assert outcome.quotes_unrecorded < 10, "a half of a Gemini quote from before the switch, until the next one came"


def test_a_range_and_an_asset_are_replayed_alone(tmp_path: Path) -> None:
    """From the last checkpoint before the range to its end; other assets are not even computed."""
    with small_node(tmp_path) as node:
        node.switch(True)
        began_ns = node.clock.wall_ns()
        node.trade_a_while(80)
        middle_ns = (began_ns + node.clock.wall_ns()) // 2
        node.close()
    whole = replay(tmp_path)
    late = replay(tmp_path, from_ns=middle_ns)
    early = replay(tmp_path, to_ns=middle_ns)
    alone = replay(tmp_path, asset="SOL")

    assert late.difference is early.difference is alone.difference is None
    assert late.from_ns is not None
    assert middle_ns - 20 * 10**9 < late.from_ns <= middle_ns
    assert early.to_ns is not None
    assert early.to_ns <= middle_ns
    assert 0 < late.turns < whole.turns
    assert 0 < alone.decisions <= whole.decisions
    assert replay(tmp_path / "nothing").turns == 0


def test_damage_is_no_difference_but_an_error(tmp_path: Path) -> None:
    """A flipped byte in the middle of a segment is told as what it is, with file and position."""
    record(tmp_path)
    info = next(info for info in list_segments(tmp_path / FOLDER) if info.stream == "kraken")
    content = bytearray(info.path.read_bytes())
    content[len(content) // 2] ^= 1
    info.path.write_bytes(content)

    with pytest.raises(RecordingError, match="kraken"):
        replay(tmp_path)


def test_a_torn_end_is_cut(tmp_path: Path) -> None:
    """Half a chunk at the end of any stream costs what was in it, nothing else."""
    record(tmp_path)
    before = replay(tmp_path)
    for info in list_segments(tmp_path / FOLDER):
        info.path.write_bytes(info.path.read_bytes()[:-7])
    outcome = replay(tmp_path)

    assert outcome.difference is None
    assert 0 < outcome.turns < before.turns


def test_the_recordings_of_these_tests_have_prices(tmp_path: Path) -> None:
    """Most decisions of the small node are good, so that what is compared is mostly prices."""
    record(tmp_path, turns=200)
    results = [
        result
        for info in list_segments(tmp_path / FOLDER)
        if info.stream == "consensus"
        for _, entries in read_segment(info.path)
        for entry in entries
        if isinstance(entry, Turn)
        for result in entry.results
    ]
    good = [result for result in results if result.price is not None]
    assert len(good) > len(results) / 2
    assert any("outlier" in result.rejected.values() for result in results)
    assert any("frozen" in result.rejected.values() for result in results)
