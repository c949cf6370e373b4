"""workers/request/http/answers.py"""

from typing import Any

import numpy as np
import pytest

from trinity.compiled import refer_to
from workers.request.http.answers import answer_retry
from workers.request.http.parse import METHOD, METHOD_GET, METHOD_HEAD
from workers.request.http.response import CONNECTION_SILENT, status_index
from workers.request.ledger import TALLY_STATUS

pytestmark = pytest.mark.uncompiled


@pytest.mark.parametrize(("wait_ms", "seconds"), [(1, b"1"), (1000, b"1"), (1001, b"2")])
@pytest.mark.parametrize("method", [METHOD_GET, METHOD_HEAD])
def test_a_refusal_that_ends_says_when(make_private: Any, wait_ms: int, seconds: bytes, method: int) -> None:
    """In whole seconds, rounded up: nobody comes again too early; HEAD has the same head."""
    context = make_private().context
    context.head[METHOD] = method
    context.ledger.tally[TALLY_STATUS] = status_index(503)
    context.body[:2] = np.frombuffer(b"{}", dtype=np.uint8)
    out = np.zeros(4096, dtype=np.uint8)
    end = answer_retry(refer_to(context), context.body, 2, wait_ms, CONNECTION_SILENT, out, 0)
    head, _, body = bytes(out[:end]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " + seconds + b"\r\n" in head
    assert b"\r\nContent-Length: 2\r\n" in head
    assert body == (b"{}" if method == METHOD_GET else b"")
