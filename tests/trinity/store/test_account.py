"""The account of the embedded PostgreSQL and its passage through closed folders."""

import logging
import os
import subprocess
from pathlib import Path

import pytest

from trinity.store.account import account_for, let_pass, with_passage

LOG = logging.getLogger("test")
NO_ID = 0xFFFFFFFF
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")


def test_passage_is_added_to_a_list_without_changing_what_others_may_do() -> None:
    """The account may pass, the mask lets it, the rest stays; a second time changes nothing."""
    mode_0700 = [(0x01, 7, NO_ID), (0x04, 0, NO_ID), (0x20, 0, NO_ID)]
    once = with_passage(mode_0700, 1234)
    assert once == [(0x01, 7, NO_ID), (0x02, 1, 1234), (0x04, 0, NO_ID), (0x10, 1, NO_ID), (0x20, 0, NO_ID)]
    assert with_passage(once, 1234) == once
    assert (0x02, 1, 99) in with_passage(once, 99)
    assert (0x02, 1, 1234) in with_passage(once, 99)


@needs_root
def test_root_gets_an_account_that_is_not_root_and_existing_data_keeps_its_own(tmp_path: Path) -> None:
    """A folder of root's gets the system account; a folder of someone else's is run by that one."""
    account = account_for(tmp_path, LOG)
    assert account is not None
    assert account.uid != 0
    os.chown(tmp_path, 54321, 54321)
    assert account_for(tmp_path, LOG) == (54321, 54321)


@needs_root
def test_the_account_passes_a_closed_folder_and_nobody_else_does(tmp_path: Path) -> None:
    """A file below a 0700 folder of root's becomes reachable for the one account."""
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    (inner / "file").write_text("here")
    account = account_for(tmp_path, LOG)
    assert account is not None

    def read_as(uid: int) -> int:
        return subprocess.run(["cat", inner / "file"], user=uid, extra_groups=[], capture_output=True).returncode

    assert read_as(account.uid) != 0
    let_pass(inner / "file", account)
    assert read_as(account.uid) == 0
    assert read_as(account.uid + 1) != 0
    assert subprocess.run(["ls", closed], user=account.uid, capture_output=True).returncode != 0
