"""trinity/node/cluster/layout.py"""

import datetime
import ipaddress
from pathlib import Path

import pytest

from trinity.cache.address import cache_settings_of
from trinity.config import load_config
from trinity.errors import InputError
from trinity.node.cluster.certificates import CACHE, make_certificates
from trinity.node.cluster.layout import (
    DEFAULT_NETWORK,
    ClusterLayout,
    environment_of_node,
    fill,
    parse_network,
    without_settings,
)

LAYOUT = ClusterLayout(Path("/data/cluster"))
OTHER = ClusterLayout(Path("/data/cluster-7-9"), ipaddress.IPv4Network("127.7.9.0/24"))


def test_three_nodes_answer_and_one_pushes_each_at_an_address_of_its_own() -> None:
    """The addresses are those of the specification's cluster, on loopback."""
    assert [(node.host, node.server_type) for node in LAYOUT.nodes] == [
        ("127.0.0.11", "APP_REPORT_SERVER"),
        ("127.0.0.12", "APP_REPORT_SERVER"),
        ("127.0.0.13", "APP_REPORT_SERVER"),
        ("127.0.0.14", "WEBHOOK_SERVER"),
    ]
    everybody = [LAYOUT.proxy, LAYOUT.proxy_source, LAYOUT.cache, LAYOUT.simulator, *(n.host for n in LAYOUT.nodes)]
    assert len(set(everybody)) == len(everybody) == 8


def test_two_clusters_share_no_address_and_no_name_of_shared_memory() -> None:
    """Each network has names of its own."""
    assert {node.name for node in LAYOUT.nodes} & {node.name for node in OTHER.nodes} == set()
    assert {node.host for node in LAYOUT.nodes} & {node.host for node in OTHER.nodes} == set()
    assert OTHER.nodes[0].name == "node-7-9-1"


@pytest.mark.parametrize("text", ["10.0.0.0", "localhost", "", "127.0.0", "128.0.0.1"])
def test_a_network_that_is_not_loopback_is_refused_by_name(text: str) -> None:
    """The error names the option."""
    with pytest.raises(InputError, match=r"--network: .*127\.0\.0\.0"):
        parse_network(text)


def test_a_network_is_named_by_any_of_its_addresses() -> None:
    """The last number does not matter."""
    assert parse_network("127.0.0.9") == DEFAULT_NETWORK
    assert parse_network("127.7.9.0") == OTHER.network


def test_a_line_with_node_stands_once_for_each_node_that_answers_and_names_are_filled_in() -> None:
    """The push server answers nobody, and a comment is about the template."""
    text = "# of @NODE@\nlisten @PROXY@;\n  server @NODE@:1;\nmodules @MODULES@;\n"
    assert fill(text, LAYOUT, {"MODULES": "none"}) == (
        "listen 127.0.0.1;\n  server 127.0.0.11:1;\n  server 127.0.0.12:1;\n  server 127.0.0.13:1;\nmodules none;\n"
    )


def test_a_node_takes_what_it_is_told(tmp_path: Path) -> None:
    """The environment of each node is a configuration that loads, with all exchanges at the simulator."""
    layout = ClusterLayout(tmp_path)
    make_certificates(layout.certificates, {CACHE: layout.cache}, datetime.datetime.now(datetime.UTC))
    layout.secrets.mkdir()
    secrets = {"database_url": "postgresql://x/y", "cache_url": layout.cache_url("p"), "admin_key": "0123456789abcdef"}
    for name, text in secrets.items():
        (layout.secrets / name).write_text(text)
    for node in layout.nodes:
        config = load_config(environment_of_node(layout, node, ("kraken", "okx"), 8090))
        assert (config.node.name, config.node.bind_host, config.node.server_type) == node
        assert config.feeds.simulated
        assert config.feeds.ws_base_urls == {
            "kraken": "ws://127.0.0.16:8090/kraken",
            "okx": "ws://127.0.0.16:8090/okx",
        }
        assert config.stores.database_url == "postgresql://x/y"
        settings = cache_settings_of(config)
        assert settings is not None
        assert settings.address.is_tls


def test_what_the_user_s_shell_says_of_a_setting_that_is_given_is_dropped_in_all_its_forms() -> None:
    """Else the node would refuse two different values."""
    shell = {"PATH": "/bin", "CLUSTER_NODE": "a", "TRINITY_CLUSTER_NODE": "b", "DATABASE_URL": "c", "KEYS_MAX": "5"}
    given = {"CLUSTER_NODE": "node-1", "DATABASE_URL_FILE": "/f"}
    assert without_settings(shell, given) == {"PATH": "/bin", "KEYS_MAX": "5", **given}
