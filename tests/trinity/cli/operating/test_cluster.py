"""trinity/cli/operating/cluster.py"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.valkey_server import ValkeyServer
from tests.trinity.cache.test_stats import stats_of
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import CLUSTER_NODES
from trinity.cache.stats import COUNTER_NAMES, write_commands
from trinity.cli.operating.cluster import lines_of


def trinity(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "trinity", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)


@pytest.mark.parametrize(
    ("environment", "kind", "said"),
    [
        ({}, "RefusedError", "CACHE_URL is not set"),
        ({"CACHE_URL": "valkey://127.0.0.1:1"}, "CacheUnavailableError", "127.0.0.1"),
        ({"CACHE_URL": "http://:secretword@h"}, "ConfigError", "CACHE_URL"),
    ],
)
def test_without_a_cache_the_command_says_what_is_missing(environment: dict[str, str], kind: str, said: str) -> None:
    """As a typed error, for programs too, and without the password."""
    done = trinity("cluster", "--json", **environment)
    assert done.returncode == (2 if kind == "ConfigError" else 1)
    error = json.loads(done.stderr)["error"]
    assert error["kind"] == kind
    assert said in error["message"]
    assert "secretword" not in done.stderr


def test_all_nodes_are_shown_to_people_and_to_programs(valkey_server: ValkeyServer) -> None:
    """With who leads, each counter by its name, and the sum of all."""
    with valkey_server.admin() as admin:
        now = admin.time()
        for node in ("east", "west"):
            admin.zadd(CLUSTER_NODES.name(), {node: now[0] * 1000})
    client = SyncCacheClient.open(valkey_server.settings)
    for node in ("east", "west"):
        client.run(write_commands(stats_of(node, leads=node == "west")))
    client.close()
    done = trinity("cluster", CACHE_URL=valkey_server.url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["node", "east", "west", "2"]
    assert "west does the jobs" in lines[-1]
    assert "22 requests/s" in lines[-1]
    done = trinity("cluster", "show", "--json", CACHE_URL=valkey_server.url)
    nodes = json.loads(done.stdout)["nodes"]
    assert [(node["node"], node["leads"]) for node in nodes] == [("east", False), ("west", True)]
    assert set(nodes[0]["counters"]) == set(COUNTER_NAMES)


def test_a_cluster_that_is_silent_is_told_as_such() -> None:
    """Valkey was started a moment ago, or nobody lives."""
    assert lines_of([], 0) == ["no node has told of itself within the last ten seconds"]
    zeros = dict.fromkeys(COUNTER_NAMES, 0)
    head, row, total = lines_of([stats_of("a", counters=zeros, leads=False)], 90_007)
    assert "1 min" in row
    assert "nobody does the jobs" in total
    assert len(head) > 100
