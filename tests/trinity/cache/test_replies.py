"""trinity/cache/replies.py"""

import pytest
from valkey._parsers.base import BaseParser

from trinity.cache.replies import error_of, is_full


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
        ("NOPERM User node has no permissions", "NOPERM"),
        ("WRONGTYPE Operation against a key", "WRONGTYPE"),
        ("ERR unknown command", "ERR"),
    ],
)
def test_an_error_reply_keeps_the_code_that_the_library_takes_off(line: str, code: str) -> None:
    """And the rest of its text."""
    reply = BaseParser.parse_error(line)
    error = error_of(reply)
    assert error.code == code
    assert f"{error.code} {error.text}" == line
    assert error.is_no_script == (code == "NOSCRIPT")
    assert error.is_full == is_full(reply) == (code == "OOM")
