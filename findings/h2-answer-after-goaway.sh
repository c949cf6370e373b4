#!/usr/bin/env bash
# h2: the answer to a request that a GOAWAY promises to answer raises ProtocolError.
#
# Expected: a server that shuts down in good order (nginx reloading, a proxy that renews its connections) sends GOAWAY with
#           the last stream that it still answers; streams up to that one "might still complete successfully" (RFC 9113, 6.8).
# Seen:     from ConnectionTerminated on h2 is in its state CLOSED, whatever the GOAWAY names: the HEADERS of the promised
#           answer raise ProtocolError, and the client never sees an answer that came in whole. Who tries again does so for
#           a request that was carried out.
# Versions: h2 4.4.1, hyperframe 6.1.0, Python 3.11.
# Trinity:  keeps such a connection open for the streams under way (workers/push/https/http2.py), so that a price that was
#           delivered is not delivered again.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1 hyperframe==6.1.0

cat >"$folder/goaway.py" <<'EOF'
import h2.config
import h2.connection
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame


def answered(goaway_first: bool) -> object:
    """What the client makes of a whole answer to its only request."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    request = [(":method", "POST"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")]
    client.send_headers(1, request, end_stream=True)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    if goaway_first:  # "I answer stream 1, and take no other"
        events = client.receive_data(GoAwayFrame(stream_id=0, last_stream_id=1, error_code=0).serialize())
        assert any(isinstance(event, h2.events.ConnectionTerminated) for event in events)
    server.send_headers(1, [(":status", "204")], end_stream=True)
    try:
        events = client.receive_data(server.data_to_send())
    except h2.exceptions.ProtocolError as error:
        return f"ProtocolError: {error}"
    return [type(event).__name__ for event in events]


plain, promised = answered(goaway_first=False), answered(goaway_first=True)
print(f"an answer: {plain}")
print(f"the same behind a GOAWAY that promises it: {promised}")
raise SystemExit(0 if plain == ["ResponseReceived", "StreamEnded"] and str(promised).startswith("ProtocolError") else 1)
EOF
"$folder/venv/bin/python" "$folder/goaway.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-30:
#   an answer: ['ResponseReceived', 'StreamEnded']
#   the same behind a GOAWAY that promises it: ProtocolError: Invalid input ConnectionInputs.RECV_HEADERS in state ConnectionState.CLOSED
