"""What a recording consists of: the entries of the two kinds of streams, as MessagePack arrays.

    stream of an exchange          Header, then Opened | Frame | Answer ...      raw bytes, and when they came
    stream `consensus`             Header, then Checkpoint, Turn, Turn, ...      what was read, when, and what came out

Rules: an exchange's stream holds bytes only, nothing that was made of them. The consensus's stream holds every quote
that was read from the shared table, so that each can be found again in a frame, and everything else that a decision
depends on: the moment, the rows' states, the order, and at each checkpoint what outlasts a turn.
"""

from decimal import Decimal

import msgspec

from feeds.consensus.decimals.render import LastGood
from feeds.consensus.decimals.rules import ConsensusState
from feeds.consensus.decimals.stablecoins import Held
from trinity.markets import Catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState, StoredQuote

VERSION = 3
CONSENSUS_STREAM = "consensus"


class Header(msgspec.Struct, array_like=True, tag="h", frozen=True):
    """The first entry of a segment. `boot` says whose monotonic clock it is, `life` which process, `number` which of
    its segments."""

    version: int
    stream: str
    boot: str
    life: int
    number: int
    at_ns: int
    wall_ns: int
    simulated: bool
    catalog: Catalog


class Opened(msgspec.Struct, array_like=True, tag="o", frozen=True):
    """A connection that is new: its decoder begins anew."""

    connection: int


class Frame(msgspec.Struct, array_like=True, tag="f", frozen=True):
    """One WebSocket frame as it was received."""

    connection: int
    at_ns: int
    wall_ns: int
    frame: bytes


class RecordedAnswer(msgspec.Struct, array_like=True, tag="a", frozen=True):
    """One REST answer as it was received."""

    path: str
    symbols: tuple[str, ...]
    status: int
    body: bytes
    at_ns: int
    wall_ns: int


class RowInput(msgspec.Struct, array_like=True, frozen=True):
    """One row of the price table as the consensus read it; a repeated quote is not written twice (`quote` None,
    `is_same` True)."""

    exchange: int
    asset: int
    state: RowState
    quote: StoredQuote | None
    is_same: bool = False


class AssetState(msgspec.Struct, array_like=True, frozen=True):
    """What one asset carries from turn to turn, and what it has published."""

    carried: ConsensusState
    last: LastGood | None
    state: AnswerState
    valid_until_ns: int


class Checkpoint(msgspec.Struct, array_like=True, tag="c", frozen=True):
    """Everything that the turns behind it start from."""

    at_ns: int
    wall_ns: int
    rows: tuple[RowInput, ...]
    assets: tuple[AssetState, ...]
    indexes: dict[str, Decimal]
    held: dict[str, Held]


class Result(msgspec.Struct, array_like=True, frozen=True):
    """A decision that was published: what people compare, and a digest of every byte of the answer."""

    asset: int
    state: int
    price: Decimal | None
    confidence: Decimal | None
    used: tuple[int, ...]
    rejected: dict[int, str]
    valid_until_ns: int
    digest: bytes


class Turn(msgspec.Struct, array_like=True, tag="t", frozen=True):
    """One turn of the consensus process: rows read, assets reviewed in this order, answers that came out new, and
    whether the coins were measured after it."""

    at_ns: int
    wall_ns: int
    read: tuple[RowInput, ...]
    reviewed: tuple[int, ...]
    results: tuple[Result, ...]
    is_measured: bool


Entry = Header | Opened | Frame | RecordedAnswer | Checkpoint | Turn

ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(list[Entry])
