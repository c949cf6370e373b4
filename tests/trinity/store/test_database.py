"""Which database a node uses, and how its address is shown."""

from pathlib import Path

import pytest

from trinity.config import Config, NodeSection, StoresSection
from trinity.errors import ConfigError
from trinity.store.database import database_url, is_embedded, shown_url


def _config(url: str | None) -> Config:
    return Config(node=NodeSection(data_dir=Path("/data dir")), stores=StoresSection(database_url=url))


def test_without_a_url_the_embedded_server_is_used() -> None:
    """Its address names the socket's folder in the data directory."""
    assert is_embedded(_config(None))
    assert database_url(_config(None)) == "postgresql:///trinity?host=%2Fdata%20dir%2Fdatabase&user=trinity"
    assert not is_embedded(_config("postgresql://host/name"))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/n",
        "secret",
        "postgresql://u:se%cret@h/n",
        "postgresql://u:secret@h",
        "postgresql://h/n?x=secret",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(url: str) -> None:
    """The error names DATABASE_URL and holds no part of the password."""
    with pytest.raises(ConfigError) as caught:
        database_url(_config(url))
    assert caught.value.key == "DATABASE_URL"
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_an_address_is_shown_without_its_password() -> None:
    """User, host, port and name are there."""
    shown = shown_url("postgresql://user:s%3Acret@db.example:6432/name?sslmode=require&sslpassword=hidden")
    assert shown == "postgresql:///name?host=db.example&port=6432&sslmode=require&user=user"
