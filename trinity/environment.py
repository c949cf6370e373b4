"""How each setting is called in the environment: by its name, and by TRINITY_ and its name; which name sets what.

Rules: with the prefix a misspelt name is found, because nobody else uses it: an unknown one is an error that says the
nearest. The bare names are those of the specification, and stay. A setting that is given both ways and differently is
an error, for no order would be the obvious one; only where the bare name is every program's (HTTPS_PROXY), that with
the prefix wins, being meant for this one. A variable with an empty text is as good as none. Errors show no value: it
may be a secret.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from trinity.errors import ConfigError

PREFIX = "TRINITY_"
# What the clients of a node read, in the same environment: `trinity mcp`.
_CLIENT_NAMES = frozenset({"TRINITY_URL", "TRINITY_API_KEY"})
# The file of settings where no --config names one: all commands in a container, or of a service, are to read the same.
CONFIG_VARIABLE = "TRINITY_CONFIG"
# Where systemd puts what a unit's LoadCredential= names: a file for each secret, by its name in lower case.
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
# Kubernetes and Docker tell a container where a service named "trinity" is, under names like these.
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_SWITCH = {"1": True, "on": True, "true": True, "yes": True, "0": False, "off": False, "false": False, "no": False}


def _list_of(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _switch_of(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError(f"{text!r} is neither on nor off")
    return _SWITCH[text.lower()]


def _table_of(text: str) -> dict[str, str]:
    """`kraken=ws://..., okx=ws://...`"""
    parts = [part.partition("=") for part in _list_of(text)]
    if not all(name.strip() and value.strip() for name, _, value in parts):
        raise ValueError("name=value, name=value ... is expected")
    return {name.strip(): value.strip() for name, _, value in parts}


def _web_address_of(text: str) -> str:
    """What is wrong is told without the address: its path is often a secret."""
    parts = urlsplit(text)  # a ValueError of its own names a part of the host alone
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
        raise ValueError("it is not an address like https://host/path")
    return text


# Environment name -> (section, field, how its text becomes the field's value).
ENVIRONMENT: Mapping[str, tuple[str, str, Callable[[str], Any]]] = {
    "CLUSTER_NODE": ("node", "name", str),
    "NODE_ENV": ("node", "environment", str),
    "SERVER_TYPE": ("node", "server_type", str),
    "TRINITY_DATA_DIR": ("node", "data_dir", str),
    "BIND_HOST": ("node", "bind_host", str),
    "MARKETS_FILE": ("node", "markets_file", str),
    "DRAIN_NOTICE_SECONDS": ("node", "drain_notice_seconds", float),
    "TCP_PORT_LPO": ("ports", "tcp_port_lpo", int),
    "HEALTH_PORT_LPO": ("ports", "health_port_lpo", int),
    "TCP_PORT_LRS": ("ports", "tcp_port_lrs", int),
    "HEALTH_PORT_LRS": ("ports", "health_port_lrs", int),
    "UDP_PORT_LPO": ("ports", "udp_port_lpo", int),
    "UDP_PORT_LRS": ("ports", "udp_port_lrs", int),
    "REQUEST_WORKERS": ("request", "workers", int),
    "REQUEST_PIN": ("request", "pin", _switch_of),
    "UDP_TRUSTED_NETWORKS": ("request", "udp_trusted_networks", _list_of),
    "BEYOND_CATALOG": ("lookups", "beyond_catalog", _switch_of),
    "TARGET_QUEUE_DELAY_MS": ("request", "target_queue_delay_ms", float),
    "CLUSTER_CONNECTIONS_MAX": ("request", "cluster_connections_max", int),
    "LISTEN_WHEN_READY": ("request", "listen_when_ready", _switch_of),
    "FEEDS_SIMULATED": ("feeds", "simulated", _switch_of),
    "WS_BASE_URLS": ("feeds", "ws_base_urls", _table_of),
    "REST_BASE_URLS": ("feeds", "rest_base_urls", _table_of),
    "OKX_REGION": ("feeds", "okx_region", str),
    "HTTPS_PROXY": ("feeds", "https_proxy", str),
    "HTTP_PROXY": ("feeds", "http_proxy", str),
    "ALL_PROXY": ("feeds", "all_proxy", str),
    "NO_PROXY": ("feeds", "no_proxy", str),
    "SOCKS_PROXY": ("feeds", "socks_proxy", str),
    "SIMULATOR_PORT": ("simulator", "port", int),
    "SIMULATOR_SEED": ("simulator", "seed", int),
    "SIMULATOR_QUOTES_PER_SECOND": ("simulator", "quotes_per_second", int),
    "SIMULATOR_REST_DELAY_MS": ("simulator", "rest_delay_ms", int),
    "AUTH": ("access", "auth", str),
    "ANONYMOUS_RATE": ("access", "anonymous_rate", str),
    "FREE_RATE": ("access", "free_rate", str),
    "RATE_LIMIT_HEADERS": ("access", "rate_limit_headers", _switch_of),
    "KEYS_MAX": ("access", "keys_max", int),
    "TRUSTED_PROXIES": ("access", "trusted_proxies", _list_of),
    "PROXY_PROTOCOL": ("access", "proxy_protocol", _switch_of),
    "LEDGER_RING_RECORDS": ("ledger", "ring_records", int),
    "LEDGER_SPOOL_BYTES_MAX": ("ledger", "spool_bytes_max", int),
    "LEDGER_DETAIL_DAYS": ("ledger", "detail_days", int),
    "LEDGER_SUMS_MONTHS": ("ledger", "sums_months", int),
    "RECORD": ("recording", "on", _switch_of),
    "RECORD_BYTES_MAX": ("recording", "bytes_max", int),
    "REPORT_PROCESSES": ("reports", "processes", int),
    "PUSH": ("push", "on", _switch_of),
    "PUSH_ALLOWED_TARGETS": ("push", "allowed_targets", _list_of),
    "PUSH_CA_FILE": ("push", "ca_file", str),
    "PUSH_RESOLVERS": ("push", "resolvers", _list_of),
    "PUSH_CONNECTIONS": ("push", "connections_max", int),
    "PUSH_DELIVERY_DAYS": ("push", "delivery_days", int),
    "PUSH_RECEIVER_PORT": ("push", "receiver_port", int),
    "SMTP_HOST": ("mail", "smtp_host", str),
    "SMTP_PORT": ("mail", "smtp_port", int),
    "SMTP_SECURITY": ("mail", "smtp_security", str),
    "SMTP_CA_FILE": ("mail", "smtp_ca_file", str),
    "SMTP_USER": ("mail", "smtp_user", str),
    "SMTP_FROM": ("mail", "smtp_from", str),
    "OPERATOR_EMAIL": ("mail", "operator_email", str),
    "CACHE_CA_FILE": ("cache", "ca_file", str),
    "CACHE_CLUSTER": ("cache", "cluster", _switch_of),
    "BACKUP_TARGET": ("backup", "target", str),
    "BACKUP_RECIPIENTS": ("backup", "recipients", _list_of),
    "BACKUP_S3_ENDPOINT": ("backup", "s3_endpoint", str),
    "BACKUP_KEEP_DAYS": ("backup", "keep_days", int),
    "BACKUP_BASE_HOURS": ("backup", "base_hours", int),
    "BACKUP_FULL_DAYS": ("backup", "full_days", int),
    "BACKUP_SHIP_SECONDS": ("backup", "ship_seconds", int),
    "BACKUP_BUNDLE_SECONDS": ("backup", "bundle_seconds", int),
    "BACKUP_DRILL_IDENTITY": ("backup", "drill_identity", str),
    "BACKUP_SCRATCH": ("backup", "scratch", str),
    "BACKUP_SCRATCH_BYTES_MAX": ("backup", "scratch_bytes_max", int),
    "DATABASE_URL": ("stores", "database_url", str),
    "CACHE_URL": ("stores", "cache_url", str),
    "ADMIN_KEY": ("stores", "admin_key", str),
    "SMTP_PASSWORD": ("stores", "smtp_password", str),
    "HEARTBEAT_URL": ("stores", "heartbeat_url", _web_address_of),
}
# Names that other programs share: there the small form is as usual, and wins (as for curl).
SHARED_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SOCKS_PROXY")
SECRETS = ("DATABASE_URL", "CACHE_URL", "ADMIN_KEY", "SMTP_PASSWORD", "HEARTBEAT_URL")
VARIABLES: Mapping[tuple[str, str], str] = {entry[:2]: name for name, entry in ENVIRONMENT.items()}


class Variable(NamedTuple):
    """A setting's text, and the name of the variable that has it."""

    name: str
    text: str


