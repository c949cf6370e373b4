"""A whole node whose callers need keys: what the operator types reaches every worker, with and without the database."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.node.harness import Node, new_node
from trinity.store.embedded import embedded_url

# Two workers share the port: so many connections do not all end at one of them.
CONNECTIONS = 24
# The largest file that is searched for a key: the database's write-ahead log has 16 MB a file.
SEARCHED_BYTES_MAX = 32 * 1024 * 1024
NOWHERE = "postgresql:///trinity?host=/nonexistent"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A demo that asks for keys, behind a trusted proxy on loopback."""
    with new_node(tmp_path_factory.mktemp("keyed"), AUTH="required", TRUSTED_PROXIES="127.0.0.1") as node:
        node.start()
        node.wait_ready()
        wait_for_database(node)
        yield node
        node.stop()


def trinity(node: Node, *words: str) -> dict[str, Any]:
    """Type a command beside the node; its object."""
    run = subprocess.run(
        [sys.executable, "-m", "trinity", *words, "--json"],
        env=node.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def create_key(node: Node, *words: str) -> tuple[str, str]:
    """A new key and its number."""
    made = trinity(node, "keys", "create", "--account", "acme", "--plan", "unlimited", *words)
    return made["api_key"], str(made["key"]["id"])


def ask(node: Node, key: str = "", **headers: str) -> tuple[int, str]:
    """One request on a connection of its own: status, and the code of a refusal."""
    sent = headers | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(f"http://127.0.0.1:{node.ports['TCP_PORT_LPO']}/price?asset=BTC", headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read())["error"]["code"])


def wait_for(node: Node, what: str, status: int, code: str, key: str = "", **headers: str) -> None:
    """Until every worker answers so."""
    wanted = {(status, code)}
    node.wait(what, lambda: {ask(node, key, **headers) for _ in range(CONNECTIONS)} == wanted)


def metric(node: Node, name: str) -> float:
    lines = node.text("/metrics", "HEALTH_PORT_LPO").splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), -1.0)


def wait_for_database(node: Node) -> None:
    node.wait("keys out of the database", lambda: metric(node, "trinity_access_database_up") == 1.0, 60)


def test_what_the_operator_types_reaches_every_worker(keyed: Node) -> None:
    """A key is created, suspended, resumed and revoked; each time all workers follow."""
    assert ask(keyed) == (401, "missing_key")
    assert ask(keyed, "trk_nobody") == (401, "invalid_key")
    key, number = create_key(keyed)
    wait_for(keyed, "the new key", 200, "", key)
    for word, status, code in (
        ("suspend", 403, "key_suspended"),
        ("resume", 200, ""),
        ("revoke", 403, "key_revoked"),
    ):
        trinity(keyed, "keys", word, number, *(["--yes"] if word == "revoke" else []))
        wait_for(keyed, word, status, code, key)


def test_a_rotated_key_ends_after_its_grace(keyed: Node) -> None:
    """With one both work; when it is over only the new one does, with nobody typing anything."""
    old, number = create_key(keyed)
    new = trinity(keyed, "keys", "rotate", number, "--grace", "5s")["api_key"]
    wait_for(keyed, "the new key", 200, "", new)
    wait_for(keyed, "the end of the old key", 403, "key_revoked", old)
    assert ask(keyed, new) == (200, "")


def test_limits_of_a_plan_reach_its_keys(keyed: Node) -> None:
    """A plan that is made narrower refuses at once, in a dry run it only counts."""
    trinity(keyed, "plans", "set", "narrow", "--rate", "1", "--burst", "1000", "--quota", "0")
    key, number = create_key(keyed)
    trinity(keyed, "keys", "limit", number, "--plan", "narrow")
    wait_for(keyed, "the key", 200, "", key)
    trinity(keyed, "plans", "set", "narrow", "--burst", "1")
    keyed.wait("the limit", lambda: ask(keyed, key) == (429, "rate_limited"))
    trinity(keyed, "plans", "set", "narrow", "--dry-run", "on")
    wait_for(keyed, "the dry run", 200, "", key)


