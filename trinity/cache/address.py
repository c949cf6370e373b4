"""CACHE_URL as its parts, and the settings of the cache together.

    valkey://host:port/0                      plain
    valkeys://user:password@host:port/0       TLS, as a user of Valkey's access list
    redis:// and rediss://                    the same two, as other programs call them

Rules: what is wrong is a ConfigError that names the setting, before any process starts, and shows nothing of the
address: it may hold a password. User and password are percent-decoded. Over TLS the host's name is always checked.
"""

import re
import ssl
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from trinity.config import Config
from trinity.errors import ConfigError

_PLAIN, _TLS = ("valkey", "redis"), ("valkeys", "rediss")
_PORT = 6379
_DATABASE = re.compile(r"/?|/(\d{1,4})")


class CacheAddress(NamedTuple):
    """Where a Valkey is, and as whom it is asked."""

    host: str
    port: int
    is_tls: bool
    user: str | None
    password: str | None
    database: int

    def __repr__(self) -> str:
        return f"CacheAddress({self.shown})"

    @property
    def shown(self) -> str:
        """Without the secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'valkeys' if self.is_tls else 'valkey'}://{host}:{self.port}/{self.database}"


class CacheSettings(NamedTuple):
    """What a client is made of."""

    address: CacheAddress
    ca_file: str = ""  # of one more authority
    is_cluster: bool = False


def cache_settings_of(config: Config) -> CacheSettings | None:
    """The settings of the configuration; None without CACHE_URL."""
    url = config.stores.cache_url
    return None if url is None else cache_settings(url, config.cache.ca_file, config.cache.cluster)


def cache_settings(url: str, ca_file: str = "", is_cluster: bool = False) -> CacheSettings:
    """Checked settings; ConfigError names what is wrong."""
    address = read_address(url)
    if is_cluster and address.database:
        raise ConfigError("CACHE_URL", "a Valkey Cluster has database 0 alone: leave out the number at its end")
    if ca_file and not address.is_tls:
        raise ConfigError("CACHE_CA_FILE", "CACHE_URL is not valkeys://, so no certificate is checked")
    if ca_file:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError as error:  # SSLError is one
            raise ConfigError("CACHE_CA_FILE", f"{ca_file}: {error.strerror or error}") from None
    return CacheSettings(address, ca_file, is_cluster)


def read_address(url: str) -> CacheAddress:
    """The parts of an address; ConfigError for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:  # its text may hold the password: not shown
        raise ConfigError("CACHE_URL", f"the port is no number up to 65535, or {_shape()}") from None
    if parts.scheme not in (*_PLAIN, *_TLS) or not parts.hostname:
        raise ConfigError("CACHE_URL", _shape())
    database = _DATABASE.fullmatch(parts.path)
    if database is None or parts.query or parts.fragment:
        raise ConfigError("CACHE_URL", f"after the port stands nothing but the database's number: {_shape()}")
    user, password = parts.username, parts.password
    if user and not password:
        raise ConfigError("CACHE_URL", "it names a user without a password")
    return CacheAddress(
        host=unquote(parts.hostname),
        port=port,
        is_tls=parts.scheme in _TLS,
        user=unquote(user) if user else None,
        password=unquote(password) if password else None,
        database=int(database[1] or 0),
    )


def _shape() -> str:
    return "valkey://host:port or, with TLS and a user, valkeys://user:password@host:port is expected"
