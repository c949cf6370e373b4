"""The peers' application answers what its file holds."""

from typing import Any

from benchmarks.servers import fixed_answer


async def test_asgi_answers_with_a_length_and_serves_no_other_scope() -> None:
    """An HTTP scope gets status 200 with the body's length; a lifespan scope gets nothing."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("a fixed answer reads no body")

    await fixed_answer.asgi({"type": "lifespan"}, receive, send)
    assert sent == []
    await fixed_answer.asgi({"type": "http"}, receive, send)
    start, body = sent
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


async def test_rsgi_answers_in_one_call() -> None:
    """The protocol gets status, headers and body at once."""
    calls: list[Any] = []

    class Protocol:
        def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            calls.append((status, headers, body))

    await fixed_answer.rsgi(None, Protocol())
    assert calls == [(200, [("content-type", "application/json")], b"")]
