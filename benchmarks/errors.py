"""What a measurement ends with when another program does not do its part."""

from trinity.errors import TrinityError


class PeerError(TrinityError):
    """A node, a server or a client that is measured did not start, or answered wrongly."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(peer, reason)
        self.peer = peer
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"
