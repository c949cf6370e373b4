#!/usr/bin/env bash
# granian: a failed bind is a RuntimeError whose errno is in its text alone.
#
# Expected: a taken port raises OSError with `errno` EADDRINUSE, as every socket of Python does.
# Seen:     `granian.net.SocketSpec.build()` raises RuntimeError("Address already in use (os error 98)..."): no errno, no
#           OSError, so `except OSError` around a start passes it by, and a taken port (98), a foreign address (99) and a
#           port that is not ours to take (13) can be told apart by reading words alone.
# Versions: granian 2.8.7, Python 3.11, Linux.
# Trinity:  binds the socket itself and hands granian its descriptor (workers/api/server.py), so that the error is typed
#           and names the setting.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.7

cat >"$folder/bind.py" <<'EOF'
import errno
import os
import socket

from granian.net import SocketSpec

taken = socket.create_server(("127.0.0.1", 0))
port = taken.getsockname()[1]
seen = {}
for name, address in (("granian", ("127.0.0.1", port)), ("granian, foreign address", ("192.0.2.1", 0))):
    try:
        SocketSpec(*address, 8).build()
    except Exception as error:
        seen[name] = (type(error), getattr(error, "errno", None), str(error).partition("\n")[0])
try:
    socket.create_server(("127.0.0.1", port))
except OSError as error:
    seen["socket"] = (type(error), error.errno, os.strerror(error.errno))
for name, (kind, number, words) in seen.items():
    print(f"{name}: {kind.__name__}, errno {number}, {words!r}")
as_described = (
    seen["socket"][:2] == (OSError, errno.EADDRINUSE)
    and seen["granian"][:2] == (RuntimeError, None)
    and f"(os error {errno.EADDRINUSE})" in seen["granian"][2]
    and seen["granian, foreign address"][:2] == (RuntimeError, None)
)
raise SystemExit(0 if as_described else 1)
EOF
"$folder/venv/bin/python" "$folder/bind.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   granian: RuntimeError, errno None, 'Address already in use (os error 98)'
#   granian, foreign address: RuntimeError, errno None, 'Cannot assign requested address (os error 99)'
#   socket: OSError, errno 98, 'Address already in use'
