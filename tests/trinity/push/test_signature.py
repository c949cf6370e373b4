"""A receiver that checks by Standard Webhooks 1.0.0 takes our signatures, and no changed message."""

import base64
import secrets
from datetime import UTC, datetime

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from trinity.push.signature import sign, webhook_headers

# Two known answers: that of svix's own tests, and one of a price.
VECTORS = [
    ("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121,
     b'{"event_type":"ping","data":{"success":true}}', b"v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_0001", 1767225600,
     b'{"type":"price.update","timestamp":"2026-01-01T00:00:00Z","data":{"asset":"BTC","price":"71000.5"}}',
     b"v1,8SHnvE+vQsByVFl2uSfwqaP2YtD00SOunXeBgPl8qNo="),
]  # fmt: skip
VERIFIERS = [standardwebhooks.Webhook, svix.Webhook]


@pytest.mark.parametrize(("secret", "message_id", "timestamp_s", "body", "expected"), VECTORS)
def test_the_known_answers_are_met(
    secret: str, message_id: str, timestamp_s: int, body: bytes, expected: bytes
) -> None:
    """Bit for bit."""
    assert sign([base64.b64decode(secret[6:])], message_id, timestamp_s, body) == expected


def _now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def _headers(keys: list[bytes], body: bytes) -> dict[str, str]:
    return {str(name, "ascii"): str(value, "ascii") for name, value in webhook_headers(keys, "msg_7_8", _now_s(), body)}


@pytest.mark.parametrize("verifier", VERIFIERS, ids=["standardwebhooks", "svix"])
def test_foreign_verifiers_take_a_message_and_refuse_a_changed_one(verifier: type[standardwebhooks.Webhook]) -> None:
    """Of its body, id or time."""
    key, body = secrets.token_bytes(24), b'{"price":"71000.5"}'
    hook, headers = verifier(f"whsec_{base64.b64encode(key).decode()}"), _headers([key], body)
    hook.verify(body, headers)  # raises if it does not fit
    for changed, name in ((b'{"price":"1"}', ""), (body, "webhook-id"), (body, "webhook-timestamp")):
        tampered = headers | ({name: headers[name][:-1] + "7"} if name else {})
        if tampered == headers and changed == body:
            tampered[name] = str(int(headers[name]) - 1)
        with pytest.raises((standardwebhooks.WebhookVerificationError, svix.WebhookVerificationError)):
            hook.verify(changed, tampered)


@pytest.mark.parametrize("verifier", VERIFIERS, ids=["standardwebhooks", "svix"])
@given(keys=st.lists(st.binary(min_size=24, max_size=64), min_size=2, max_size=2, unique=True))
def test_while_a_secret_is_replaced_either_one_verifies(
    verifier: type[standardwebhooks.Webhook], keys: list[bytes]
) -> None:
    """The receiver may change its own at any moment between."""
    headers = _headers(keys, b"{}")
    assert headers["webhook-signature"].count("v1,") == 2
    for key in keys:
        verifier(f"whsec_{base64.b64encode(key).decode()}").verify(b"{}", headers)  # raises if it does not fit
