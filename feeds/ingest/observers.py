"""Who watches what an exchange sends, whoever reads it.

Rules: a feed knows its observer by this alone; whoever composes the node hands one in. While `is_on` is False, a feed
pays for it with that one look a frame.
"""

from typing import Protocol

from feeds.exchanges.contract import RestRequest


class FrameObserver(Protocol):
    """Is told everything that one exchange's feed receives."""

    is_on: bool

    def opened(self, connection: int) -> None:
        """A connection is there, with a serial number of its own."""
        ...

    def frame(self, connection: int, at_ns: int, wall_ns: int, frame: bytes) -> None:
        """A frame was received; asked only while `is_on`."""
        ...

    def answer(self, request: RestRequest, status: int, body: bytes, at_ns: int, wall_ns: int) -> None:
        """REST answered; asked only while `is_on`."""
        ...

    def follow(self, now_ns: int) -> None:
        """Some times a second: begin, end, and write what is due."""
        ...

    def close(self, now_ns: int) -> None:
        """The feed ends: write what is still in memory."""
        ...
