"""trinity/node/settings.py"""

from pathlib import Path

import pytest

from trinity.cache.address import cache_settings
from trinity.config import (
    AccessSection,
    Config,
    LedgerSection,
    NodeSection,
    PortsSection,
    PushSection,
    RecordingSection,
    RequestSection,
    StoresSection,
)
from trinity.errors import ConfigError
from trinity.node.settings import recording_of, report_settings_of, retention_of

# No two fields have the same value, so none can stand for another.
CONFIG = Config(
    node=NodeSection(data_dir=Path("/data"), bind_host="127.0.0.9"),
    ports=PortsSection(
        tcp_port_lpo=1001, health_port_lpo=1002, tcp_port_lrs=1003, udp_port_lrs=1004, health_port_lrs=1005
    ),
    request=RequestSection(udp_trusted_networks=("10.1.0.0/16",)),
    access=AccessSection(anonymous_rate=11, free_rate=12, trusted_proxies=("10.2.0.0/16",)),
    ledger=LedgerSection(detail_days=41, sums_months=25),
    push=PushSection(delivery_days=43, allowed_targets=("10.3.0.0/16",), resolvers=("10.4.0.1:53",)),
    recording=RecordingSection(bytes_max=1 << 30),
    stores=StoresSection(database_url="postgresql://host/name", cache_url="valkey://cache", admin_key="k" * 16),
)


def test_the_reporter_is_told_each_setting_under_its_own_name() -> None:
    """Ports, networks, rates and addresses of five sections, none for another."""
    told = report_settings_of(CONFIG)
    fields = told._asdict()
    assert fields == {
        "bind_host": "127.0.0.9",
        "tcp_port": 1003,
        "udp_port": 1004,
        "data_dir": Path("/data"),
        "auth": CONFIG.access.auth,
        "admin_key": "k" * 16,
        "database_url": "postgresql://host/name",
        "cache": cache_settings("valkey://cache"),
        "udp_trusted_networks": ("10.1.0.0/16",),
        "anonymous_rate": 11,
        "free_rate": 12,
        "rate_limit_headers": CONFIG.access.rate_limit_headers,
        "trusted_proxies": ("10.2.0.0/16",),
        "request_port": 1001,
        "request_health_port": 1002,
        "health_port": 1005,
        "retention": retention_of(CONFIG),
        "allowed_targets": ("10.3.0.0/16",),
        "name_servers": ("10.4.0.1:53",),
    }


def test_a_node_without_a_cache_tells_of_none() -> None:
    """No CACHE_URL is no wrong one: that is named."""
    alone = Config()
    assert report_settings_of(alone).cache is None
    wrong = Config(stores=StoresSection(cache_url="http://host"))
    with pytest.raises(ConfigError, match="CACHE_URL"):
        report_settings_of(wrong)


def test_the_ledger_s_and_the_pushes_times_are_one_retention() -> None:
    """Days of requests, months of sums, days of deliveries."""
    assert retention_of(CONFIG) == (41, 25, 43)


def test_recordings_stand_in_the_data_directory_and_have_a_bound() -> None:
    """The bound is the recording's own."""
    assert recording_of(CONFIG) == (Path("/data"), 1 << 30)
