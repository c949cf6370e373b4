"""trinity/backup/catalog.py"""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.backup.catalog import BackupCatalog, Base, Window, read_catalog
from trinity.backup.layout import BundleName, WalPiece, base_place, segment_name
from trinity.backup.target import DirectoryTarget, write_bytes
from trinity.errors import RestoreError

SIZE = 1 << 20
NODE = "c7a1b2f0-0000-4000-8000-000000000001"


def base(label: str, number: int, ended_at: int, parent: str | None = None, timeline: int = 1) -> Base:
    """One whose log begins in the middle of segment `number`, and ends there."""
    start = number * SIZE + 1000
    return Base(
        label=label, system="7", kind="incremental" if parent else "full", parent=parent, timeline=timeline,
        start_lsn=start, end_lsn=start + 500, ended_at=ended_at, server_version=180004, segment_bytes=SIZE,
        data_bytes=100, stored_bytes=4, embedded=True, database="trinity", role="trinity",
    )  # fmt: skip


def piece(number: int, moment: int, first: int = 0, end: int = SIZE, timeline: int = 1) -> WalPiece:
    return WalPiece("7", segment_name(timeline, number, SIZE), first, end, moment, 10)


def catalog(*parts: Base | WalPiece | BundleName) -> BackupCatalog:
    bases = tuple(part for part in parts if isinstance(part, Base))
    pieces = tuple(part for part in parts if isinstance(part, WalPiece))
    bundles = tuple(part for part in parts if isinstance(part, BundleName))
    return BackupCatalog("7", bases, pieces, (), bundles, ())


def test_moments_reach_from_a_base_to_the_end_of_its_log() -> None:
    """From the second after it ended to the newest that the log says it has."""
    whole = catalog(base("a", 1, 105), piece(1, 110), piece(2, 120), piece(3, 125, end=2000))
    assert whole.window() == Window(105, 125)
    plan = whole.plan(115)
    assert [part.moment for part in plan.pieces] == [110, 120]
    assert len(whole.plan().pieces) == 3
    for moment in (104, 126):
        with pytest.raises(RestoreError, match="1970-01-01T00:01:45Z to 1970-01-01T00:02:05Z"):
            whole.plan(moment)


def test_the_log_counts_up_to_a_gap() -> None:
    """What is behind it is reached by a later base alone."""
    broken = catalog(base("a", 1, 105), piece(1, 110), piece(3, 125), base("b", 4, 135), piece(4, 140))
    assert broken.window_of(broken.bases[0]) == Window(105, 110)
    assert broken.plan(108).base.label == "a"
    assert broken.plan(137).base.label == "b"
    with pytest.raises(RestoreError, match="gap"):
        broken.plan(120)


def test_a_base_without_the_log_that_it_needs_is_none() -> None:
    """It is not consistent before the end of its own log."""
    assert catalog(base("a", 1, 105)).window() is None
    assert catalog(base("a", 1, 105), piece(1, 110, end=1200)).window() is None
    with pytest.raises(RestoreError, match="nothing can be restored"):
        catalog(base("a", 1, 105)).plan()


def test_an_incremental_base_needs_all_that_it_builds_on() -> None:
    """A chain with a hole, or one that bites its tail, is none."""
    parts = (base("b", 2, 115, "a"), base("c", 3, 125, "b"), piece(1, 110), piece(2, 120), piece(3, 130))
    whole = catalog(base("a", 1, 105), *parts)
    assert [part.label for part in whole.plan().chain] == ["a", "b", "c"]
    assert catalog(*parts).window() is None
    assert catalog(base("a", 1, 105, "c"), *parts).window() is None


def test_the_newest_base_before_a_moment_is_taken() -> None:
    """It has the shortest way."""
    whole = catalog(base("a", 1, 105), piece(1, 110), base("b", 2, 115), piece(2, 120), piece(3, 130))
    assert [whole.plan(moment).base.label for moment in (105, 114, 115, 130)] == ["a", "a", "b", "b"]


