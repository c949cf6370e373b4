"""The embedded PostgreSQL with real processes: made, killed in every way, started again, always one on its data."""

import contextlib
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest

from tests.support.database import DatabaseServer
from trinity.errors import StoreUnavailableError
from trinity.store.account import OsAccount, let_pass
from trinity.store.embedded import Server, embedded_url

ROOT = Path(__file__).resolve().parents[3]
OWNER = Path(__file__).with_name("owner.py")
LOG = logging.getLogger("test")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a cluster that was made and shut down."""
    made = DatabaseServer(tmp_path_factory.mktemp("pristine"))
    made.start()
    made.stop()
    return made.data_dir


@pytest.fixture
def data_dir(tmp_path: Path, pristine: Path) -> Path:
    """A copy of it, of one test's own: quicker than making another one."""
    subprocess.run(["cp", "-a", pristine / "database", tmp_path], check=True)
    return tmp_path


@contextlib.contextmanager
def _owner(data_dir: Path, **options: object) -> "Iterator[subprocess.Popen[str]]":
    """A process of its own that owns a server; killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, OWNER, data_dir], cwd=ROOT, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True, **options,  # type: ignore[call-overload]
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _server_pid(owner: "subprocess.Popen[str]") -> int:
    assert owner.stdout is not None
    return int(owner.stdout.readline().split()[0])


def _servers(data_dir: Path) -> list[int]:
    """Processes that have the cluster as their working directory: the server and all its helpers."""
    cluster = str((data_dir / "database" / "cluster").resolve())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == cluster:
                found.append(process.pid)
    return found


def _wait_until_gone(data_dir: Path) -> None:
    deadline = time.monotonic() + 30
    while _servers(data_dir):
        assert time.monotonic() < deadline, "the server lives on"
        time.sleep(0.02)


def _value(data_dir: Path) -> object:
    return _value_of(data_dir, "SELECT number FROM kept")


def _value_of(data_dir: Path, query: LiteralString) -> object:
    with psycopg.connect(embedded_url(data_dir)) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def _keep(data_dir: Path, number: int) -> None:
    with psycopg.connect(embedded_url(data_dir), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute(f"CREATE TABLE kept AS SELECT {number} AS number")


def test_a_cluster_is_made_private_and_without_a_port(database_server: DatabaseServer) -> None:
    """Nobody else enters its folder, it listens on its socket alone, and root's server is not root."""
    folder = database_server.data_dir / "database"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process = psutil.Process(database_server.server.pid)
    assert process.uids().real != 0
    assert process.net_connections("inet") == []
    assert "DATABASE_URL" not in process.environ()
    assert set(process.environ()) == {"LC_ALL", "PATH"}


