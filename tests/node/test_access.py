"""A whole node with keys, as its operator and its customers see it: the command line, three protocols, the ledger."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.node.harness import Node, new_node
from trinity.client import Client, OracleError
from trinity.memory.usage_ring import UsageRing
from trinity.outcomes import CODES

# Changes must reach every worker within 1 s; the rest is for a machine that runs other tests beside.
REACHED_SECONDS = 1.0 + 9.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node with simulated exchanges that answers keys only."""
    with new_node(tmp_path_factory.mktemp("access"), AUTH="required") as started:
        started.start()
        started.wait_ready()
        started.wait("the keys to be loaded", lambda: code_over_http(started, "guess") == "invalid_key", 60)
        yield started
        assert started.stop() == 0


def run(node: Node, *arguments: str) -> dict[str, Any]:
    """`trinity <arguments> --json` beside the node."""
    command = [sys.executable, "-m", "trinity", *arguments, "--json"]
    done = subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def make_key(node: Node, account: str, *limits: str) -> tuple[str, str]:
    """A new key that the workers know already, and its number."""
    made = run(node, "keys", "create", "--account", account, "--plan", "unlimited", *limits)
    key = str(made["api_key"])
    node.wait("the new key", lambda: code_over_http(node, key) == "ok", REACHED_SECONDS)
    return key, str(made["key"]["id"])


def ask(node: Node, key: str, target: str = "/price?asset=BTC") -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of one request with a key."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.ports['TCP_PORT_LPO']}{target}", headers={"X-API-Key": key}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), dict(error.headers)


def code_over_http(node: Node, key: str) -> str:
    code: str = ask(node, key)[1].get("error", {}).get("code", "ok")
    return code


def records_of(node: Node) -> np.ndarray[Any, Any]:
    """What is in the workers' rings now."""
    paths = sorted((node.data_dir / "usage").glob("ring-*"))
    rings = [UsageRing.open(path, i, 1, 0) for i, path in enumerate(paths)]
    return np.concatenate([ring.read(ring.released, ring.capacity) for ring in rings])


def test_a_customer_asks_with_the_key_that_the_operator_made(node: Node) -> None:
    """Over all protocols, and without a key over none."""
    key, _ = make_key(node, "ada")
    ports = node.ports["TCP_PORT_LPO"], node.ports["UDP_PORT_LPO"]
    for via in ("http", "text", "binary"):
        prices = Client("127.0.0.1", *ports, timeout=2, api_key=key).prices("BTC", "ETH", via=via)
        assert [price["status"] for price in prices] == ["fresh", "fresh"]
        with pytest.raises(OracleError) as caught:
            Client("127.0.0.1", *ports, timeout=2).prices("BTC", via=via)
        assert caught.value.args[0] == "missing_key"
    assert node.ask(f"BTC key={key}".encode())["asset"] == "BTC"
    assert node.get("/health")[0] == 200


def test_what_the_operator_does_to_a_key_reaches_every_worker(node: Node) -> None:
    """Suspended, good again, over its limit, revoked; a rotated key's successor works."""
    key, number = make_key(node, "grace")
    for command, code in (("suspend", "key_suspended"), ("resume", "ok")):
        run(node, "keys", command, number)
        node.wait(f"the key to be {command}ed", lambda code=code: code_over_http(node, key) == code, REACHED_SECONDS)
    successor = run(node, "keys", "rotate", number)["api_key"]
    node.wait("the successor", lambda: code_over_http(node, str(successor)) == "ok", REACHED_SECONDS)
    run(node, "keys", "limit", number, "--rate", "1", "--burst", "1")
    status, _, headers = node.wait("the limit", lambda: _refused_for_its_rate(node, key), REACHED_SECONDS)
    assert (status, headers["Retry-After"], headers["RateLimit-Policy"]) == (429, "1", '"second";q=1;w=1')
    run(node, "keys", "revoke", number)
    node.wait("the end of the key", lambda: code_over_http(node, key) == "key_revoked", REACHED_SECONDS)


def _refused_for_its_rate(node: Node, key: str) -> Any:
    found = ask(node, key)
    return found if found[0] == 429 else None


def test_wrong_keys_are_refused_whatever_their_bytes(node: Node) -> None:
    """Bytes beyond ASCII in every place give 401, and the workers live on."""
    _, number = make_key(node, "alan")
    assert number
    high = bytes(range(0x80, 0x100))
    for head in (b"X-API-Key: " + high, b"Authorization: Bearer " + high, b"X-API-Key: \xff"):
        with socket.create_connection(("127.0.0.1", node.ports["TCP_PORT_LPO"]), timeout=5) as client:
            client.sendall(b"GET /assets HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert node.ask(b"BTC key=" + high)["error"]["code"] == "invalid_key"
    assert "oracle_internal_errors_total 0" in _metric(node, "oracle_internal_errors_total")


def _metric(node: Node, name: str) -> str:
    """The metric's lines without labels, summed up."""
    lines = node.text("/metrics", "HEALTH_PORT_LPO").splitlines()
    total = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
    return f"{name} {total:.0f}"


def test_no_key_is_written_down_anywhere(node: Node) -> None:
    """Neither good nor wrong keys stand in logs, output, metrics or shared files of the data directory."""
    key, _ = make_key(node, "edsger")
    wrong = "trk_never-to-be-seen-again"
    assert code_over_http(node, wrong) == "invalid_key"
    assert node.get(f"/price?asset=BTC&api_key={wrong}")[0] == 401
    texts = [path.read_bytes() for path in node.data_dir.rglob("*.log*") if path.is_file()]
    texts += [node.output().encode(), node.text("/metrics", "HEALTH_PORT_LPO").encode()]
    texts += [path.read_bytes() for path in (node.data_dir / "usage").glob("ring-*")]
    for secret in (key.encode(), wrong.encode()):
        assert all(secret not in text for text in texts)


def test_each_answer_has_its_row_under_the_id_that_the_client_saw(node: Node) -> None:
    """A refusal and a price are found in a worker's ring, or behind it, by their request ids."""
    key, number = make_key(node, "barbara")
    seen = {}
    for asked, code in ((key, "ok"), ("wrong", "invalid_key")):
        seen[int(ask(node, asked)[2]["X-Request-Id"], 16)] = (int(number) if code == "ok" else 0, CODES.index(code))
    assert all(request_id >> 63 == 0 for request_id in seen)
    rows = {int(row["request_id"]): (int(row["key_id"]), int(row["code"])) for row in records_of(node)}
    for request_id, expected in seen.items():
        assert rows.get(request_id, expected) == expected  # a flusher may have taken it already
