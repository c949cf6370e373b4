#!/usr/bin/env bash
# litestar: an answer is packed by gzip for a client that says that it takes none.
#
# Expected: `Accept-Encoding: gzip;q=0` means "not gzip" (RFC 9110, 12.5.3), and the answer comes unpacked.
# Seen:     the compression looks whether the word stands in the header: `gzip;q=0` is packed like `gzip`, though the
#           client asked in the standard's words not to get it.
# Versions: litestar 2.25.0, Python 3.11, Linux.
# Trinity:  reads the header's weights itself (workers/api/base/serving/compression.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litestar==2.25.0

cat >"$folder/ask.py" <<'EOF'
from litestar import Litestar, get
from litestar.config.compression import CompressionConfig
from litestar.testing import TestClient


@get("/")
async def text() -> str:
    return "a long text " * 1000


seen = {}
with TestClient(Litestar([text], compression_config=CompressionConfig("gzip"))) as client:
    for accepted in ("gzip", "gzip;q=0", "identity"):
        answer = client.get("/", headers={"Accept-Encoding": accepted})
        seen[accepted] = answer.headers.get("Content-Encoding", "none")
        print(f"Accept-Encoding: {accepted} -> Content-Encoding: {seen[accepted]}")
raise SystemExit(0 if seen == {"gzip": "gzip", "gzip;q=0": "gzip", "identity": "none"} else 1)
EOF
"$folder/venv/bin/python" "$folder/ask.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   Accept-Encoding: gzip -> Content-Encoding: gzip
#   Accept-Encoding: gzip;q=0 -> Content-Encoding: gzip
#   Accept-Encoding: identity -> Content-Encoding: none
