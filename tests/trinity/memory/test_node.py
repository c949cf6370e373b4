"""A node's shared memory as a whole: made, found by name, and gone."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.support.quotes import stored_quote
from trinity.errors import LayoutError, NodeAbsentError, NodeRunningError
from trinity.limits import ASSETS_MAX, SPARE_ASSETS
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry, name_of
from trinity.memory.price_table import PriceTable, Via
from trinity.memory.segment import HEADER_WORDS, WORD_BYTES

CATALOG = load_catalog()


@pytest.fixture
def card() -> Iterator[Card]:
    name = f"t-{uuid.uuid4().hex[:12]}"
    yield Card(name, False, (ProcessEntry("feed-kraken", "feed"), ProcessEntry("health", "health")), CATALOG)
    for part in ("card", "prices", "answers", "control"):
        _file(name, part).unlink(missing_ok=True)


def _file(node: str, part: str) -> Path:
    return Path("/dev/shm") / name_of(node, part)


def test_a_tool_that_knows_only_the_name_finds_everything(card: Card) -> None:
    """The card holds what the indexes mean, and what one side writes the other reads."""
    memory = NodeMemory.create(card)
    quote = stored_quote(Decimal("1.5"), Decimal("1.6"), None, None, 7, 8, Via.WS)
    memory.prices.write(2, 3, quote)
    found = NodeMemory.attach(card.node)
    assert found.card == card
    assert found.prices.read(2, 3) == quote
    assert found.control.processes == 2
    assert found.is_alive()
    memory.unlink()


def test_the_creator_removes_all_four_and_an_attached_tool_none(card: Card) -> None:
    """`unlink` of a tool does nothing."""
    memory = NodeMemory.create(card)
    NodeMemory.attach(card.node).unlink()
    assert all(_file(card.node, part).exists() for part in ("card", "prices", "answers", "control"))
    memory.unlink()
    assert not any(_file(card.node, part).exists() for part in ("card", "prices", "answers", "control"))


def test_a_node_that_does_not_run_is_absent(card: Card) -> None:
    """Without the segments there is no node."""
    with pytest.raises(NodeAbsentError):
        NodeMemory.attach(card.node)


def test_the_leftovers_of_a_dead_node_are_no_node_and_do_not_hinder_the_next(card: Card) -> None:
    """A node that was killed leaves its memory: tools see that it is dead, a new start replaces it."""
    script = (
        "import sys, msgspec; from trinity.memory.node import *;"
        "NodeMemory.create(msgspec.json.decode(sys.stdin.buffer.read(), type=Card))"
    )
    import msgspec

    subprocess.run([sys.executable, "-c", script], input=msgspec.json.encode(card), check=True, timeout=60)
    assert _file(card.node, "card").exists()
    with pytest.raises(NodeAbsentError):
        NodeMemory.attach(card.node)
    NodeMemory.create(card).unlink()


def test_a_failure_on_the_way_leaves_nothing_behind(card: Card) -> None:
    """When another process owns the last segment, the ones that were already made are removed again."""
    script = (
        "import sys; from trinity.memory.control import Control; c = Control.create(sys.argv[1], 2);"
        "print('made', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, name_of(card.node, "control")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"made\n"
        with pytest.raises(NodeRunningError):
            NodeMemory.create(card)
        assert not any(_file(card.node, part).exists() for part in ("card", "prices", "answers"))
        owner.communicate()


def test_a_card_that_is_no_card_is_refused(card: Card) -> None:
    """Foreign bytes under a right header are a layout error."""
    memory = NodeMemory.create(card)
    with _file(card.node, "card").open("r+b") as file:
        file.seek(HEADER_WORDS * WORD_BYTES)
        file.write(b"not json")
    with pytest.raises(LayoutError):
        NodeMemory.attach(card.node)
    memory.unlink()


def test_a_tool_reads_from_the_card_how_many_rows_there_are(card: Card) -> None:
    """The card tells the capacity and, apart, what is in use; tables of another capacity are not of this node."""
    memory = NodeMemory.create(msgspec.structs.replace(card, spare_assets=3))
    attached = NodeMemory.attach(card.node)
    assets = len(card.catalog.assets)
    assert (attached.card.capacity, len(attached.card.catalog.assets)) == (assets + 3, assets)
    assert attached.prices.versions().shape[1] == attached.answers.assets == assets
    memory.prices.segment.unlink()
    other = PriceTable.create(name_of(card.node, "prices"), len(card.catalog.exchanges), assets, assets)
    with pytest.raises(LayoutError):
        NodeMemory.attach(card.node)
    other.segment.unlink()
    memory.unlink()


def test_the_largest_catalog_has_its_spare_rows_too(card: Card) -> None:
    """Assets beyond the catalog are answered whatever its size."""
    assets = tuple(msgspec.structs.replace(card.catalog.assets[0], name=f"A{i}") for i in range(ASSETS_MAX))
    full = msgspec.structs.replace(card, catalog=msgspec.structs.replace(card.catalog, assets=assets, markets=()))
    assert full.capacity == ASSETS_MAX + SPARE_ASSETS


def test_tables_of_another_shape_are_refused(card: Card) -> None:
    """The card and the tables must be of one node."""
    memory = NodeMemory.create(card)
    memory.prices.segment.unlink()
    other = PriceTable.create(name_of(card.node, "prices"), 1, 1, 1)
    with pytest.raises(LayoutError):
        NodeMemory.attach(card.node)
    other.segment.unlink()
    memory.unlink()