def test_a_link_in_the_cluster_leads_root_nowhere(data_dir: Path, tmp_path: Path) -> None:
    """Root writes the settings into a folder of PostgreSQL's account: what lies there is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for name in ("cluster/postgresql.conf", "cluster/postgresql.conf.new", "cluster/postmaster.pid"):
        path = data_dir / "database" / name
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
    with _owner(data_dir) as owner:
        assert _server_pid(owner)
    assert victim.read_text() == "kept"
    assert not (data_dir / "database" / "cluster" / "postgresql.conf").is_symlink()
    _wait_until_gone(data_dir)
    for name, target in (("lock", tmp_path / "made"), ("cluster", tmp_path)):
        path = data_dir / "database" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(target)
        with pytest.raises(StoreUnavailableError):
            Server(data_dir, LOG).start(lambda: None)
        path.unlink()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_no_umask_and_no_copy_s_mode_keeps_the_server_from_its_data(data_dir: Path, umask: int) -> None:
    """Root writes the settings for another account; a copy of the folder may be open to everyone."""
    cluster = data_dir / "database" / "cluster"
    (cluster / "postgresql.conf").write_text("")
    cluster.chmod(0o755)
    with _owner(data_dir, umask=umask) as owner:
        assert psutil.pid_exists(_server_pid(owner))
        assert _value_of(data_dir, "SELECT 1") == 1
    assert stat.S_IMODE(cluster.stat().st_mode) == 0o700
    assert stat.S_IMODE((cluster / "postgresql.conf").stat().st_mode) == 0o600
    _wait_until_gone(data_dir)


def test_a_cluster_of_another_version_is_refused_with_both_numbers(data_dir: Path) -> None:
    """The server itself would not say which."""
    (data_dir / "database" / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StoreUnavailableError, match="made by PostgreSQL 17, this is 18"):
        Server(data_dir, LOG).start(lambda: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_copy_that_root_made_is_refused_with_the_command_that_helps(data_dir: Path) -> None:
    """`cp -r` gives the files to root, as whom PostgreSQL does not run."""
    for path in (data_dir / "database", data_dir / "database" / "cluster"):
        os.chown(path, 0, 0)
    with pytest.raises(StoreUnavailableError, match=r"chown -R \d+ "):
        Server(data_dir, LOG).start(lambda: None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 160 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", folder], capture_output=True).returncode:
        pytest.skip("only root of a real machine can mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(disk: Path) -> Path:
    path = disk / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_a_disk_that_was_full_at_the_start_costs_nothing_but_time(pristine: Path, small_disk: Path) -> None:
    """A new cluster is made when there is room; one that was killed is read with the disk full, as its settings are."""
    filler = _fill(small_disk)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        Server(small_disk, LOG).start(lambda: None)
    filler.unlink()
    subprocess.run(["cp", "-a", pristine / "database", small_disk], check=True)
    with _owner(small_disk) as first:
        server = _server_pid(first)
        _keep(small_disk, 4)
        os.kill(server, signal.SIGKILL)
        assert first.wait(20) == 0
    filler = _fill(small_disk)
    with _owner(small_disk) as full:
        _server_pid(full)
        assert _value(small_disk) == 4, "what is there can be read, and room be made"
        full.terminate()
        full.wait(20)
    _wait_until_gone(small_disk)
    filler.unlink()
    with _owner(small_disk) as second:
        _server_pid(second)
        assert _value(small_disk) == 4
    _wait_until_gone(small_disk)


def test_the_end_of_the_owner_by_sigkill_ends_the_server_in_order(data_dir: Path) -> None:
    """The next owner finds what was committed; at no time do two servers work on the data."""
    with _owner(data_dir) as first:
        server = _server_pid(first)
        _keep(data_dir, 1)
        first.kill()
        with _owner(data_dir) as second:
            assert _server_pid(second) != server
            assert not _runs(server)
            assert _value(data_dir) == 1
    _wait_until_gone(data_dir)


def test_the_servers_death_by_sigkill_ends_the_owner_and_loses_nothing(data_dir: Path) -> None:
    """Its supervisor starts the next one, which recovers; helpers that outlive the server are waited for."""
    with _owner(data_dir) as first:
        server = _server_pid(first)
        _keep(data_dir, 2)
        os.kill(server, signal.SIGKILL)
        assert first.wait(20) == 0
    with _owner(data_dir) as second:
        _server_pid(second)
        assert _value(data_dir) == 2
        second.terminate()
        assert second.wait(20) == 0
    assert _servers(data_dir) == []


def test_a_server_that_is_still_there_is_waited_for(data_dir: Path) -> None:
    """A server that cannot end (it is stopped) keeps its data; the next start waits instead of adding a second."""
    with _owner(data_dir) as first:
        server = _server_pid(first)
        os.kill(server, signal.SIGSTOP)
        first.kill()
        first.wait(20)
        with _owner(data_dir) as second:
            waited = Server(data_dir, LOG)
            turns = iter(range(10))
            with pytest.raises(StopIteration):
                waited.start(lambda: next(turns) and None)
            assert {pid for pid in _servers(data_dir) if os.getpgid(pid) == os.getpgid(server)} >= {server}
            os.kill(server, signal.SIGCONT)
            assert _server_pid(second) != server
    _wait_until_gone(data_dir)


def test_a_number_that_another_program_has_by_now_holds_up_nothing(data_dir: Path) -> None:
    """After a power cut postmaster.pid may name any living process, here this one."""
    (data_dir / "database" / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n1\n5432\n\n\n1 1\n")
    with _owner(data_dir) as owner:
        assert _server_pid(owner) > 0
    _wait_until_gone(data_dir)


@pytest.mark.parametrize("name", ["with space, 'quote', \"two\" and\nline", "a" * 120], ids=["odd", "long"])
def test_any_path_will_do(data_dir: Path, name: str) -> None:
    """Odd characters are quoted; a path too long for a socket gets one elsewhere, in a private folder."""
    odd = data_dir / name
    odd.mkdir()
    (data_dir / "database").rename(odd / "database")
    with _owner(odd) as owner:
        _server_pid(owner)
        _keep(odd, 3)
        assert _value(odd) == 3
    _wait_until_gone(odd)


def test_a_start_that_was_killed_in_the_middle_leaves_no_half_cluster(tmp_path: Path) -> None:
    """Whatever initdb had done is removed by the next start."""
    with _owner(tmp_path) as first:
        deadline = time.monotonic() + 30
        while not list((tmp_path / "database").glob("unfinished-*/PG_VERSION")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        first.kill()
    assert not (tmp_path / "database" / "cluster").exists()
    with _owner(tmp_path) as second:
        assert _server_pid(second) > 0
        assert list((tmp_path / "database").glob("unfinished-*")) == []
    _wait_until_gone(tmp_path)


def test_broken_data_are_reported_and_left_alone(data_dir: Path) -> None:
    """A cluster without its control file is not made anew; the server's own words say what is wrong."""
    (data_dir / "database" / "cluster" / "global" / "pg_control").unlink()
    server = Server(data_dir, LOG)
    server.start(lambda: None)
    while server.exit_code() is None:
        server.pass_on_log(20)
    assert server.exit_code() != 0
    assert "pg_control" in server.failure_message()


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    """The path is in the message."""
    (tmp_path / "database").write_text("a file")
    with pytest.raises(StoreUnavailableError, match="database"):
        Server(tmp_path, LOG).start(lambda: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_an_ordinary_user_runs_it_as_themselves(tmp_path: Path) -> None:
    """The folder and the server are theirs."""
    visitor = pwd.getpwnam("nobody")
    os.chown(tmp_path, visitor.pw_uid, visitor.pw_gid)
    let_pass(tmp_path, OsAccount(visitor.pw_uid, visitor.pw_gid))
    identity = {"user": visitor.pw_uid, "group": visitor.pw_gid, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import psycopg"], check=True, capture_output=True, **identity)  # type: ignore[call-overload]
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("another user does not reach this Python")
    with _owner(tmp_path, **identity) as owner:
        assert psutil.Process(_server_pid(owner)).uids().real == visitor.pw_uid
        owner.terminate()
        assert owner.wait(20) == 0
    assert (tmp_path / "database").stat().st_uid == visitor.pw_uid


def _runs(pid: int) -> bool:
    """Whether it lives; an orphan that ended waits for the machine's first process to collect it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
