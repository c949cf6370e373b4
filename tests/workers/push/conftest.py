"""A pusher as a process of its own: prices that the test writes, a real PostgreSQL, a receiver with real TLS."""

import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.contexts import OpenContext, open_context
from tests.support.receiver import Receiver
from trinity.access import accounts
from trinity.config import PushSection
from trinity.markets import load_catalog
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState, AnswerTable
from trinity.memory.delivery_ring import DeliveryRing
from trinity.process import PushMemory
from trinity.push import store
from trinity.push.secret import make_secret
from trinity.push.subscription import SubscriptionDraft
from trinity.store.connect import connect
from workers.push import process
from workers.push.process import PushIdentity

CATALOG = load_catalog()
SECOND = 1_000_000_000
RING_RECORDS = 1 << 12


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        threading.Event().wait(0.02)


def write_price(answers: AnswerTable, asset: int, price: int, scale: int = 2, valid_seconds: float = 3600.0) -> None:
    """As the consensus publishes one."""
    now_ns, text = time.monotonic_ns(), f"{price / 10**scale:.{scale}f}".encode()
    record = np.zeros(1, dtype=ANSWER_DTYPE)
    for name, value in {
        "state": int(AnswerState.GOOD),
        "valid_until_ns": now_ns + int(valid_seconds * SECOND),
        "received_at_ns": now_ns,
        "timestamp_ms": time.time_ns() // 1_000_000,
        "price": price,
        "confidence": 5,
        "scale": scale,
        "sources": 6,
        "has_last_good": 1,
        "price_text_length": len(text),
    }.items():
        record[name] = value
    record["price_text"][0, : len(text)] = np.frombuffer(text, dtype=np.uint8)
    answers.write(answers.row_of(asset), record)


@dataclass
class PushNode:
    """One node's pusher: forked, killed and started again by the test."""

    context: OpenContext
    url: str
    data_dir: Path
    section: PushSection
    node_uuid: uuid.UUID = field(default_factory=uuid.uuid4)
    child: Any = None

    def start(self) -> None:
        ring = DeliveryRing.open(self.data_dir / "ring-0", 0, RING_RECORDS, 1_700_000_000)
        identity = PushIdentity(self.data_dir, self.node_uuid, f"node-{self.data_dir.name}", self.url)
        memory = PushMemory(self.context.answers, ring)
        self.child = multiprocessing.get_context("fork").Process(
            target=process.run, args=(self.context, memory, self.section, identity)
        )
        self.child.start()

    def kill(self) -> None:
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.join()

    def drain(self) -> int:
        os.kill(self.child.pid, signal.SIGTERM)
        self.child.join(60)
        assert self.child.exitcode is not None
        return int(self.child.exitcode)

    @property
    def records(self) -> Any:
        """What its ring has."""
        ring = DeliveryRing.open(self.data_dir / "ring-0", 0, RING_RECORDS, 1_700_000_000)
        return ring.read(ring.released, RING_RECORDS)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "authority.pem")
    made.start()
    yield made
    made.stop()


MakeNode = Callable[..., PushNode]


@pytest.fixture
def make_node(tmp_path: Path, database_url: str, receiver: Receiver) -> Iterator[MakeNode]:
    """Nodes of one database; `url` is another one."""
    made: list[PushNode] = []
    contexts: list[Any] = []

    def make(name: str, url: str = database_url) -> PushNode:
        opened = open_context("pusher", "pusher", CATALOG)
        contexts.append(opened)
        context = opened.__enter__()
        (folder := tmp_path / name).mkdir()
        context.log.addHandler(logging.FileHandler(folder / "log"))
        for asset in range(5):
            write_price(context.answers, asset, 10_000 + asset)
        section = PushSection(allowed_targets=("127.0.0.1/32",), ca_file=str(receiver.ca_file))
        made.append(PushNode(replace(context), url, folder, section))
        return made[-1]

    yield make
    for node in made:
        if node.child is not None and node.child.is_alive():
            node.kill()
    for opened in contexts:
        opened.__exit__(None, None, None)


Subscribe = Callable[..., tuple[int, str]]


@pytest.fixture
def subscribe(database_url: str) -> Subscribe:
    """Make a subscription; its number and secret."""

    def make(target: str, assets: int = 3, **fields: int) -> tuple[int, str]:
        names = tuple(asset.name for asset in CATALOG.assets[:assets])
        secret = make_secret(os.urandom)
        with connect(database_url, "tests", autocommit=True) as connection:
            row = connection.execute("SELECT id FROM accounts WHERE name = 'shop'").fetchone()
            if row is None:
                accounts.upsert(connection, "shop", None, None)
            made = store.create(
                connection, SubscriptionDraft(target=target, assets=names, **fields), "shop", None, secret
            )
        return made.id, secret

    return make
