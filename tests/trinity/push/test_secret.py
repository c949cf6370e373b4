"""trinity/push/secret.py"""

import base64

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import InputError
from trinity.push.secret import BYTES_MAX, BYTES_MIN, START, make_secret, read_secret


def written(key: bytes) -> str:
    return START + base64.b64encode(key).decode()


@given(st.binary(min_size=BYTES_MIN, max_size=BYTES_MAX))
def test_a_secret_is_read_back_as_the_key_that_others_read(key: bytes) -> None:
    """As the library of the standard does; and there is no other spelling of it."""
    secret = written(key)
    assert read_secret(secret) == key
    assert standardwebhooks.Webhook(secret)._whsecret == key
    for other in (secret.rstrip("=") + "==", secret + "=", secret + "\n", secret.removeprefix(START), " " + secret):
        if other != secret:
            with pytest.raises(InputError):
                read_secret(other)


@given(st.text(max_size=100) | st.text(max_size=100).map(START.__add__) | st.binary(max_size=100).map(written))
def test_only_an_input_error_escapes_and_shows_nothing(text: str) -> None:
    """Whatever is written; what is read is in its bounds and is written so."""
    try:
        key = read_secret(text)
    except InputError as error:
        said = str(error)
    else:
        assert BYTES_MIN <= len(key) <= BYTES_MAX
        assert written(key) == text
        return
    assert said.startswith("secret: ")
    assert len(text) < 12 or text.removeprefix(START) not in said


@pytest.mark.parametrize(
    "text",
    [
        "whsec_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_",  # URL-safe base64: others read another key
        "whsec_" + "QUFB" * 7 + "QQ",  # without its padding
        "whsec_" + "QUFB" * 7 + "QR==",  # bits too many
        "whsk_" + "QUFB" * 8,
        "whsec_" + "QUFB" * 7 + "QUF\uff21",
    ],
)
def test_what_libraries_read_each_its_own_way_is_refused(text: str) -> None:
    """So nobody signs with one key and verifies with another."""
    with pytest.raises(InputError):
        read_secret(text)


def test_randomness_is_given() -> None:
    """As many bytes as are asked for, and all of them count."""
    assert read_secret(make_secret(lambda count: bytes(range(count)))) == bytes(range(32))
