"""The operator's browser session: a signed cookie instead of the admin key. Pure; time and randomness are arguments.

    cookie   <nonce>.<when it was made>.<signature of both>   as itsdangerous' TimestampSigner writes it, over SHA-256
    token    signature whose key is the cookie; a page of this origin reads it, another origin cannot

Rules: cookies are signed with ADMIN_KEY, so every reporter process accepts the same cookie and a changed key ends all
sessions. A session has one text: whoever ends it ends that text (ended.py), so a signature is spelt as it was made or
refused. Comparisons take constant time. Nothing here is ever logged.
"""

import hashlib

from itsdangerous import BadSignature, Signer, TimestampSigner, base64_decode, base64_encode, want_bytes

SESSION_SECONDS = 8 * 3600  # a working day; then the key has to be shown again
NONCE_BYTES = 16


class Sessions:
    """Makes and checks the cookies of one ADMIN_KEY; without one there are no sessions."""

    def __init__(self, admin_key: str | None) -> None:
        self._admin_key = admin_key

    def open(self, wall_seconds: int, nonce: bytes) -> str:
        """A new cookie; `nonce` is NONCE_BYTES of randomness."""
        assert self._admin_key is not None, "nobody has a session then"
        return _CookieSigner(self._admin_key, wall_seconds).sign(nonce.hex()).decode()

    def is_open(self, cookie: str, wall_seconds: int) -> bool:
        """Whether the cookie is ours and not over."""
        if self._admin_key is None or not cookie.isascii():
            return False
        try:
            _, made_at = _CookieSigner(self._admin_key, wall_seconds).unsign(cookie, return_timestamp=True)
        except BadSignature:
            return False
        # Its own `max_age` would also refuse a cookie from before a clock that was set back.
        return made_at.timestamp() + SESSION_SECONDS > wall_seconds


def token_of(cookie: str) -> str:
    """The token that a change made with this cookie, an operator's or a customer's, must carry."""
    return _token_signer(cookie).get_signature(b"").decode()


def is_token(cookie: str, token: str) -> bool:
    return _token_signer(cookie).verify_signature(b"", token)


class _CookieSigner(TimestampSigner):
    """The library's signer at a given time, and strict about how a signature is spelt."""

    def __init__(self, secret_key: str, wall_seconds: int) -> None:
        super().__init__(secret_key, salt=b"trinity session", key_derivation="hmac", digest_method=hashlib.sha256)
        self._wall_seconds = wall_seconds

    def get_timestamp(self) -> int:
        return self._wall_seconds

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        """Whether it is right, and spelt as the signer spells it."""
        return super().verify_signature(value, sig) and base64_encode(base64_decode(sig)) == want_bytes(sig)


def _token_signer(cookie: str) -> Signer:
    secret_key = cookie.encode(errors="surrogateescape")
    return Signer(secret_key, salt=b"trinity csrf", key_derivation="hmac", digest_method=hashlib.sha256)
