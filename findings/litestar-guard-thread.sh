#!/usr/bin/env bash
# litestar: a guard that is a plain function goes to a thread and back on every request, without the usual warning.
#
# Expected: a guard is a check before the handler and runs where the handler runs; for a plain function as handler or
#           dependency litestar warns at start-up until `sync_to_thread` says where it is to run.
# Seen:     no warning for a guard, and no such switch: it runs in a worker thread, which for a small answer costs more
#           than the handler. `async def` keeps it in the event loop's thread.
# Versions: litestar 2.25.0, Python 3.11, Linux.
# Trinity:  the guard of every route of the reporting service is a coroutine (workers/api/app.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litestar==2.25.0

cat >"$folder/ask.py" <<'EOF'
import threading
import warnings

from litestar import Litestar, get
from litestar.di import Provide
from litestar.testing import TestClient

seen = {}


def plain_guard(connection, handler):
    seen["plain guard"] = threading.get_ident()


async def coroutine_guard(connection, handler):
    seen["coroutine guard"] = threading.get_ident()


@get("/", guards=[plain_guard, coroutine_guard])
async def ask() -> str:
    seen["handler"] = threading.get_ident()
    return "answer"


with warnings.catch_warnings(record=True) as of_guard:
    warnings.simplefilter("always")
    app = Litestar([ask])
with warnings.catch_warnings(record=True) as of_dependency:
    warnings.simplefilter("always")
    Provide(lambda: 1)
with TestClient(app) as client:
    client.get("/")
is_apart = {name: seen[name] != seen["handler"] for name in ("plain guard", "coroutine guard")}
warned = {"guard": len(of_guard), "dependency": len(of_dependency)}
for name, apart in is_apart.items():
    print(f"{name}: {'a thread of its own' if apart else 'the thread of the handler'}")
print(f"warnings: {warned}")
same = {"plain guard": True, "coroutine guard": False} == is_apart and warned == {"guard": 0, "dependency": 1}
raise SystemExit(0 if same else 1)
EOF
"$folder/venv/bin/python" "$folder/ask.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-30:
#   plain guard: a thread of its own
#   coroutine guard: the thread of the handler
#   warnings: {'guard': 0, 'dependency': 1}
