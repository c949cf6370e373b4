"""The state that is made again: loaded from a checkpoint, and written as the same one."""

from pathlib import Path

from feeds.recording.entries import Checkpoint, Header, Turn
from feeds.recording.rerun import Rerun
from feeds.recording.segments import FOLDER, list_segments, read_segment
from tests.feeds.recording.small_node import small_node


def recorded(data_dir: Path) -> tuple[Header, list[Checkpoint | Turn]]:
    with small_node(data_dir) as node:
        node.switch(True)
        node.trade_a_while(60)
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


def test_turns_lead_from_one_checkpoint_to_the_next(tmp_path: Path) -> None:
    """Reviews in the recorded order give what the process had, hold-outs and last prices included."""
    header, entries = recorded(tmp_path)
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
        for asset in entry.reviewed:
            rerun.review(asset, entry.at_ns)
        rerun.end_turn(entry.reviewed, entry.at_ns)
    assert compared > 3
