"""workers/backup/drills.py"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backups import CLOCK, IDENTITY, LOG, BackedUp, wait_for
from tests.support.contexts import OpenContext, open_context
from tests.support.shipping import Shipping
from trinity.backup.base import Origin
from trinity.errors import RestoreError
from trinity.markets import load_catalog
from trinity.observe.metrics import BACKUP
from trinity.store import migrate
from workers.backup.drills import Drills


@pytest.fixture
def context() -> Iterator[OpenContext]:
    with open_context("backup", "backup", load_catalog()) as opened:
        yield opened


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    with BackedUp(tmp_path_factory.mktemp("drills")) as made:
        migrate.ensure(made.url)
        made.base()
        shipping = Shipping(made)
        shipping.start()
        (made.folder / "identity").write_text(str(IDENTITY))
        yield made
        shipping.stop()


def _drills(backed_up: BackedUp, context: OpenContext, identity: Path | None) -> Drills:
    origin = Origin(backed_up.url, True, backed_up.scratch, [IDENTITY.to_public()])
    path = str(identity) if identity is not None else ""
    return Drills(origin, backed_up.target, path, context.block, CLOCK, LOG)


def _gauge(context: OpenContext, name: str) -> float:
    return context.block.read_gauge(BACKUP.index(name))


def test_a_drill_that_is_due_runs_by_itself_once_and_is_shown(backed_up: BackedUp, context: OpenContext) -> None:
    """Not before there is a base; a process that starts later shows what the last one found, and drills no more."""
    drills = _drills(backed_up, context, backed_up.folder / "identity")
    drills.look(backed_up.connection, may_begin=False)
    assert _gauge(context, "drill_running") == 0
    assert _gauge(context, "drill_last_age_seconds") == -1
    drills.look(backed_up.connection, may_begin=True)
    assert _gauge(context, "drill_running") == 1

    def is_over() -> bool:
        drills.look(backed_up.connection, may_begin=True)
        return _gauge(context, "drill_running") == 0

    wait_for(is_over, 120)
    assert context.block.read_counter(BACKUP.index("drill_runs_total", "good")) == 1
    assert _gauge(context, "drill_failing") == _gauge(context, "drill_differences") == 0
    assert 0 < _gauge(context, "drill_rto_seconds") < 120
    assert 0 <= _gauge(context, "drill_last_age_seconds") < 120
    with open_context("backup", "backup", load_catalog()) as later:
        another = _drills(backed_up, later, backed_up.folder / "identity")
        another.look(backed_up.connection, may_begin=True)
        assert _gauge(later, "drill_running") == 0
        assert _gauge(later, "drill_rto_seconds") == _gauge(context, "drill_rto_seconds")


def test_an_identity_that_is_none_stops_drills_and_nothing_else(backed_up: BackedUp, context: OpenContext) -> None:
    """An error of the drill's own step, which the backups outlive; without any identity there is not even that."""
    backed_up.connection.execute("DELETE FROM drills")
    wrong = backed_up.folder / "wrong"
    wrong.write_text("no identity")
    with pytest.raises(RestoreError, match="no drill"):
        _drills(backed_up, context, wrong).look(backed_up.connection, may_begin=True)
    _drills(backed_up, context, None).look(backed_up.connection, may_begin=True)
    assert _gauge(context, "drill_running") == 0
