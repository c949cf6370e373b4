"""workers/ledger/route.py: two kinds of records side by side in one process."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.contexts import open_context
from tests.workers.ledger.ledger_fixture import NODE, fill, make_records, make_ring, one
from tests.workers.ledger.test_delivery_tables import deliver
from tests.workers.ledger.test_loader import _until
from trinity.config import LedgerSection, NodeSection
from trinity.markets import load_catalog
from trinity.memory.delivery_ring import DeliveryRing
from trinity.observe.metrics import FLUSHER
from trinity.store.connect import connect
from workers.ledger.process import run


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_kind_whose_disk_refuses_holds_up_no_other(tmp_path: Path, database_url: str) -> None:
    """Usage reaches the database while the deliveries' spool cannot be opened; then they come as well."""
    usage, folder = make_ring(tmp_path / "usage"), tmp_path / "deliveries"
    folder.mkdir()
    deliveries = DeliveryRing.open(folder / "ring-0", 0, 1024, 1000)
    (folder / "spool").write_text("a file in the folder's place")
    fill(usage, make_records(300))
    deliver(deliveries, 200)
    with contextlib.ExitStack() as undo:
        context = undo.enter_context(open_context("flusher", "flusher", load_catalog()))
        pid = os.fork()
        if pid == 0:
            try:
                node = NodeSection(data_dir=tmp_path)
                run(context, (usage, deliveries), LedgerSection(), node, NODE, database_url)
            finally:
                os._exit(0)
        block = context.block
        _until("usage", lambda: block.read_counter(FLUSHER.index("usage_rows_loaded_total")) == 300)
        _until("the alarm", lambda: block.read_gauge(FLUSHER.index("delivery_alarm")) == 1)
        assert block.read_gauge(FLUSHER.index("usage_alarm")) == 0
        (folder / "spool").unlink()
        _until("deliveries", lambda: block.read_counter(FLUSHER.index("delivery_rows_loaded_total")) == 200)
        _until("the end of the alarm", lambda: block.read_gauge(FLUSHER.index("delivery_alarm")) == 0)
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0
    with connect(database_url, "tests", autocommit=True) as connection:
        assert one(connection, "SELECT count(*) FROM push_deliveries") == 200


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_node_without_a_pusher_keeps_nothing_of_deliveries_and_has_no_alarm(
    tmp_path: Path, database_url: str
) -> None:
    """No folder, and gauges that say that nothing is wrong."""
    usage = make_ring(tmp_path / "usage")
    with contextlib.ExitStack() as undo:
        context = undo.enter_context(open_context("flusher", "flusher", load_catalog()))
        pid = os.fork()
        if pid == 0:
            try:
                run(context, (usage,), LedgerSection(), NodeSection(data_dir=tmp_path), NODE, database_url)
            finally:
                os._exit(0)
        _until("its start", lambda: context.block.read_gauge(FLUSHER.index("usage_database_up")) == 1)
        for name in ("delivery_spool_writable", "delivery_spool_synced", "delivery_database_up"):
            assert context.block.read_gauge(FLUSHER.index(name)) == 1
        assert context.block.read_gauge(FLUSHER.index("delivery_alarm")) == 0
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0
    assert not (tmp_path / "deliveries").exists()
