"""trinity/backup/layout.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.backup import layout
from trinity.backup.layout import BundleName, WalPiece

_SEGMENTS = st.sampled_from([1 << 20, 1 << 24, 1 << 30])


@given(timeline=st.integers(1, 2**32 - 1), number=st.integers(0, 2**30), size=_SEGMENTS)
def test_a_segment_is_called_as_postgresql_calls_it(timeline: int, number: int, size: int) -> None:
    """Name and number lead to each other, whatever a segment's size is."""
    name = layout.segment_name(timeline, number, size)
    assert (len(name), int(name[:8], 16)) == (24, timeline)
    assert layout.segment_number(name, size) == number


def test_the_names_of_postgresql_are_ours() -> None:
    """Of the manual: position 16/B374D848 on timeline 1 is in 0000000100000016000000B3."""
    lsn = layout.parse_lsn("16/B374D848")
    assert layout.lsn_text(lsn) == "16/B374D848"
    assert layout.segment_name(1, lsn // 2**24, 2**24) == "0000000100000016000000B3"


@given(first=st.integers(0, 2**24), end=st.integers(0, 2**24), moment=st.integers(0, 2**33))
def test_a_piece_is_read_from_its_own_name(first: int, end: int, moment: int) -> None:
    """Empty ones and those that end before they begin are none."""
    piece = WalPiece("77", "0000000100000016000000B3", first, end, moment)
    assert layout.read_wal_name(piece.name) == (piece if first < end else None)


@given(moment=st.integers(0, 2**33), lsn=st.integers(0, 2**64 - 1))
def test_a_bundle_is_read_from_its_own_name(moment: int, lsn: int) -> None:
    """With its node, moment and position."""
    bundle = BundleName("77", "c7a1b2f0-0000-4000-8000-000000000001", moment, lsn)
    assert layout.read_bundle_name(bundle.name) == bundle


@given(st.text(max_size=80))
def test_a_foreign_name_is_nothing_of_ours(name: str) -> None:
    """Whatever lies in a target beside is passed over."""
    readers = (layout.read_wal_name, layout.read_bundle_name, layout.read_base_name, layout.read_history_name)
    assert [reader(name) for reader in readers] == [None] * 4


@pytest.mark.parametrize("file", ["data.age", "base.json"])
def test_objects_of_a_base_are_read_from_their_names(file: str) -> None:
    """System, label and file."""
    label = layout.base_label(0, "full")
    assert label == "19700101T000000Z-full"
    assert layout.read_base_name(f"{layout.base_place('7', label)}/{file}") == ("7", label, file)
    assert layout.read_history_name(layout.history_name("7", 2)) == ("7", 2)
    assert layout.read_system("7/x") == "7"
