"""An S3-compatible store as the place of backups: `s3://bucket/prefix`; its library is an extra (`s3`).

Rules: credentials come from the environment as every S3 program has them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION, or a role of the machine), never from our configuration. A long object goes up in parts and appears when
the last one is there; one that breaks off is given up, so that nothing of it stays. Whatever the store or the network
says is a BackupTargetError.
"""

import contextlib
import datetime
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trinity.backup.crypt import ByteSource
from trinity.backup.target import Fill, Stored
from trinity.errors import BackupTargetError, ConfigError
from trinity.extras import missing_extra

try:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store
except ModuleNotFoundError as error:
    raise missing_extra(error) from None

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# A part; S3 takes 10,000 of them: 320 GB an object. Four may be on their way.
_PART_BYTES = 32 * 1024**2
_PARTS_AT_ONCE = 4
_CHUNK = 1024 * 1024
# Tries again by itself within this time; who backs up has its own turns.
_RETRY_SECONDS = 30
_RETRIES = 5
_TIMEOUT = "60s"


class S3Target:
    """A prefix of a bucket."""

    def __init__(self, address: str, endpoint: str) -> None:
        parts = urlsplit(address)
        if not parts.netloc or parts.query or parts.fragment or parts.username:
            raise ConfigError("BACKUP_TARGET", f"{address!r} is not s3://bucket/prefix")
        self.shown = address
        options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        client: ClientConfig = {"timeout": _TIMEOUT}
        if endpoint.startswith("http://"):
            client["allow_http"] = True
        retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": datetime.timedelta(seconds=_RETRY_SECONDS)}
        try:
            self._store = S3Store(
                parts.netloc, prefix=parts.path.strip("/") or None, client_options=client, retry_config=retry, **options
            )
        except BaseError as error:
            raise ConfigError("BACKUP_TARGET", f"{address}: {_said(error)}") from None

    def write(self, name: str, fill: Fill) -> int:
        ends = os.pipe()
        upload = _Upload(ends[0])
        thread = threading.Thread(target=upload.run, args=(self._store, name), name="upload", daemon=True)
        thread.start()
        try:
            with os.fdopen(ends[1], "wb", _CHUNK) as sink:
                try:
                    fill(sink)
                    sink.flush()
                except BaseException:
                    upload.broken = True
                    raise
        except BrokenPipeError:
            pass  # the upload ended first, and says why
        except BaseException:
            thread.join()
            if upload.failure is not None and not isinstance(upload.failure, _BrokenOffError):
                raise BackupTargetError(self.shown, _said(upload.failure)) from None
            raise
        thread.join()
        if upload.failure is not None:
            raise BackupTargetError(self.shown, _said(upload.failure))
        return upload.bytes

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[ByteSource]:
        with self._refusals():
            stream = obstore.get(self._store, name).stream(min_chunk_size=_CHUNK)
        yield _Streaming(iter(stream), self)

    def stored(self, prefix: str) -> Iterator[Stored]:
        """By whole folders, as S3 lists them; the rest of the prefix is ours to look at."""
        folder = prefix.rpartition("/")[0]
        with self._refusals():
            found = [
                Stored(entry["path"], entry["size"])
                for page in obstore.list(self._store, prefix=folder or None)
                for entry in page
            ]
        return (stored for stored in found if stored.name.startswith(prefix))

    def delete(self, name: str) -> None:
        with self._refusals(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def delete_drafts(self, before: int) -> None:
        """Parts of an upload that a killed writer left are no objects: the bucket's own rule clears them."""

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise self.refused(error) from None

    def refused(self, error: Exception) -> BackupTargetError:
        """The target's own error."""
        return BackupTargetError(self.shown, _said(error))


class _BrokenOffError(Exception):
    """What was to be stored did not come to its end."""


class _Upload:
    """The thread's side: parts out of a pipe; raising among them gives the whole up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.broken = False
        self.bytes = 0
        self.failure: Exception | None = None

    def run(self, store: "S3Store", name: str) -> None:
        try:
            with os.fdopen(self._descriptor, "rb", 0) as pipe:
                obstore.put(
                    store,
                    name,
                    self._parts(pipe),
                    use_multipart=True,
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except Exception as error:  # noqa: BLE001 - the border of the thread: the writer raises it
            self.failure = _BrokenOffError() if self.broken else error

    def _parts(self, pipe: Any) -> Iterator[bytes]:
        while part := pipe.read(_CHUNK):
            self.bytes += len(part)
            yield part
        if self.broken:
            raise _BrokenOffError


class _Streaming:
    """Chunks of the store, as a source."""

    def __init__(self, chunks: Iterator[Any], target: S3Target) -> None:
        self._chunks, self._target = chunks, target
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            try:
                self._rest = bytes(next(self._chunks, b""))
            except (BaseError, OSError) as error:
                raise self._target.refused(error) from None
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def _said(error: Exception) -> str:
    """One short line: the store's answers are pages of XML, and name what was asked, never a secret."""
    return " ".join(str(error).split())[:300] or type(error).__name__
