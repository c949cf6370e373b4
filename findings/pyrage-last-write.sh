#!/usr/bin/env bash
# pyrage: encrypt_io says nothing when the last write to the caller's file fails, so a full disk looks like a success.
#
# Expected: encrypt_io returns when all bytes were taken, and raises what the file's write() raises, at whichever write.
# Seen:     what is less than its buffer of 8 KB is written when the writer is let go, and an error of that write is lost:
#           a short content is "encrypted" into a file that refuses every byte, and of a long one the end may be missing.
#           An error at an earlier write is an EncryptError, in whose text alone the OSError is: errno and cause are empty.
#           decrypt_io, asked the same, raises the OSError itself.
# Versions: pyrage 1.4.0, Python 3.11.
# Trinity:  keeps what its own file raised and raises it behind encrypt_io (trinity/backup/crypt.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyrage==1.4.0

cat >"$folder/full.py" <<'PY'
import errno
import io
import os

import pyrage


class FullDisk(io.RawIOBase):
    """What a file on a disk without room does; counts how often it was asked."""

    asked = 0

    def writable(self) -> bool:
        return True

    def write(self, _data: object) -> int:
        self.asked += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def outcome(act: object, content: bytes, *arguments: object) -> tuple[str, object, int]:
    disk = FullDisk()
    try:
        act(io.BytesIO(content), disk, *arguments)
    except Exception as error:
        return type(error).__name__, getattr(error, "errno", None), disk.asked
    return "no error", None, disk.asked


identity = pyrage.x25519.Identity.generate()
sealed = io.BytesIO()
pyrage.encrypt_io(io.BytesIO(b"content"), sealed, [identity.to_public()])
short = outcome(pyrage.encrypt_io, b"content", [identity.to_public()])
long = outcome(pyrage.encrypt_io, bytes(100_000), [identity.to_public()])
opened = outcome(pyrage.decrypt_io, sealed.getvalue(), [identity])
for what, (name, number, asked) in (("7 bytes sealed", short), ("100,000 sealed", long), ("7 opened", opened)):
    print(f"{what} on a full disk: {name}, errno {number}, writes that were refused: {asked}")
as_seen = short[0] == "no error" and short[2] > 0 and long[:2] == ("EncryptError", None)
raise SystemExit(0 if as_seen and opened[:2] == ("OSError", errno.ENOSPC) else 1)
PY
"$folder/venv/bin/python" "$folder/full.py" || { echo "the behaviour has changed"; exit 1; }