def prefixed(name: str) -> str:
    """The name that no other program uses."""
    return name if name.startswith(PREFIX) else PREFIX + name


def read_variable(
    name: str, environment: Mapping[str, str], *, may_be_file: bool = False, is_shared: bool = False
) -> Variable | None:
    """What the environment says of a setting; None where it says nothing.

    `may_be_file`: `<NAME>_FILE` may name a file that has the text, and where the environment says nothing a service's
    credential of that name may have it. `is_shared`: other programs read the bare name as
    well, and the small form of it wins (as for curl).
    """
    bare = [name.lower(), name] if is_shared else [name]
    found = [
        variable
        for spelled in dict.fromkeys([prefixed(name), *bare])
        if (variable := _read(spelled, environment, may_be_file)) is not None
    ]
    if not is_shared and len({variable.text for variable in found}) > 1:
        raise ConfigError(found[0].name, f"{found[1].name} is set as well, and differently: set one of them")
    if not found and may_be_file:
        return _read_credential(name, environment)
    return found[0] if found else None


def check_prefixed_names(environment: Mapping[str, str], names: Collection[str], files: Iterable[str]) -> None:
    """ConfigError for a variable with the prefix that is none of the settings; `files`: those with a `_FILE`."""
    known = {prefixed(name) for name in names} | {f"{prefixed(name)}_FILE" for name in files}
    known |= _CLIENT_NAMES | {CONFIG_VARIABLE}
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and not _is_service_link(variable, environment):
            near = hint(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known), PREFIX)
            raise ConfigError(variable, f"there is no such setting; {near}")


