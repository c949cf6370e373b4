"""A fire: node, database and disk are lost under load; what comes back out of the backup, by the documented commands.

answers that were in the backup when it burned   each is a row afterwards, and none is there twice
answers behind that moment                       are what the RPO states; rows are never more than what was asked
afterwards                                       the node goes on under its own identity, and its ledger is exact
"""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.node.books import assert_nothing_lost, count_missing, count_rows, wait_for_ledger, wait_loaded
from tests.node.customers import crowd_of
from tests.node.harness import Node, new_node
from tests.support.backups import now

BACKED_UP_SECONDS = 60.0


@pytest.fixture
def identity(tmp_path: Path) -> pyrage.x25519.Identity:
    """It is kept elsewhere than the node and its backups."""
    made = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{made}\n")
    return made


def _trinity(node: Node, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "trinity", *arguments, "--json"],
        env=node.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # What a command refuses stands on standard error: there is no backup yet.
    content: dict[str, Any] = json.loads(done.stdout or done.stderr)
    return content


def _newest(node: Node) -> float:
    """The newest second that can be restored, as the command says it; 0: none."""
    text = _trinity(node, "backup", "status").get("newest")
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def test_after_a_fire_every_answer_that_was_backed_up_is_a_row(
    tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    """Everything but target and identity is gone; one command and a start bring the node back."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    backed_up = {
        "BACKUP_TARGET": str(target),
        "BACKUP_RECIPIENTS": str(identity.to_public()),
        "BACKUP_SHIP_SECONDS": "1",
        "BACKUP_BUNDLE_SECONDS": "5",
    }
    with new_node(tmp_path / "burning", **backed_up) as node:
        node.start()
        wait_for_ledger(node)
        node.wait("a first backup", lambda: _trinity(node, "backup", "status").get("newest"), BACKED_UP_SECONDS)
        with crowd_of(node) as crowd:
            node.wait("many answers", lambda: crowd.answers > 3_000)
            safe = crowd.ids
            node.wait("their rows", lambda: count_missing(node, safe) == 0)
            loaded_at = now() + 1
            node.wait("their backup", lambda: _newest(node) >= loaded_at, BACKED_UP_SECONDS)
            uuid = (node.data_dir / "node-uuid").read_text()
            node.kill_all()
            crowd.stop()
        shutil.rmtree(node.data_dir)
    with new_node(tmp_path / "rebuilt", **backed_up) as rebuilt:
        restored = _trinity(
            rebuilt, "restore", "--target", str(rebuilt.data_dir), "--identity", str(tmp_path / "identity")
        )
        assert restored["base"]
        assert (rebuilt.data_dir / "node-uuid").read_text() == uuid
        rebuilt.start()
        wait_for_ledger(rebuilt)
        wait_loaded(rebuilt)
        rows, ids, requests = count_rows(rebuilt)
        assert rows == ids == requests, "no answer stands twice, and the sums are those of the rows"
        assert count_missing(rebuilt, safe) == 0, "what was in the backup is there"
        assert len(safe) <= rows <= crowd.answers + crowd.unanswered, "what is lost is behind the backup's moment"
        with crowd_of(rebuilt) as later:
            rebuilt.wait("new answers", lambda: later.answers > 1_000)
        wait_loaded(rebuilt)
        assert count_rows(rebuilt) == (rows + later.answers,) * 3, "it goes on exactly"
        assert_nothing_lost(rebuilt)
        assert rebuilt.stop() == 0
