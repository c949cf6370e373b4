"""The secret of a subscription: what its messages are signed with (Standard Webhooks 1.0.0).

Rules: pure; randomness is an argument. A secret is `whsec_` and the standard base64 of 24 to 64 bytes, written in the
one way there is. Libraries take anything else for another key, each its own way, so it is refused. No error, and no
`repr` of what holds one, shows a secret.
"""

import base64
import binascii
from collections.abc import Callable

from trinity.errors import InputError

START = "whsec_"
# As many as the HMAC's own digest: more adds nothing.
SECRET_BYTES = 32
BYTES_MIN, BYTES_MAX = 24, 64


def make_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A secret that never existed before."""
    return START + base64.b64encode(random_bytes(SECRET_BYTES)).decode()


def read_secret(text: str) -> bytes:
    """The key that a secret stands for; InputError."""
    written = text.removeprefix(START)
    if not text.startswith(START) or not written.isascii():
        raise _wrong(f"it does not begin with {START}")
    try:
        key = base64.b64decode(written, validate=True)
    except binascii.Error:
        raise _wrong("what follows is not standard base64 (A-Z, a-z, 0-9, +, /, with = at the end)") from None
    if base64.b64encode(key).decode() != written:
        raise _wrong("what follows is base64 that others read as another key: its last character has bits too many")
    if not BYTES_MIN <= len(key) <= BYTES_MAX:
        raise _wrong(f"it stands for {len(key)} bytes")
    return key


def _wrong(reason: str) -> InputError:
    return InputError("secret", f"{reason}: it is {START} and the base64 of {BYTES_MIN} to {BYTES_MAX} random bytes")