def test_a_blocked_network_is_refused_by_every_worker(keyed: Node) -> None:
    """Also with a good key, until it is unblocked; loopback is never blocked."""
    key, _ = create_key(keyed)
    customer = {"X-Forwarded-For": "203.0.113.77"}
    wait_for(keyed, "the key", 200, "", key, **customer)
    trinity(keyed, "block", "203.0.113.0/24", "--reason", "test")
    wait_for(keyed, "the block", 403, "address_blocked", key, **customer)
    assert ask(keyed, key) == (200, "")
    trinity(keyed, "unblock", "203.0.113.0/24")
    wait_for(keyed, "the end of the block", 200, "", key, **customer)
    with psycopg.connect(embedded_url(keyed.data_dir), autocommit=True) as connection:
        connection.execute("INSERT INTO blocks (network) VALUES ('127.0.0.0/8')")  # past the command's own check
        keyed.wait("the refusal of the block", lambda: metric(keyed, "trinity_access_blocks_refused") == 1.0)
        assert ask(keyed, key) == (200, "")
        connection.execute("DELETE FROM blocks")


def test_a_lost_connection_to_the_database_misses_no_change(keyed: Node) -> None:
    """The listener is thrown out; the change that it did not hear of arrives all the same."""
    key, number = create_key(keyed)
    wait_for(keyed, "the key", 200, "", key)
    with psycopg.connect(embedded_url(keyed.data_dir), autocommit=True) as connection, connection.transaction():
        connection.execute("UPDATE api_keys SET state = 'revoked' WHERE id = %s", [number])
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity access'"
        assert connection.execute(query).fetchall() == [(True,)]
    wait_for(keyed, "the revocation", 403, "key_revoked", key)


def test_no_key_stands_anywhere(keyed: Node) -> None:
    """Logs, output, metrics, health, process lists, the database's files and the snapshot hold at most its prefix."""
    key, number = create_key(keyed, "--name", "searched")
    wait_for(keyed, "the key", 200, "", key)
    assert ask(keyed, key + "x") == (401, "invalid_key")
    trinity(keyed, "keys", "show", number)
    trinity(keyed, "keys", "suspend", number)
    wait_for(keyed, "the suspension", 403, "key_suspended", key)
    secret = key.removeprefix("trk_")[12:].encode()
    assert [path for path, content in _contents(keyed.data_dir) if secret in content] == []
    assert any(key[:12].encode() in content for _, content in _contents(keyed.data_dir / "database"))
    shown = keyed.text("/metrics", "HEALTH_PORT_LPO") + keyed.text("/health", "HEALTH_PORT_LPO")
    assert secret.decode() not in shown
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret not in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All files of the node but the compiled code; one that was loaded and removed meanwhile has nothing any more."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "compiled"]
        for path in (Path(parent) / name for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_size <= SEARCHED_BYTES_MAX:
                    yield path, path.read_bytes()


def test_a_start_without_the_database_knows_the_keys_of_the_snapshot(tmp_path: Path) -> None:
    """Good keys are answered and wrong ones refused; with a broken snapshot it says that it knows none, and answers
    prices again as soon as the database is there."""
    with new_node(tmp_path / "data", AUTH="required") as node:
        node.start()
        node.wait_ready()
        wait_for_database(node)
        key, number = create_key(node)
        suspended, other = create_key(node)
        trinity(node, "keys", "suspend", other)
        wait_for(node, "the suspension", 403, "key_suspended", suspended)
        assert node.stop() == 0
        embedded = dict(node.environment)
        node.environment["DATABASE_URL"] = NOWHERE
        node.start()
        node.wait_ready()
        wait_for(node, "the key", 200, "", key)
        assert ask(node, suspended) == (403, "key_suspended")
        assert ask(node, "trk_nobody") == (401, "invalid_key")
        assert metric(node, "trinity_access_database_up") == 0.0
        assert node.stop() == 0
        snapshot = node.data_dir / "access.snapshot"
        raw = bytearray(snapshot.read_bytes())
        raw[len(raw) // 2] ^= 1
        snapshot.write_bytes(raw)
        node.start()
        node.wait_ready()
        wait_for(node, "the refusal", 503, "keys_unavailable", key)
        assert metric(node, "trinity_access_snapshot_errors_total") == 1.0
        assert node.stop() == 0
        node.environment = embedded
        node.start()
        node.wait_ready()
        wait_for(node, "the key", 200, "", key)
        trinity(node, "keys", "revoke", number, "--yes")
        wait_for(node, "the revocation", 403, "key_revoked", key)
        assert node.stop() == 0
