"""trinity/cache/address.py"""

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.cache.address import CacheAddress, cache_settings, cache_settings_of, read_address
from trinity.config import Config, StoresSection
from trinity.errors import ConfigError


def test_an_address_has_its_parts() -> None:
    """With defaults for what is left out; user and password are percent-decoded."""
    assert read_address("valkey://cache") == CacheAddress("cache", 6379, False, None, None, 0)
    assert read_address("rediss://node:p%40ss@cache.example:6380/2") == CacheAddress(
        "cache.example", 6380, True, "node", "p@ss", 2
    )
    assert read_address("redis://:word@[::1]:7/") == CacheAddress("::1", 7, False, None, "word", 0)
    assert read_address("valkeys://[::1]").shown == "valkeys://[::1]:6379/0"


@pytest.mark.parametrize(
    "url",
    [
        "", "cache:6379", "http://cache", "valkey://", "valkey://cache:port", "valkey://cache:70000",
        "valkey://cache/one", "valkey://cache/0?db=1", "valkey://node@cache", "unix:///run/valkey",
    ],
)  # fmt: skip
def test_what_is_no_address_names_the_setting_and_hides_its_text(url: str) -> None:
    """A password stands in it."""
    with pytest.raises(ConfigError) as told:
        read_address(url.replace("://", "://user:secretword@") if url.startswith("valkey://cache") else url)
    assert told.value.key == "CACHE_URL"
    assert "secretword" not in str(told.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_wrong_setting(text: str) -> None:
    """Never another error."""
    with contextlib.suppress(ConfigError):
        assert read_address("valkey://" + text).host


def test_settings_are_checked_together(tmp_path: Path) -> None:
    """A cluster has one database; an authority is for TLS, and is one."""
    assert cache_settings("valkeys://cache", is_cluster=True).is_cluster
    for key, url, ca_file, is_cluster in (
        ("CACHE_URL", "valkey://cache/1", "", True),
        ("CACHE_CA_FILE", "valkey://cache", "ca.pem", False),
        ("CACHE_CA_FILE", "valkeys://cache", str(tmp_path / "absent.pem"), False),
    ):
        with pytest.raises(ConfigError) as told:
            cache_settings(url, ca_file, is_cluster)
        assert told.value.key == key


def test_without_an_address_there_is_no_cache() -> None:
    """And with one there are its settings."""
    assert cache_settings_of(Config()) is None
    config = msgspec.structs.replace(Config(), stores=StoresSection(cache_url="valkey://cache:1"))
    settings = cache_settings_of(config)
    assert settings is not None
    assert settings.address.port == 1