def test_pieces_of_a_segment_are_joined_in_any_order() -> None:
    """Overlapping ones as well: the longest step forward counts."""
    parts = [piece(1, 108, 0, 1200), piece(1, 109, 1200, 1600), piece(1, 107, 0, 700), piece(1, 110, 1500, SIZE)]
    assert [(part.first, part.end) for part in catalog(base("a", 1, 105), *parts).plan().pieces] == [
        (0, 1200), (1200, 1600), (1500, SIZE),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(1, 7), st.integers(100, 130)), max_size=30))
def test_a_plan_has_no_gap_whatever_is_there(drawn: list[tuple[int, int, int, int]]) -> None:
    """From the base's segment on each byte follows the one before."""
    step = SIZE // 7 + 1
    pieces = [piece(number, moment, min(first * step, SIZE - 1), min(end * step, SIZE))
              for number, first, end, moment in drawn if first < end]  # fmt: skip
    found = catalog(base("a", 1, 100), *pieces)
    if found.window() is None:
        return
    reached = SIZE
    for part in found.plan().pieces:
        at = int(part.segment[16:], 16) * SIZE
        assert at + part.first <= reached < at + part.end
        reached = at + part.end


def test_the_newest_timeline_is_the_live_one() -> None:
    """After a restore the log of the former life is not gone on with."""
    parts = [base("a", 1, 105), piece(1, 200), base("b", 1, 150, timeline=2), piece(1, 160, timeline=2)]
    assert catalog(*parts).window() == Window(150, 160)
    assert catalog(*parts).plan().base.label == "b"
    assert catalog(*parts).plan(190).base.label == "a"


def test_a_bundle_goes_with_a_database_that_has_what_was_loaded() -> None:
    """Not of after the moment; and to the newest, not of behind the end of the log."""
    bundles = [BundleName("7", NODE, moment, lsn) for moment, lsn in ((106, 0), (110, 2 * SIZE), (120, 3 * SIZE + 1))]
    found = catalog(base("a", 1, 105), piece(1, 112), piece(2, 125), *bundles)
    assert found.bundle_of(NODE, found.plan(115)) == bundles[1]
    assert found.bundle_of(NODE, found.plan(105)) is None
    assert found.bundle_of(NODE, found.plan()) == bundles[1]
    assert found.bundle_of(NODE, None) == bundles[2]
    assert found.bundle_of("another", None) is None


def test_half_a_base_is_not_believed(tmp_path: Path) -> None:
    """Without description or data, with another size, under another label, or with a forged description."""
    target = DirectoryTarget(tmp_path)
    good = base("20260101T000000Z-full", 1, 105)

    def put(label: str, data: bytes | None, description: bytes | None) -> None:
        for name, content in (("data.age", data), ("base.json", description)):
            if content is not None:
                write_bytes(target, f"{base_place('7', label)}/{name}", content)

    text = msgspec.json.encode(good)
    put("20260101T000000Z-full", b"1234", text)
    put("20260102T000000Z-full", b"1234", None)
    put("20260103T000000Z-full", None, text)
    put("20260104T000000Z-full", b"12345", text.replace(b"0101", b"0104"))
    put("20260105T000000Z-full", b"1234", text)
    put("20260106T000000Z-full", b"1234", b'{"label": 1}')
    put("20260107T000000Z-full", b"1234", text.replace(b"0101", b"0107").replace(b"1048576", b"0"))
    put("20260108T000000Z-full", b"1234", b"x" * 10_000)
    write_bytes(target, "7/wal/00000001/foreign", b"")
    found = read_catalog(target)
    assert found.bases == (good,)
    assert len(found.unfinished) == 12


def test_a_target_of_several_databases_asks_which(tmp_path: Path) -> None:
    """And of none it says so."""
    target = DirectoryTarget(tmp_path)
    with pytest.raises(RestoreError, match="no database"):
        read_catalog(target)
    write_bytes(target, piece(1, 1).name, b"")
    assert read_catalog(target).pieces != ()
    write_bytes(target, piece(1, 1)._replace(system="8").name, b"")
    with pytest.raises(RestoreError, match="7, 8"):
        read_catalog(target)
    assert read_catalog(target, "8").system == "8"
