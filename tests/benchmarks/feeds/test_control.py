"""The control file is shared memory between processes that write their own words."""

from pathlib import Path

from benchmarks.feeds.control import SENT, TAKEN, WANTED, open_control


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    """Made all zero, opened with what stands in it, and the three words are apart."""
    ours = open_control(tmp_path / "words", "w+")
    theirs = open_control(tmp_path / "words", "r+")
    assert ours.tolist() == [0, 0, 0]
    ours[WANTED], theirs[SENT], theirs[TAKEN] = 5_000, 7, 8
    assert theirs[WANTED] == 5_000
    assert (int(ours[SENT]), int(ours[TAKEN])) == (7, 8)
