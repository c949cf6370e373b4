"""trinity/backup/crypt.py"""

import gzip
import io
import shutil
import subprocess
from pathlib import Path
from random import Random

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.backup.crypt import open_bytes, opened, read_identities, read_recipients, seal
from trinity.errors import BackupDamagedError, BackupTargetError, ConfigError

IDENTITY = pyrage.x25519.Identity.generate()
CONTENT = bytes(range(256)) * 4096


def _sealed(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    seal(name, io.BytesIO(content), out, [IDENTITY.to_public()])
    return out.getvalue()


@given(st.binary(max_size=200_000))
def test_what_is_sealed_is_opened_as_it_was(content: bytes) -> None:
    """Whatever it is, also nothing."""
    assert open_bytes("a/b", io.BytesIO(_sealed("a/b", content)), [IDENTITY]) == content


SEALED = _sealed("a/b", CONTENT)


@given(st.data())
def test_a_changed_or_missing_byte_anywhere_is_found(data: st.DataObject) -> None:
    """Nothing of it is given as good: the end of the block raises."""
    sealed = bytearray(SEALED)
    place = data.draw(st.integers(0, 8_000))
    if data.draw(st.booleans()):
        sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del sealed[place:]
    with pytest.raises(BackupDamagedError):
        open_bytes("a/b", io.BytesIO(bytes(sealed)), [IDENTITY])


def test_an_object_in_the_place_of_another_is_found() -> None:
    """A good object under another name is not believed."""
    with pytest.raises(BackupDamagedError, match="another one's place"):
        open_bytes("a/c", io.BytesIO(_sealed("a/b", CONTENT)), [IDENTITY])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"trinity-backup/1 a/b\n" + gzip.compress(b"x", mtime=0) + b"more", "behind its end"),
        (b"trinity-backup/1 a/b\n" + gzip.compress(b"x" * 100, mtime=0)[:-9], "too early"),
        (b"trinity-backup/1 a/b\nno gzip", "not gzip"),
        (b"x" * 4096, "none of ours"),
        (b"trinity-backup/1 a/b", "too early"),
        (b"", "too early"),
    ],
    ids=["more", "cut", "no gzip", "foreign", "no head", "empty"],
)
def test_forged_content_is_refused(content: bytes, reason: str) -> None:
    """It opens, for whoever knows a recipient can make it; what is inside is looked at as well."""
    with pytest.raises(BackupDamagedError, match=reason):
        open_bytes("a/b", io.BytesIO(pyrage.encrypt(content, [IDENTITY.to_public()])), [IDENTITY])


def test_another_identity_opens_nothing_and_is_told_so() -> None:
    """That is no damage that another base would be without."""
    with pytest.raises(BackupDamagedError, match="another identity"):
        open_bytes("a/b", io.BytesIO(_sealed("a/b", CONTENT)), [pyrage.x25519.Identity.generate()])


def test_what_a_source_or_a_sink_raises_is_raised() -> None:
    """The error of the disk or the target, and no general one of the cipher."""

    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise BackupTargetError("there", "it is away")

        def write(self, _data: object) -> int:
            raise BackupTargetError("there", "it is full")

    with pytest.raises(BackupTargetError, match="away"):
        seal("a/b", Broken(), io.BytesIO(), [IDENTITY.to_public()])
    with pytest.raises(BackupTargetError, match="full"):
        seal("a/b", io.BytesIO(CONTENT), Broken(), [IDENTITY.to_public()])
    with pytest.raises(BackupTargetError, match="away"):
        open_bytes("a/b", Broken(), [IDENTITY])


@given(st.integers(0, 300_000), st.integers(0, 10))
def test_a_sink_that_refuses_any_write_is_never_a_sealed_object(size: int, taken: int) -> None:
    """Also the last one, of a content shorter than what the library gathers: a full disk is no success."""
    writes = 0

    class Sink:
        def write(self, _data: bytes) -> None:
            nonlocal writes
            writes += 1
            if writes > taken:
                raise BackupTargetError("place", "no room")

    content = Random(size).randbytes(size)
    try:
        seal("name", io.BytesIO(content), Sink(), [IDENTITY.to_public()])
    except BackupTargetError:
        assert writes > taken
    else:
        assert writes <= taken


def test_a_reader_that_gives_up_ends_the_opening() -> None:
    """Its own error comes out, and the thread ends."""

    def give_up() -> None:
        with opened("a/b", io.BytesIO(_sealed("a/b", CONTENT * 4)), [IDENTITY]) as content:
            content.read(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")
def test_age_and_gunzip_open_it_without_us(tmp_path: Path) -> None:
    """As the documentation says, for the day on which nothing of ours is left."""
    (tmp_path / "identity").write_text(f"# a comment\n{IDENTITY}\n")
    (tmp_path / "object.age").write_bytes(_sealed("a/b", CONTENT))
    command = "age -d -i identity object.age | tail -n +2 | gunzip"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert done.stdout == CONTENT


def test_recipients_and_identities_are_checked_and_not_shown(tmp_path: Path) -> None:
    """The error names the setting or the file; no part of an identity."""
    assert len(read_recipients([str(IDENTITY.to_public())])) == 1
    with pytest.raises(ConfigError, match="BACKUP_RECIPIENTS"):
        read_recipients(["age1nonsense"])
    path = tmp_path / "identity"
    path.write_text(f"# made today\n{IDENTITY}\n")
    assert len(read_identities(path)) == 1
    for text in ("", str(IDENTITY)[:-4], "# nothing"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="identity") as caught:
            read_identities(path)
        assert "AGE-SECRET-KEY-1Q" not in str(caught.value)
        assert str(IDENTITY)[20:30] not in str(caught.value)
