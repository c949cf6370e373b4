"""workers/api/accounts/ended.py"""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from workers.api.accounts import ended as module
from workers.api.accounts.ended import BYTES_MAX, FILE_NAME, EndedSessions


def test_what_one_process_ended_is_ended_for_all(tmp_path: Path) -> None:
    """Also for one that had looked before, and for one that is started afterwards."""
    first, second = EndedSessions(tmp_path / FILE_NAME), EndedSessions(tmp_path / FILE_NAME)
    assert not second.is_ended("a")
    first.end("a", 100, 0)
    first.end("b", 100, 0)
    for each in (first, second, EndedSessions(tmp_path / FILE_NAME)):
        assert (each.is_ended("a"), each.is_ended("b"), each.is_ended("c")) == (True, True, False)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert b"a" not in (tmp_path / FILE_NAME).read_bytes().split(b"\0")


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """What is over by itself goes; what is not is kept, the newest first, and everybody sees the new file."""
    made, other = EndedSessions(tmp_path / FILE_NAME), EndedSessions(tmp_path / FILE_NAME)
    made.end("kept", 10**6, 0)
    for number in range(BYTES_MAX // 24 + 2):
        made.end(f"over-{number}", 10, 0)
    assert other.is_ended("over-5")
    made.end("last", 10**6, 11)
    assert (tmp_path / FILE_NAME).stat().st_size == 3 * 24 or (tmp_path / FILE_NAME).stat().st_size < BYTES_MAX
    assert other.is_ended("kept")
    assert other.is_ended("last")
    assert not other.is_ended("over-5")


def test_no_more_than_so_many_are_kept(tmp_path: Path, monkeypatch: object) -> None:
    """Ending sessions in a loop fills no disk."""
    before, module.RECORDS_MAX = module.RECORDS_MAX, 100
    try:
        made = EndedSessions(tmp_path / FILE_NAME)
        for number in range(BYTES_MAX // 24 + 5):
            made.end(str(number), 10**6, 0)
        assert (tmp_path / FILE_NAME).stat().st_size < BYTES_MAX // 2
    finally:
        module.RECORDS_MAX = before


@given(st.binary(max_size=200))
def test_any_bytes_in_the_file_end_nobody_by_chance(tmp_path_factory: object, data: bytes) -> None:
    """A half-written record is none, and the next one stands behind whole ones."""
    path = Path(tmp_path_factory.mktemp("ended")) / FILE_NAME  # type: ignore[attr-defined]
    path.write_bytes(data)
    made = EndedSessions(path)
    assert not made.is_ended("x")
    made.end("x", 10, 0)
    assert EndedSessions(path).is_ended("x")
    assert made.is_ended("x")