def misspelt(environment: Mapping[str, str], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Variables without the prefix that are nearly a setting's name, and which: perhaps somebody else's."""
    for variable in sorted(set(environment) - set(names)):
        close = difflib.get_close_matches(variable, names, 1, 0.85)
        if close and not variable.startswith(PREFIX) and variable.upper() not in names:
            yield variable, close[0]


def hint(wrong: str, names: Iterable[str], prefix: str = "") -> str:
    """The name that was probably meant, else where they all are."""
    close = difflib.get_close_matches(wrong, sorted(names), 1)
    return f"did you mean {prefix}{close[0]}?" if close else "`trinity config example` shows all that there are"


def _read(name: str, environment: Mapping[str, str], may_be_file: bool) -> Variable | None:
    text, path = environment.get(name), environment.get(f"{name}_FILE") if may_be_file else None
    if path is None:
        return Variable(name, text) if text else None
    if text:
        raise ConfigError(name, f"set it or {name}_FILE, not both")
    try:
        return Variable(f"{name}_FILE", Path(path).read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE", str(error)) from None


def _read_credential(name: str, environment: Mapping[str, str]) -> Variable | None:
    folder = environment.get(CREDENTIALS_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / name.lower()
    try:
        return Variable(str(path), path.read_text().strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"credential {name.lower()}", str(error)) from None


def _is_service_link(variable: str, environment: Mapping[str, str]) -> bool:
    if _SERVICE_LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _SERVICE_ADDRESS.match(environment[variable]) is not None
