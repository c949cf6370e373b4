"""workers/api/dashboard/cluster.py"""

from pathlib import Path

import httpx

from tests.support.valkey_server import ValkeyServer
from tests.trinity.cache.test_stats import stats_of
from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from trinity.cache.keys import CLUSTER_NODES
from trinity.cache.stats import COUNTER_NAMES, write_commands


async def test_the_cluster_is_the_operator_s_alone(optional_client: httpx.AsyncClient) -> None:
    """A node without a cache says that it is alone."""
    assert (await optional_client.get("/cluster")).status_code == 403
    told = (await optional_client.get("/cluster", headers={"X-API-Key": ADMIN_KEY})).json()
    assert (told["cache"], told["nodes"]) == ("off", [])
    assert "CACHE_URL" in told["reason"]


async def test_all_nodes_are_told_with_their_counters_and_an_outage_as_such(
    valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    """From any node, whether it is among them or not; when Valkey goes, the answer is still an answer."""
    with valkey_server.admin() as admin:
        for node in ("east", "west"):
            admin.zadd(CLUSTER_NODES.name(), {node: admin.time()[0] * 1000})
            for command in write_commands(stats_of(node, leads=node == "west")):
                admin.execute_command(*command)
    async with client_of(settings_of(tmp_path, cache=valkey_server.settings)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        told = (await client.get("/cluster")).json()
        assert told["cache"] == "up"
        assert [(node["node"], node["leads"]) for node in told["nodes"]] == [("east", False), ("west", True)]
        assert set(told["nodes"][0]["counters"]) == set(COUNTER_NAMES)
        valkey_server.kill()
        answer = await client.get("/cluster")
        assert answer.status_code == 200
        assert (answer.json()["cache"], answer.json()["nodes"]) == ("down", [])
        assert answer.json()["reason"]
