"""Segments: written, bounded, cut where torn, refused where damaged."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feeds.audit.entries import VERSION, Entry, Frame, Header
from feeds.audit.segments import (
    STREAMS_MAX,
    RecordingError,
    SegmentWriter,
    header_of,
    list_segments,
    make_room,
    read_chunks,
    read_segment,
    segment_bytes,
)
from tests.feeds.consensus.cases import catalog_of

BOUND = 1 << 40


def header(stream: str = "kraken", wall_ns: int = 1_000, version: int = VERSION) -> Header:
    return Header(version, stream, "boot", 1, 0, 5, wall_ns, True, catalog_of())


def write(folder: Path, chunks: int = 3) -> Path:
    writer = SegmentWriter(folder, header(), BOUND)
    for number in range(chunks):
        writer.write([Frame(1, number, number, b"x" * 100)], number, number)
    writer.close()
    return writer.path


def entries_of(path: Path) -> list[Entry]:
    return [entry for _, entries in read_segment(path) for entry in entries]


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    """Header first, then every chunk; the heads alone tell when each was written."""
    path = write(tmp_path)

    assert entries_of(path) == [header(), *(Frame(1, number, number, b"x" * 100) for number in range(3))]
    assert [chunk.at_ns for chunk in read_chunks(path)] == [5, 0, 1, 2]
    assert header_of(path) == header()
    assert [info.stream for info in list_segments(tmp_path)] == ["kraken"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_anywhere_gives_its_whole_chunks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever a killed writer left: the chunks before the cut, never an error, never a part of one."""
    path = write(tmp_path_factory.mktemp("cut"))
    whole, content = entries_of(path), path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(min_value=0, max_value=len(content) - 1))])

    assert entries_of(path) == whole[: len(entries_of(path))]
    assert len(entries_of(path)) < len(whole)
    assert header_of(path) in (None, header())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_never_read_as_data(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Damage is an error or, at the end, a cut; what is given is what was written."""
    path = write(tmp_path_factory.mktemp("damage"))
    whole, content = entries_of(path), bytearray(path.read_bytes())
    content[data.draw(st.integers(min_value=0, max_value=len(content) - 1))] ^= data.draw(
        st.integers(min_value=1, max_value=255)
    )
    path.write_bytes(content)
    read: list[Entry] = []
    with contextlib.suppress(RecordingError):
        for _, entries in read_segment(path):
            read += entries
    assert read == whole[: len(read)]
    assert read != whole


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    """A segment of another version is not guessed at."""
    writer = SegmentWriter(tmp_path, header(version=VERSION + 1), BOUND)
    writer.close()
    with pytest.raises(RecordingError, match=f"version {VERSION}"):
        header_of(writer.path)


def test_the_oldest_segments_are_dropped_but_no_streams_newest(tmp_path: Path) -> None:
    """The bound holds for all streams together, with room for one more segment of each."""
    for number in range(6):
        for stream in ("kraken", "okx"):
            path = SegmentWriter(tmp_path, header(stream, 10 + number), BOUND)
            path.close()
            with path.path.open("ab") as file:
                file.truncate(1000)
    quiet = SegmentWriter(tmp_path, header("gemini", 1), BOUND)
    quiet.close()

    bytes_max = 8000
    dropped = make_room(tmp_path, bytes_max)
    left = list_segments(tmp_path)
    assert quiet.path in [info.path for info in left], "the newest of a quiet stream may still be open"
    assert sum(info.size for info in left) + STREAMS_MAX * segment_bytes(bytes_max) <= bytes_max
    assert max(info.start_ns for info in dropped) <= min(info.start_ns for info in left if info.stream != "gemini")
    assert make_room(tmp_path, bytes_max) == []


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    """Only names of our own are segments."""
    for name in ("notes.txt", "kraken-x.seg", "evil.seg", "kraken-1.seg.bak"):
        (tmp_path / name).touch()
    assert list_segments(tmp_path) == []
    assert list_segments(tmp_path / "absent") == []


def test_a_header_is_read_without_the_rest(tmp_path: Path) -> None:
    """Damage behind it is found by who reads so far; a header that was not wholly written is none."""
    path = write(tmp_path)
    content = path.read_bytes()
    _, first, *_ = read_chunks(path)
    path.write_bytes(content[: first.position] + b"XXXX" + content[first.position + 4 :])
    assert header_of(path) == header()
    path.write_bytes(content[: first.position - 1])
    assert header_of(path) is None
    path.write_bytes(content[: first.position - 1] + b"X")
    assert header_of(path) is None
