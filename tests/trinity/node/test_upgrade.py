"""A data directory and a database of an older version: this version goes on with them, an older one refuses ours.

tests/node/past_nodes/f0389e2.tar.xz was made by the code of commit f0389e2 (its maker is inside): a database with an
account, a key of which the plain text is known, and 300 loaded usage records; a ring with 200 that nobody has read yet;
the keys' snapshot; the node's identity.
"""

import hashlib
import json
import logging
import os
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.patience import PATIENCE
from tests.workers.ledger.ledger_fixture import one, totals
from trinity.access.keys import find
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config, LedgerSection, NodeSection, RequestSection
from trinity.errors import ConfigError, SnapshotError
from trinity.markets import load_catalog
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.node.composition import create_memory, prepare_rings
from trinity.node.data_dir import DATA_LAYOUT, VersionStamp, check_stamp, node_uuid
from trinity.node.plan import NodePlan
from trinity.node.roles import card_of
from trinity.process import ProcessContext
from trinity.store import migrate
from trinity.store.connect import connect
from trinity.store.embedded import PROGRAMS
from trinity.version import version
from workers.access.snapshot import FILE_NAME, load
from workers.ledger.process import run

PAST = Path(__file__).resolve().parents[2] / "node" / "past_nodes" / "f0389e2.tar.xz"
LOG = logging.getLogger("tests.upgrade")


@pytest.fixture
def past(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The data directory, and what its maker knew of it; what waits in its ring is of this minute."""
    with tarfile.open(PAST) as packed:
        packed.extractall(tmp_path, filter="data")
    facts: dict[str, Any] = json.loads((tmp_path / "facts.json").read_text())
    ring = tmp_path / "usage" / "ring-0"
    words = np.fromfile(ring, dtype=np.uint64)
    records = words[words.size - 1024 * RECORD_DTYPE.itemsize // words.itemsize :].view(RECORD_DTYPE)
    shift = SystemClock().wall_ns() - facts["evening_ns"] - 10 * NS_PER_SECOND
    records["time_ns"][records["time_ns"] > 0] += shift
    words.tofile(ring)
    return tmp_path, facts


@pytest.fixture
def past_database_url(past: tuple[Path, dict[str, Any]], empty_database_url: str) -> str:
    """The database as it was."""
    loading = [str(PROGRAMS / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_database_url]
    subprocess.run([*loading, "-f", str(past[0] / "database.sql")], check=True, capture_output=True)
    return empty_database_url


@pytest.fixture
def node(past: tuple[Path, dict[str, Any]]) -> Iterator[tuple[NodePlan, NodeMemory]]:
    """Memory of a node that starts on that directory."""
    data_dir, _ = past
    section = NodeSection(name=f"t-{uuid.uuid4().hex[:10]}", data_dir=data_dir)
    config = Config(node=section, request=RequestSection(workers=1), ledger=LedgerSection(ring_records=1024))
    plan = NodePlan(config, load_catalog(), False, node_uuid(data_dir))
    memory = create_memory(card_of(plan), config)
    yield plan, memory
    memory.unlink()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_old_node_goes_on_with_its_ledger_and_keys(
    past: tuple[Path, dict[str, Any]], past_database_url: str, node: tuple[NodePlan, NodeMemory]
) -> None:
    """Its tables are brought forward, nothing that they held is lost, what waited in a ring arrives, a key is known."""
    (data_dir, facts), (plan, memory) = past, node
    check_stamp(data_dir, version(), list(migrate.digests(migrate.FOLDER)))
    assert migrate.ensure(past_database_url).is_current
    with connect(past_database_url, "tests") as connection:
        assert totals(connection) == facts["totals"]
        key, digest = find(connection, facts["key_id"]), hashlib.sha256(facts["key"].encode()).digest()
        assert (key.account, facts["key"].startswith(key.prefix)) == ("past", True)
        assert one(connection, "SELECT digest FROM api_keys WHERE id = 1") == digest
    # The snapshot's form is another one since: it is made anew from the database, so an upgrade needs that once.
    with pytest.raises(SnapshotError, match="replaced once the database answers"):
        load(data_dir / FILE_NAME)
    rings = prepare_rings(plan.config, memory, SystemClock(), LOG)
    assert not list((data_dir / "usage").glob("*.unreadable"))
    index = [entry.kind for entry in memory.card.processes].index("flusher")
    context = ProcessContext.of(memory, index, SystemClock(), os.eventfd(0, os.EFD_NONBLOCK))
    pid = os.fork()
    if pid == 0:
        try:
            run(context, rings.usage, plan.config.ledger, plan.config.node, plan.node_uuid, past_database_url)
        finally:
            os._exit(0)
    try:
        wanted = {name: count + facts["in_ring"] for name, count in facts["totals"].items()}
        never = threading.Event()
        for _ in range(round(20 * PATIENCE / 0.1)):
            with connect(past_database_url, "tests") as connection:
                found = totals(connection)
                # Of refusals without a key not all have a row any more; the batches say how many have none.
                sampled = one(connection, "SELECT sum(sampled)::int FROM usage_batches")
            found |= {name: found[name] + sampled for name in ("rows", "ids")}
            if found == wanted:
                break
            never.wait(0.1)
        assert found == wanted
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """By its files' layout or its tables; said with both versions, and nothing is changed."""
    known = list(migrate.digests(migrate.FOLDER))
    check_stamp(tmp_path, "1.0", known)
    check_stamp(tmp_path, "1.1", known)
    check_stamp(tmp_path, "1.0", known)
    stamp = tmp_path / "version.json"
    for newer in (
        VersionStamp("2.0", DATA_LAYOUT + 1, tuple(known)),
        VersionStamp("2.0", DATA_LAYOUT, (*known, "9999-later")),
    ):
        stamp.write_bytes(msgspec.json.encode(newer))
        before = stamp.read_bytes()
        with pytest.raises(ConfigError, match=r"last used by version 2\.0, which is newer than this one \(1\.0\)"):
            check_stamp(tmp_path, "1.0", known)
        assert stamp.read_bytes() == before


def test_a_stamp_that_is_none_is_no_permission(tmp_path: Path) -> None:
    """Garbage may be anybody's."""
    (tmp_path / "version.json").write_text("{")
    with pytest.raises(ConfigError, match=r"version\.json is unreadable"):
        check_stamp(tmp_path, "1.0", [])
