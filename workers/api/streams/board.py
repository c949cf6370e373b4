"""What all streams of a process send: the newest price of each asset, rendered once however many clients there are.

    table -> poll() -> newest, changed_at          one look at all assets each TICK_SECONDS, and between many writes
    take(encoder, assets, seen) -> chunk, seen     what changed for this subscription since `seen`: one write

A client's whole state is one number, `seen`: the tick up to which it has everything. A slow reader comes back later
and takes the newest value of each asset that changed meanwhile; nothing is ever queued for it. Clients with the same
subscription that have seen the same share one chunk of bytes.

Rules: a tick is a time in ns (monotonic, of the host), so the ticks of several processes can be compared. A price
that became too old by time alone has changed, too: its refusal is sent. Nothing here knows of sockets.
"""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trinity.clock import Clock
from workers.api.base.prices import Price, Prices

# Changes of one tick go out together.
TICK_SECONDS = 0.05
# Clients look up at least this often although nothing changed: for heartbeats and for the end of the process.
QUIET_SECONDS = 1.0
NOTHING_SEEN = 0
# Chunks of a tick that are shared: a thousand subscriptions of 25 assets that all differ are 10 MB.
CHUNKS_BYTES_MAX = 16 * 1024**2
# What a chunk's place in memory costs beside it: whoever makes up cursors can ask for many empty ones.
_CHUNK_KEY_BYTES = 512


def body_of(price: Price) -> bytes:
    """The object of a lookup."""
    return price.body


class StreamEncoder(NamedTuple):
    """How a stream words prices: `encode_item` gives an asset's part (b"": nothing may be said), `frame` joins parts.

    `heartbeat` is what fills a silence: a comment of server-sent events, which foreign clients pass over. What a stream
    begins with goes through `begin`.
    """

    name: str
    frame: Callable[[str, Sequence[bytes]], bytes]
    encode_item: Callable[[Price], bytes] = body_of
    heartbeat: bytes = b": heartbeat\n\n"
    begin: Callable[[bytes], bytes] = bytes


class PriceBoard:
    """The newest prices of one process."""

    def __init__(self, prices: Prices, clock: Clock, life: int) -> None:
        """`life` is the same in all processes of a node and differs in each life of it."""
        self.prices = prices
        self.is_closed = False
        self.tick = clock.monotonic_ns()
        self._clock = clock
        self._life = f"{life:x}"
        everything = range(len(prices.assets))
        self._versions = [prices.version(asset) for asset in everything]
        self.newest = [prices.read(asset, self.tick) for asset in everything]
        self._changed_at = [self.tick for _ in everything]
        self._items: list[dict[str, bytes]] = [{} for _ in everything]
        self._chunks: dict[tuple[str, tuple[int, ...], int], bytes] = {}
        self._chunks_bytes = 0
        self._turn = asyncio.Event()

    def poll(self) -> bool:
        """Look at all assets; True when there is something new."""
        now_ns = max(self._clock.monotonic_ns(), self.tick + 1)
        changed = False
        for asset, price in enumerate(self.newest):
            version = self.prices.version(asset)
            if version == self._versions[asset] and not (price.is_fresh and now_ns >= price.valid_until_ns):
                continue
            self._versions[asset] = version
            self.newest[asset] = self.prices.read(asset, now_ns)
            self._changed_at[asset] = now_ns
            self._items[asset].clear()
            changed = True
        if changed:
            self.tick = now_ns
            self._chunks.clear()
            self._chunks_bytes = 0
        return changed

    def take(
        self, encoder: StreamEncoder, assets: tuple[int, ...], seen: int, anyway: frozenset[int] = frozenset()
    ) -> tuple[bytes, int]:
        """The chunk with everything that changed since `seen` (b"" when nothing did), and what is seen after it.

        Assets of `anyway` are in it, changed or not.
        """
        if seen == self.tick and not anyway:
            return b"", seen
        key = (encoder.name, assets, seen)
        chunk = self._chunks.get(key)
        if chunk is None or anyway:
            changed = [asset for asset in assets if self._changed_at[asset] > seen or asset in anyway]
            items = [item for asset in changed if (item := self._encode_item(encoder, asset))]
            chunk = encoder.frame(self.cursor(assets), items) if items else b""
            if not anyway and self._chunks_bytes + len(chunk) + _CHUNK_KEY_BYTES <= CHUNKS_BYTES_MAX:
                self._chunks[key] = chunk
                self._chunks_bytes += len(chunk) + _CHUNK_KEY_BYTES
        return chunk, self.tick

    def cursor(self, assets: tuple[int, ...]) -> str:
        """What a client may show to be continued: it has everything of this subscription up to the newest tick."""
        return cursor_of(self._life, assets, self.tick)

    def seen_by(self, cursor: str | None, assets: tuple[int, ...]) -> int:
        """What the owner of `cursor` has seen; nothing, for a cursor of another life, node or subscription."""
        return seen_of(cursor, self._life, assets, self._clock.monotonic_ns())

    async def turn(self) -> None:
        """Wait for the next change, QUIET_SECONDS at most."""
        await self._turn.wait()

    async def run(self, draining: asyncio.Event) -> None:
        """Publish until the process drains; then everybody is woken for the last time."""
        woken_at, quiet_since_ns = self.tick, self.tick
        while not draining.is_set():
            await asyncio.sleep(TICK_SECONDS)
            self.poll()
            now_ns = self._clock.monotonic_ns()
            if self.tick != woken_at or now_ns - quiet_since_ns >= QUIET_SECONDS * 1e9:
                woken_at, quiet_since_ns = self.tick, now_ns
                self._wake()
        self.is_closed = True
        self._turn.set()  # for good: nobody waits any more

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _encode_item(self, encoder: StreamEncoder, asset: int) -> bytes:
        items = self._items[asset]
        if encoder.name not in items:
            items[encoder.name] = encoder.encode_item(self.newest[asset])
        return items[encoder.name]


def cursor_of(life: str, assets: tuple[int, ...], tick: int) -> str:
    """What says that everything of these assets is known up to this tick of this life."""
    return f"{life}-{_checksum(assets):x}-{tick:x}"


def seen_of(cursor: str | None, life: str, assets: tuple[int, ...], now_ns: int) -> int:
    """The tick of a cursor; NOTHING_SEEN for one of another life or subscription, or of no sense."""
    parts = (cursor or "").split("-")
    if len(parts) != 3 or parts[:2] != [life, f"{_checksum(assets):x}"]:
        return NOTHING_SEEN
    try:
        seen = int(parts[2], 16)
    except ValueError:
        return NOTHING_SEEN
    return seen if 0 < seen <= now_ns else NOTHING_SEEN


def _checksum(assets: tuple[int, ...]) -> int:
    return zlib.crc32(b",".join(b"%d" % asset for asset in assets))
