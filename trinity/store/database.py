"""Which database this node uses: the one of DATABASE_URL, else the embedded one in its data directory.

Rules: an address is checked before anything uses it, and shown without its password.
"""

from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trinity.config import Config
from trinity.errors import ConfigError
from trinity.store.embedded import embedded_url

_SCHEMES = ("postgresql://", "postgres://")
_SECRET_OPTIONS = ("password", "passfile", "sslpassword", "sslkey")


def is_embedded(config: Config) -> bool:
    """Whether the node starts its own server."""
    return config.stores.database_url is None


def database_url(config: Config) -> str:
    """The database's address, with its password; ConfigError, which does not show it, when it is not an address."""
    url = config.stores.database_url
    if url is None:
        return embedded_url(config.node.data_dir)
    if not url.startswith(_SCHEMES):
        raise ConfigError("DATABASE_URL", "postgresql://user:password@host:port/database is expected")
    try:
        fields = conninfo_to_dict(url)
    except psycopg.Error:  # its text may hold a part of the password
        reason = "not an address; in user, password and name write %XX for each of : / ? # [ ] @ %"
        raise ConfigError("DATABASE_URL", reason) from None
    if not fields.get("dbname"):
        raise ConfigError("DATABASE_URL", "it names no database: postgresql://user:password@host:port/database")
    return url


def shown_url(url: str) -> str:
    """The address for people and logs: without password and other secrets."""
    fields = conninfo_to_dict(url)
    shown = {
        name: quote(str(value), safe="" if name == "host" else "/")
        for name, value in fields.items()
        if name not in _SECRET_OPTIONS and value is not None
    }
    name = shown.pop("dbname", "")
    return f"postgresql:///{name}?" + "&".join(f"{option}={value}" for option, value in sorted(shown.items()))
