"""Who takes whole messages of a WebSocket, for tests: as a connection does, but without an exchange."""

from feeds.ingest.extent import WRONG, extent_of, is_message
from feeds.ingest.frames import Deliver
from trinity.native.octets import Octets


def taking(got: list[bytes]) -> Deliver:
    """Who takes whole messages, one by one."""

    def deliver(octets: Octets, at: int, size: int) -> int:
        while at < size:
            start, end = extent_of(octets, at, size)
            if start == WRONG or end > size or not is_message(int(octets[at])):
                break
            got.append(octets[start:end].tobytes())
            at = end
        return at

    return deliver
