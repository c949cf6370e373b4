"""A whole node with keys, as its operator and its customers see it: the command line, three protocols, the ledger."""

import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.node.harness import START_SECONDS, Node, new_node
from trinity.client import Client, OracleError
from trinity.memory.usage_ring import UsageRing
from trinity.store.embedded import embedded_url
from trinity.vocabulary import CODES
from workers.access import snapshot

# Changes must reach every worker within 1 s, which one test measures; the rest is for a machine that runs other tests.
REACHED_SECONDS = 1.0 + 4.0
# Two workers share the port: so many connections do not all end at one of them.
CONNECTIONS = 16


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node with simulated exchanges that answers keys only."""
    with new_node(tmp_path_factory.mktemp("access"), AUTH="required") as started:
        start_with_keys(started)
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
        with urllib.request.urlopen(request, timeout=30) as response:
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
        prices = Client("127.0.0.1", *ports, timeout=20, api_key=key).prices("BTC", "ETH", via=via)
        assert [price["status"] for price in prices] == ["fresh", "fresh"]
        with pytest.raises(OracleError) as caught:
            Client("127.0.0.1", *ports, timeout=20).prices("BTC", via=via)
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
    run(node, "keys", "revoke", number, "--yes")
    node.wait("the end of the key", lambda: code_over_http(node, key) == "key_revoked", REACHED_SECONDS)


def test_a_change_reaches_every_worker(node: Node) -> None:
    """From the commit in the database to the last of many connections, six times, without a restart."""
    key, number = make_key(node, "donald")
    with psycopg.connect(embedded_url(node.data_dir), autocommit=True) as connection:
        for state, code in (("suspended", "key_suspended"), ("active", "ok")) * 3:
            connection.execute("UPDATE api_keys SET state = %s WHERE id = %s", [state, number])
            reached = lambda code=code: {code_over_http(node, key) for _ in range(CONNECTIONS)} == {code}  # noqa: E731
            node.wait(f"the key to be {state}", reached, REACHED_SECONDS)


def test_a_plan_s_rate_is_what_many_connections_get_together(node: Node) -> None:
    """Never more than burst and rate allow, and that goes on coming: 16 connections to both workers and the reports."""
    rate, burst, wanted = 50, 20, 120
    key, _ = make_key(node, "margaret", "--rate", str(rate), "--burst", str(burst))
    admitted: list[bool] = []
    started = time.monotonic()

    def ask_on(port: int, target: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while sum(admitted) < wanted and time.monotonic() < started + START_SECONDS:
            connection.request("GET", target, headers={"X-API-Key": key})
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 429)
            admitted.append(response.status == 200)
        connection.close()

    places = [(node.ports["TCP_PORT_LPO"], "/price?asset=BTC")] * CONNECTIONS
    places += [(node.ports["TCP_PORT_LRS"], "/api/v3/simple/price?ids=bitcoin&vs_currencies=usd")] * 2
    with ThreadPoolExecutor(len(places)) as pool:
        for asking in [pool.submit(ask_on, *place) for place in places]:
            asking.result()
    seconds = time.monotonic() - started
    assert wanted <= sum(admitted) <= burst + rate * seconds + 1
    assert not all(admitted), "asked more often than allowed"


def test_what_a_key_has_used_outlives_the_death_of_the_whole_node(fresh_node: Node) -> None:
    """The quota is spent, every process gets SIGKILL, the node starts again: the month is spent, on both ports."""
    fresh_node.environment["AUTH"] = "required"
    start_with_keys(fresh_node)
    key, number = make_key(fresh_node, "katherine")
    run(fresh_node, "keys", "limit", number, "--quota", "20")
    fresh_node.wait("the end of the quota", lambda: code_over_http(fresh_node, key) == "quota_exceeded", 30)
    # What a key was granted in the last half second may be missing from the snapshot, until the database is asked.
    fresh_node.wait("the snapshot", lambda: _quota_in_snapshot(fresh_node, int(number)) == 20, 30)
    fresh_node.kill_all()
    start_with_keys(fresh_node)
    assert {code_over_http(fresh_node, key) for _ in range(CONNECTIONS)} == {"quota_exceeded"}
    _, refused = fresh_node.wait(
        "the reports", lambda: _of_reports(fresh_node, f"/node/asset?asset=BTC&api_key={key}"), 60
    )
    assert refused["code"] == "quota_exceeded"
    assert fresh_node.stop() == 0


def _quota_in_snapshot(node: Node, key_id: int) -> int:
    found = snapshot.load(node.data_dir / snapshot.FILE_NAME)
    return int(found.keys["monthly_quota"][found.keys["id"] == key_id].max(initial=0)) if found else 0


def _of_reports(node: Node, target: str) -> Any:
    found = node.get(target, "TCP_PORT_LRS")
    return found if found[0] == 429 else None


def start_with_keys(node: Node) -> None:
    node.start()
    node.wait_ready()
    node.wait("the keys to be loaded", lambda: code_over_http(node, "guess") == "invalid_key", 60)


def _refused_for_its_rate(node: Node, key: str) -> Any:
    found = ask(node, key)
    return found if found[0] == 429 else None


def test_wrong_keys_are_refused_whatever_their_bytes(node: Node) -> None:
    """Bytes beyond ASCII in every place give 401, and the workers live on."""
    _, number = make_key(node, "alan")
    assert number
    high = bytes(range(0x80, 0x100))
    for head in (b"X-API-Key: " + high, b"Authorization: Bearer " + high, b"X-API-Key: \xff"):
        with socket.create_connection(("127.0.0.1", node.ports["TCP_PORT_LPO"]), timeout=30) as client:
            client.sendall(b"GET /assets HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert node.ask(b"BTC key=" + high)["error"]["code"] == "invalid_key"
    assert "trinity_internal_errors_total 0" in _metric(node, "trinity_internal_errors_total")


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
    for secret in (key, wrong):
        node.get(f"/account?api_key={secret}", "TCP_PORT_LRS")
        assert node.ask(b'{"asset":"BTC","%b":1,"api_key":"%b"}' % ((secret.encode(),) * 2))["error"]["code"]
    logs = {path.name: path.read_bytes() for path in (node.data_dir / "logs").iterdir()}
    assert {"supervisor.jsonl", "access.jsonl", "worker-0.jsonl", "worker-1.jsonl", "reporter-0.jsonl"} <= set(logs)
    assert all(b'"event"' in text for text in logs.values())
    texts = [*logs.values(), *(path.read_bytes() for path in node.data_dir.rglob("*.log*") if path.is_file())]
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
