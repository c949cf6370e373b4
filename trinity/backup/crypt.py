"""How an object's bytes stand in a target: its own name, then gzip, all of it in age (age-encryption.org/v1).

    age( "trinity-backup/1 <name>\n" + gzip(content) )

Rules: streams, in constant memory. age finds every changed, missing and added byte; the name inside finds an object
that was put in the place of another. What was read before an error is not to be believed: whoever reads writes it
where nobody looks until the end was good. `age -d -i identity FILE | tail -n +2 | gunzip` opens one without Trinity.
Who backs up has recipients (age1...) alone; identities (AGE-SECRET-KEY-1...) are read for a restore only, never logged.
Whoever knows the recipients can make objects that open: keep them from who can write into the target.
"""

import contextlib
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyrage

from trinity.errors import BackupDamagedError, ConfigError

_FORMAT = b"trinity-backup/1 "
_NAME_BYTES_MAX = 512
# Level 1 is a third of the time of 6, and rows of the ledger become a seventh larger.
_LEVEL = 1
_GZIP = 31  # zlib's word for gzip's own head and sum
_CHUNK = 256 * 1024


class ByteSource(Protocol):
    """What can be read to its end."""

    def read(self, size: int, /) -> bytes: ...


class ByteSink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object: ...


def read_recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Of the configuration; ConfigError names the one that is none."""
    found = []
    for text in texts:
        try:
            found.append(pyrage.x25519.Recipient.from_str(text))
        except pyrage.RecipientError as error:
            raise ConfigError(
                "BACKUP_RECIPIENTS", f"{text[:12]!r}...: {error}: age-keygen makes one (age1...)"
            ) from None
    return found


def read_identities(path: Path) -> list[pyrage.x25519.Identity]:
    """Of a file as age-keygen writes it; ConfigError, which shows nothing of it."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        reason = getattr(error, "strerror", None) or "it holds no identity of age (AGE-SECRET-KEY-1...)"
        raise ConfigError("identity", f"{path}: {reason}") from None
    if not found:
        raise ConfigError("identity", f"{path}: it holds no identity of age (AGE-SECRET-KEY-1...)")
    return found


def seal(name: str, source: ByteSource, sink: ByteSink, recipients: Sequence[pyrage.x25519.Recipient]) -> None:
    """Bring a content to its end into `sink`; raises whatever `source` and `sink` raise."""
    reader, writer = _Packing(name, source), _Writing(sink)
    try:
        pyrage.encrypt_io(reader, writer, list(recipients))
    except Exception:  # noqa: BLE001 - pyrage lets the errors of both ends through as its own
        raise (reader.failure or writer.failure or BackupDamagedError(name, "it could not be encrypted")) from None
    if (
        writer.failure is not None
    ):  # pyrage 1.4.0 says nothing of a last write that failed (findings/pyrage-last-write.sh)
        raise writer.failure


@contextlib.contextmanager
def opened(name: str, source: ByteSource, identities: Sequence[pyrage.x25519.Identity]) -> Iterator[BinaryIO]:
    """The content as a file to read from; at the block's end all of it was read and good, or BackupDamagedError.

    A thread of its own decrypts; who leaves early ends it.
    """
    ends = os.pipe()
    opening = _Opening(name, source, identities, ends[1])
    thread = threading.Thread(target=opening.run, name="open backup", daemon=True)
    with os.fdopen(ends[0], "rb", _CHUNK) as content:
        thread.start()
        try:
            yield content
        except Exception:
            content.close()
            thread.join()
            if opening.failure is not None and not isinstance(opening.failure, BrokenPipeError):
                raise opening.failure from None  # what is read behind a broken object fails for this cause
            raise
        while content.read(_CHUNK):
            pass  # the sum of the whole stands at its end
        thread.join()
    if opening.failure is not None:
        raise opening.failure


def open_bytes(name: str, source: ByteSource, identities: Sequence[pyrage.x25519.Identity]) -> bytes:
    """All of a short content."""
    with opened(name, source, identities) as content:
        return content.read()


class _Packing:
    """The head, then the content compressed, for who encrypts."""

    def __init__(self, name: str, source: ByteSource) -> None:
        self._source = source
        self._packer: zlib._Compress | None = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._ready = bytearray(_FORMAT + name.encode() + b"\n")
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while self._packer is not None and len(self._ready) < max(size, 1):
                chunk = self._source.read(_CHUNK)
                if chunk:
                    self._ready += self._packer.compress(chunk)
                else:
                    self._ready += self._packer.flush()
                    self._packer = None
        except Exception as error:
            self.failure = error
            raise
        part = bytes(self._ready[:size])
        del self._ready[:size]
        return part


class _Writing:
    """Keeps what the sink raises."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self.failure: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._sink.write(data)
        except Exception as error:
            self.failure = error
            raise
        return len(data)

    def flush(self) -> None:
        """The sink's owner does."""


class _Opening:
    """Decrypts, checks the name, decompresses into a pipe."""

    def __init__(
        self, name: str, source: ByteSource, identities: Sequence[pyrage.x25519.Identity], descriptor: int
    ) -> None:
        self._name, self._identities, self._descriptor = name, list(identities), descriptor
        self._reader = _Reading(source)
        self._head: bytearray | None = bytearray()
        self._unpacker = zlib.decompressobj(_GZIP)
        self._own_failure: Exception | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        with os.fdopen(self._descriptor, "wb", 0) as self._out:
            try:
                pyrage.decrypt_io(self._reader, self, self._identities)
                self._expect(self._head is None and self._unpacker.eof, "it ends too early")
            except pyrage.DecryptError as error:
                known = self._reader.failure or self._own_failure
                reason = (
                    "it is for another identity"
                    if "matching keys" in str(error)
                    else f"it is no sealed object: {error}"
                )
                self.failure = known or BackupDamagedError(self._name, reason)
            except Exception as error:  # noqa: BLE001 - the border of the thread: the reader raises it
                known = self._reader.failure or self._own_failure
                broken = BackupDamagedError(self._name, "bytes were changed, or its end is missing")
                self.failure = known or (error if isinstance(error, BackupDamagedError) else broken)

    def write(self, data: bytes) -> int:
        try:
            self._take(bytes(data))
        except Exception as error:
            self._own_failure = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def _take(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, found, rest = bytes(self._head).partition(b"\n")
            if not found:
                self._expect(len(head) < _NAME_BYTES_MAX, "it is none of ours")
                return
            self._expect(head == _FORMAT + self._name.encode(), "it was put in another one's place")
            self._head, data = None, rest
        self._expect(not (self._unpacker.eof and data), "bytes stand behind its end")
        try:
            content: bytes | memoryview = memoryview(self._unpacker.decompress(data))
        except zlib.error:
            raise BackupDamagedError(self._name, "its content is not gzip") from None
        self._expect(not self._unpacker.unused_data, "bytes stand behind its end")
        while content:
            content = content[os.write(self._out.fileno(), content) :]

    def _expect(self, holds: bool, reason: str) -> None:
        if not holds:
            raise BackupDamagedError(self._name, reason)


class _Reading:
    """Keeps what the source raises."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._source.read(size)
        except Exception as error:
            self.failure = error
            raise
