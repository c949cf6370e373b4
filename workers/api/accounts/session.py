"""The operator's browser session: a signed cookie instead of the admin key. Pure; time and randomness are arguments.

    cookie   <expiry, seconds since 1970>.<nonce>.<HMAC-SHA256 over "session" and both>
    token    HMAC-SHA256 over "csrf" and the cookie's nonce; a page of this origin reads it, another origin cannot

Rules: the signing key is derived from ADMIN_KEY, so every reporter process accepts the same cookie and a changed key
ends all sessions. Comparisons are of bytes and take constant time. Nothing here is ever logged.
"""

import hashlib
import hmac

SESSION_SECONDS = 8 * 3600  # a working day; then the key has to be shown again
NONCE_BYTES = 16


class Sessions:
    """Makes and checks the cookies of one ADMIN_KEY; without one there are no sessions."""

    def __init__(self, admin_key: str | None) -> None:
        self._signing_key = hmac.digest(admin_key.encode(), b"trinity session", hashlib.sha256) if admin_key else None

    def open(self, wall_seconds: int, nonce: bytes) -> str:
        """A new cookie; `nonce` is NONCE_BYTES of randomness."""
        signed = f"{wall_seconds + SESSION_SECONDS}.{nonce.hex()}"
        return f"{signed}.{self._sign('session', signed)}"

    def is_open(self, cookie: str, wall_seconds: int) -> bool:
        """Whether the cookie is ours and not over."""
        signed, _, signature = cookie.rpartition(".")
        expiry = signed.partition(".")[0]
        if self._signing_key is None or not _is_same(self._sign("session", signed), signature):
            return False
        return int(expiry) > wall_seconds

    def token_of(self, cookie: str) -> str:
        """The token that a change made with this cookie must carry."""
        return self._sign("csrf", cookie)

    def is_token(self, cookie: str, token: str) -> bool:
        return _is_same(self.token_of(cookie), token)

    def _sign(self, purpose: str, text: str) -> str:
        assert self._signing_key is not None, "nobody has a session then"
        message = f"{purpose}|{text}".encode(errors="surrogateescape")
        return hmac.digest(self._signing_key, message, hashlib.sha256).hex()


def _is_same(expected: str, offered: str) -> bool:
    return hmac.compare_digest(expected.encode(), offered.encode(errors="surrogateescape"))
