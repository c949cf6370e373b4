"""Signatures of Standard Webhooks 1.0.0, symmetric: what a receiver checks a delivery with.

Rules: pure. Signed are id, time and body, `id + "." + timestamp + "." + body`, with HMAC-SHA256 and the secret's
decoded bytes (secret.py). The time is that of the attempt, the id that of the message. While a secret is replaced there
are two, and both sign: a receiver accepts any signature that fits. An id has no dot, or two messages could have the
same signed bytes.
"""

import hmac
from binascii import b2a_base64
from collections.abc import Sequence

# Standard Webhooks: what is older may be a replay of somebody else's.
TOLERANCE_S = 300


def sign(secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> bytes:
    """The value of `webhook-signature`: one `v1,<base64>` a secret, with spaces between."""
    assert "." not in message_id
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    return b" ".join(b"v1," + b2a_base64(hmac.digest(secret, signed, "sha256"), newline=False) for secret in secrets)


def webhook_headers(
    secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes
) -> tuple[tuple[bytes, bytes], ...]:
    """The three headers of a delivery."""
    return (
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", b"%d" % timestamp_s),
        (b"webhook-signature", sign(secrets, message_id, timestamp_s, body)),
    )


def verify(
    secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes, signatures: str, now_s: int
) -> bool:
    """Whether any of the signatures is any secret's, of the last or next TOLERANCE_S; compared in constant time."""
    if "." in message_id or not message_id.isascii() or abs(now_s - timestamp_s) > TOLERANCE_S:
        return False
    given = [one.encode("ascii", "replace") for one in signatures.split(" ") if one.startswith("v1,")]
    expected = [sign([secret], message_id, timestamp_s, body) for secret in secrets]
    return any(hmac.compare_digest(one, other) for one in given for other in expected)
