"""All shared memory of one node, by the node's name: its tables, the control segment and the card.

    /dev/shm/trinity-<node>-prices    price_table.py
    /dev/shm/trinity-<node>-answers   answer_table.py
    /dev/shm/trinity-<node>-assets    asset_table.py
    /dev/shm/trinity-<node>-misses    miss_queue.py
    /dev/shm/trinity-<node>-control   control.py
    /dev/shm/trinity-<node>-admission admission_table.py
    /dev/shm/trinity-<node>-card      segment header, then JSON of `Card`, filled up with zero bytes

Rules: the supervisor creates all of them before the first fork and unlinks them at the end. The card says what the
indexes of the others mean (exchanges, assets, processes) and how many assets there is room for, so that a tool
needs to know the node's name only. It is written once, but for markets whose assets and exchanges stay the same.
"""

import contextlib
import dataclasses
from dataclasses import dataclass

import msgspec
import numpy as np

from trinity.errors import LayoutError, NodeAbsentError
from trinity.limits import SPARE_ASSETS
from trinity.markets import Catalog
from trinity.memory.admission_table import AdmissionTable
from trinity.memory.answer_table import AnswerTable
from trinity.memory.asset_table import AssetTable
from trinity.memory.control import Control
from trinity.memory.miss_queue import MissQueues
from trinity.memory.price_table import PriceTable
from trinity.memory.segment import WORD_BYTES, Segment
from trinity.services import SERVICES, ServerType, Service
from trinity.version import version

CARD_LAYOUT_VERSION = 4
CARD_LAYOUT_HASH = 0  # JSON describes itself


# Behind a card: for other names of the same markets (write_catalog).
_CARD_ROOM_BYTES = 16 * 1024
# Kinds of processes that ask the resolver for assets, in the order of their miss queues.
ASKERS = ("worker", "reporter")


class ProcessEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process of the node; its position in the card is the index of its block in the control segment."""

    name: str
    kind: str


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the node is, and what the indexes of its shared memory mean."""

    node: str
    simulated: bool
    processes: tuple[ProcessEntry, ...]
    catalog: Catalog
    environment: str = "production"  # NODE_ENV: what the node is for, as its operator calls it
    version: str = msgspec.field(default_factory=version)  # of the code that the node runs
    server_type: ServerType = "APP_REPORT_SERVER"  # SERVER_TYPE
    services: tuple[Service, ...] = SERVICES["APP_REPORT_SERVER"]  # what it runs by it, and by PUSH
    spare_assets: int = SPARE_ASSETS  # rows of the tables behind those of the catalog's assets

    @property
    def capacity(self) -> int:
        """Assets that the tables have room for."""
        return len(self.catalog.assets) + self.spare_assets

    @property
    def askers(self) -> int:
        """Processes that have a miss queue."""
        return sum(entry.kind in ASKERS for entry in self.processes)


