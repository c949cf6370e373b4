"""Sessions that were ended before their time, for all reporter processes: a small file that is only appended to.

    record   SHA-256 of the cookie (the first 16 bytes), when the session would have ended (seconds since 1970)

Rules: a cookie is good until it is over or stands here, so whoever copied it has nothing left. Every process looks at
the file's size before it believes a cookie, and reads what is new. When the file is large it is written anew without
what is over by itself, under a lock; the others see another file and read all of it. The file outlives restarts.
"""

import fcntl
import hashlib
import os
import struct
from pathlib import Path

from trinity.files import Durability, write_whole

FILE_NAME = "sessions-ended"
# Written anew beyond this: 2,700 sessions that were ended within a working day.
BYTES_MAX = 64 * 1024
# The newest are kept, whatever happens: somebody with a good key who ends sessions in a loop fills no disk.
RECORDS_MAX = 50_000

_RECORD = struct.Struct(">16sQ")


class EndedSessions:
    """One process's view of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = -1
        self._read_bytes = 0
        self._ended: set[bytes] = set()

    def is_ended(self, cookie: str) -> bool:
        self._read_news()
        return _digest_of(cookie) in self._ended

    def end(self, cookie: str, until_seconds: int, now_seconds: int) -> None:
        """From now on no process takes this cookie; OSError when the disk does not keep that."""
        record = _RECORD.pack(_digest_of(cookie), until_seconds)
        with open(self._path.with_suffix(".lock"), "ab", opener=_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.exists() and self._path.stat().st_size > BYTES_MAX:
                self._write_anew(now_seconds)
            with open(self._path, "ab", opener=_private) as file:
                # Behind whole records: what a full disk cut off stays no record.
                file.truncate(file.tell() // _RECORD.size * _RECORD.size)
                file.write(record)

    def _write_anew(self, now_seconds: int) -> None:
        records = list(_records_in(self._path.read_bytes()))
        kept = [record for record in records if record[1] > now_seconds][-RECORDS_MAX:]
        write_whole(self._path, (_RECORD.pack(*record) for record in kept), Durability.RENAMED)

    def _read_news(self) -> None:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._read_bytes:
                    self._inode, self._read_bytes, self._ended = found.st_ino, 0, set()
                if found.st_size > self._read_bytes:
                    file.seek(self._read_bytes)
                    data = file.read()
                    self._ended.update(digest for digest, _ in _records_in(data))
                    self._read_bytes += len(data) // _RECORD.size * _RECORD.size
        except FileNotFoundError:
            return


def _records_in(data: bytes) -> list[tuple[bytes, int]]:
    return list(_RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]))


def _digest_of(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="surrogateescape")).digest()[:16]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
