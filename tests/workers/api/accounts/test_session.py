"""workers/api/accounts/session.py"""

from hypothesis import given
from hypothesis import strategies as st

from workers.api.accounts.session import SESSION_SECONDS, Sessions, is_token, token_of

NONCE = bytes(range(16))


def test_a_cookie_is_good_until_it_is_over_and_for_its_key_alone() -> None:
    """The session ends by time, and by a new ADMIN_KEY."""
    sessions = Sessions("correct horse")
    cookie = sessions.open(1000, NONCE)
    assert sessions.is_open(cookie, 1000 + SESSION_SECONDS - 1)
    assert not sessions.is_open(cookie, 1000 + SESSION_SECONDS)
    assert not Sessions("another").is_open(cookie, 1000)
    assert not Sessions(None).is_open(cookie, 1000)


@given(st.text(), st.integers(0, 2**40))
def test_no_text_is_a_cookie_by_chance(text: str, now: int) -> None:
    """Any bytes in the cookie are refused, none of them raises."""
    sessions = Sessions("correct horse")
    assert not sessions.is_open(text, now)
    assert not Sessions(None).is_open(text, now)


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_cookie_is_refused(at: int, character: str) -> None:
    """Expiry, nonce and signature cannot be altered one character at a time."""
    sessions = Sessions("correct horse")
    cookie = sessions.open(1000, NONCE)
    at %= len(cookie)
    changed = cookie[:at] + character + cookie[at + 1 :]
    assert sessions.is_open(changed, 1000) == (changed == cookie)


def test_the_token_belongs_to_one_cookie() -> None:
    """What one session may send, another may not."""
    sessions = Sessions("correct horse")
    mine, other = sessions.open(1000, NONCE), sessions.open(1001, NONCE)
    assert is_token(mine, token_of(mine))
    assert not is_token(mine, token_of(other))
    assert not is_token(mine, "é")


@given(st.text(), st.text())
def test_no_text_is_a_token_by_chance(cookie: str, token: str) -> None:
    """Whatever stands in cookie and header is refused, and nothing is raised."""
    assert not is_token(cookie, token)


def test_a_clock_that_is_set_back_ends_no_session() -> None:
    """A second or an hour before it was made, a cookie is as good as after."""
    sessions = Sessions("correct horse")
    cookie = sessions.open(10_000, NONCE)
    for now in (9_999, 6_400):
        assert sessions.is_open(cookie, now)


def test_a_token_is_no_cookie_and_a_cookie_no_token() -> None:
    """What a page may read opens nothing."""
    sessions = Sessions("correct horse")
    cookie = sessions.open(1000, NONCE)
    signed = cookie.rpartition(".")[0]
    assert not sessions.is_open(f"{signed}.{token_of(cookie)}", 1000)
    assert not is_token(cookie, cookie.rpartition(".")[2])