@dataclass(frozen=True)
class NodeMemory:
    """The node's memory, created or attached; `card_segment` is None in a process that inherited it."""

    card: Card
    prices: PriceTable
    answers: AnswerTable
    assets: AssetTable
    misses: MissQueues
    control: Control
    admission: AdmissionTable
    card_segment: Segment | None = None

    @classmethod
    def create(cls, card: Card) -> "NodeMemory":
        """Make all segments of a node; none is left behind when one of them fails.

        Raises NodeRunningError when a live node has this name, OSError when /dev/shm is too small.
        """
        exchanges, assets = len(card.catalog.exchanges), len(card.catalog.assets)
        with contextlib.ExitStack() as undo:
            card_segment = _create_card(card)
            undo.callback(card_segment.unlink)
            prices = PriceTable.create(name_of(card.node, "prices"), exchanges, assets, card.capacity)
            undo.callback(prices.segment.unlink)
            answers = AnswerTable.create(name_of(card.node, "answers"), exchanges, assets, card.capacity)
            undo.callback(answers.segment.unlink)
            spare = AssetTable.create(name_of(card.node, "assets"), card.spare_assets)
            assert spare.segment is not None
            undo.callback(spare.segment.unlink)
            misses = MissQueues.create(name_of(card.node, "misses"), card.askers)
            assert misses.segment is not None
            undo.callback(misses.segment.unlink)
            control = Control.create(name_of(card.node, "control"), len(card.processes))
            undo.callback(control.segment.unlink)
            workers = sum(entry.kind == "worker" for entry in card.processes)
            admission = AdmissionTable.create(name_of(card.node, "admission"), workers)
            undo.pop_all()
        return cls(card, prices, answers, spare, misses, control, admission, card_segment)

    @classmethod
    def attach(cls, node: str) -> "NodeMemory":
        """Open the memory of a running node; raises NodeAbsentError or LayoutError."""
        try:
            segment = Segment.attach(name_of(node, "card"), CARD_LAYOUT_VERSION, CARD_LAYOUT_HASH)
            if not segment.is_in_use():
                raise NodeAbsentError(node)
            card = _read_card(segment)
            exchanges, assets = len(card.catalog.exchanges), len(card.catalog.assets)
            memory = cls(
                card=card,
                card_segment=segment,
                prices=PriceTable.attach(name_of(node, "prices"), exchanges, assets, card.capacity),
                answers=AnswerTable.attach(name_of(node, "answers"), exchanges, assets, card.capacity),
                assets=AssetTable.attach(name_of(node, "assets")),
                misses=MissQueues.attach(name_of(node, "misses"), card.askers),
                control=Control.attach(name_of(node, "control"), len(card.processes)),
                admission=AdmissionTable.attach(name_of(node, "admission")),
            )
        except FileNotFoundError:
            raise NodeAbsentError(node) from None
        # The first call of each compiled reader loads or compiles it, for seconds: not while a caller measures ages.
        memory.prices.read(0, 0)
        memory.answers.read(0)
        return memory

    def is_alive(self) -> bool:
        """Whether any of the node's processes still runs."""
        return self.control.segment.is_in_use()

    def with_catalog(self, catalog: Catalog) -> "NodeMemory":
        """The same memory, of another catalog whose indexes mean the same: a process that begins reads its card so."""
        return dataclasses.replace(self, card=msgspec.structs.replace(self.card, catalog=catalog))

    def write_catalog(self, catalog: Catalog) -> bool:
        """Change what tools read; False when the card has no room for it. Only the supervisor may call it."""
        assert self.card_segment is not None
        text = msgspec.json.encode(msgspec.structs.replace(self.card, catalog=catalog))
        octets = self.card_segment.body.view(np.uint8)
        if len(text) > octets.size:
            return False
        octets[: len(text)] = np.frombuffer(text, dtype=np.uint8)
        octets[len(text) :] = 0
        return True

    def unlink(self) -> None:
        """Remove the names; only the creator's call does anything."""
        tables = self.prices, self.answers, self.assets, self.misses, self.control, self.admission
        for segment in (*(table.segment for table in tables), self.card_segment):
            if segment is not None:
                segment.unlink()


def name_of(node: str, part: str) -> str:
    """Name of a node's segment in /dev/shm."""
    return f"trinity-{node}-{part}"


def _create_card(card: Card) -> Segment:
    text = msgspec.json.encode(card)
    words = -(-(len(text) + _CARD_ROOM_BYTES) // WORD_BYTES)
    segment = Segment.create(name_of(card.node, "card"), CARD_LAYOUT_VERSION, CARD_LAYOUT_HASH, words)
    segment.body.view(np.uint8)[: len(text)] = np.frombuffer(text, dtype=np.uint8)
    return segment


def _read_card(segment: Segment) -> Card:
    text = segment.body.tobytes().rstrip(b"\0")
    try:
        return msgspec.json.decode(text, type=Card)
    except msgspec.DecodeError:
        raise LayoutError(segment.name, "card", CARD_LAYOUT_VERSION, 0) from None
