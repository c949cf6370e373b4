"""The node's configuration: one frozen tree, decoded once and strictly, from a TOML file and the environment.

Rules: unknown names are errors, in the file and, with the prefix TRINITY_ (environment.py), in the environment, which
wins over the file; secrets come from the environment or from a file named by `<NAME>_FILE`, never from the TOML.
Everything is checked before any process starts, and an error names the key as the user wrote it, the file that it is
in, and what is allowed there. The comments beside the fields are the explanations that `trinity config example` prints.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from trinity.config_checks import check
from trinity.environment import (
    ENVIRONMENT,
    SECRETS,
    SHARED_NAMES,
    check_prefixed_names,
    hint,
    read_variable,
)
from trinity.errors import ConfigError
from trinity.markets import DEFAULT_PATH
from trinity.rates import read_rate
from trinity.schema import Setting, allowed, bounds_of, settings_of
from trinity.services import ServerType, Service, services_of_type

_SHOWN_CHARS = 60  # of a wrong value, in an error
# Where OKX serves whom; each region has its own hosts and its own list of markets. Turkey uses the global ones.
OkxRegion = Literal["global", "eea", "us"]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
# As rates.py reads it: text, in the file also a number.
Rate = Annotated[int, msgspec.Meta(description="requests a second (10, 0.2) or in a time (1/5s, 90/m)")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: frozen, no unknown names."""


class NodeSection(Section, frozen=True):
    """Who this node is."""

    name: str = "trinity"  # part of the names of its shared memory
    environment: str = "production"  # what it is for: shown in /health, and changes nothing
    server_type: ServerType = "APP_REPORT_SERVER"  # what the node runs: docs/cluster.md, "Server types"
    data_dir: Path = Path.home() / ".local" / "share" / "trinity"  # logs, ledger, embedded database, compiled code
    bind_host: str = "127.0.0.1"  # loopback, until the operator decides otherwise
    markets_file: Path = DEFAULT_PATH  # which asset is on which exchange
    drain_notice_seconds: Annotated[float, msgspec.Meta(ge=0, le=300)] = 0.0  # SIGTERM: /ready says no so long, first


class PortsSection(Section, frozen=True):
    """Listeners; the names are those of the environment in lower case."""

    tcp_port_lpo: Port = 8080  # lookups over HTTP
    health_port_lpo: Port = 8081  # their health, and the metrics of the whole node
    tcp_port_lrs: Port = 9090  # reports, streams, history, dashboard
    health_port_lrs: Port = 9091  # their health, and their own metrics
    udp_port_lpo: Port = 2679  # lookups over UDP
    udp_port_lrs: Port = 2680  # reports over UDP


class RequestSection(Section, frozen=True):
    """The request workers."""

    # 0: one per vCPU. Seven bits of a request id name its writer: 125, a reporter and the two spares are 128
    workers: Annotated[int, msgspec.Meta(ge=0, le=125)] = 0
    pin: bool = True  # worker i to the i-th CPU that the node may use
    udp_trusted_networks: tuple[str, ...] = ()  # beside loopback: replies may be longer than requests
    # How long a request may wait (p90 of 100 ms), or some are refused; half of it is 4,096 requests at 24 us. 0: never.
    target_queue_delay_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 200.0
    # Open connections to the lookups, of all nodes that share a Valkey together; without one, of this node.
    cluster_connections_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 6_000
    listen_when_ready: bool = False  # ports are opened when there are prices, or after 10 s: behind a load balancer


class LookupsSection(Section, frozen=True):
    """What can be looked up."""

    beyond_catalog: bool = True  # assets that no market of ours names are looked for on the exchanges


class FeedsSection(Section, frozen=True):
    """Where the exchanges are; an empty base URL means the exchange's own."""

    simulated: bool = False  # whether what the base URLs lead to are simulated exchanges: all answers then say so
    okx_region: OkxRegion = "global"  # whose hosts OKX is asked at
    ws_base_urls: dict[str, str] = {}  # of exchanges, by name: ws://host:port/path
    rest_base_urls: dict[str, str] = {}  # the same for REST: http://host:port/path
    https_proxy: str = ""  # http://host:port, for https:// and wss://
    http_proxy: str = ""  # the same for http:// and ws://
    all_proxy: str = ""  # the same where there is no other
    no_proxy: str = ""  # hosts that are reached without one
    socks_proxy: str = ""  # nobody can use it, so it is refused instead of passed over


class SimulatorSection(Section, frozen=True):
    """The simulated exchanges of `trinity demo` and `trinity simulate`."""

    port: Port = 8090  # where they listen, all six
    seed: int = 1  # of their random market
    quotes_per_second: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 300  # of all of them together
    rest_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0  # how long each answer over REST takes, at least


class AccessSection(Section, frozen=True):
    """Who may ask, and how often."""

    auth: Literal["required", "optional"] = "required"  # in `trinity demo` optional, unless it is set
    anonymous_rate: Rate = 0  # of each address without a key, when auth is optional; 0: no limit
    free_rate: Rate = 10  # of each key and address for what costs no month; 0: no limit
    rate_limit_headers: bool = True  # RateLimit on good answers to whoever has limits
    # Room in shared memory, 106 MB for a million keys, and on the disk, 64 MB.
    keys_max: Annotated[int, msgspec.Meta(ge=1, le=4_000_000)] = 100_000
    trusted_proxies: tuple[str, ...] = ()  # whose X-Forwarded-For and PROXY headers are believed
    proxy_protocol: bool = False  # connections of trusted proxies begin with a PROXY protocol v2 header


class LedgerSection(Section, frozen=True):
    """The usage ledger."""

    # A worker's, a power of two; 32 MB, five seconds and more of the highest rate.
    ring_records: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 24)] = 1 << 19
    spool_bytes_max: Annotated[int, msgspec.Meta(ge=1 << 24, le=1 << 50)] = 10 * 1024**3  # on disk, without a database
    # Days of single requests, addresses, sums by minute and hour; a day more is a day's room on the disk.
    detail_days: Annotated[int, msgspec.Meta(ge=1, le=1_100)] = 93
    # Whole months, beside the running one, of the sums by day, which bills are made of.
    sums_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 36


class RecordingSection(Section, frozen=True):
    """Raw frames and decisions on disk, for `trinity replay` and for explaining a past moment."""

    on: bool = False  # from the start; `trinity record on` and `off` change it while the node runs
    # Of all segments together; the oldest are dropped.
    bytes_max: Annotated[int, msgspec.Meta(ge=1 << 26, le=1 << 50)] = 2 * 1024**3


class ReportsSection(Section, frozen=True):
    """The reporting service."""

    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # that serve reports and streams


class PushSection(Section, frozen=True):
    """Prices delivered to subscribers; a node of the type WEBHOOK_SERVER does nothing else, one of ALL does it too."""

    on: bool = False  # nodes of the other types deliver as well; in `trinity demo` they do, unless it is set
    allowed_targets: tuple[str, ...] = ()  # private networks and host names that messages may go to all the same
    ca_file: str = ""  # of one more authority that receivers' certificates may come from
    resolvers: tuple[str, ...] = ()  # addresses of name servers; none: the system's
    connections_max: Annotated[int, msgspec.Meta(ge=16, le=60_000)] = 20_000  # open to all receivers together
    delivery_days: Annotated[int, msgspec.Meta(ge=1, le=1_100)] = 14  # that single deliveries are kept
    receiver_port: Port = 8443  # of the demo's receiver


class MailSection(Section, frozen=True):
    """Where mails to customers and the operator go out; without a host there are none."""

    smtp_host: str = ""  # the mail server
    smtp_port: Port = 587  # where it listens
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"  # TLS from the first byte is usual on port 465
    smtp_ca_file: str = ""  # of a server whose certificate is its owner's; else the system's authorities
    smtp_user: str = ""  # none: it is asked without a password
    smtp_from: str = ""  # the address that the mails come from
    operator_email: str = ""  # who gets a copy


class CacheSection(Section, frozen=True):
    """Valkey, where CACHE_URL names one."""

    ca_file: str = ""  # of one more authority that its certificate may come from; the host's name is always checked
    cluster: bool = False  # a Valkey Cluster: CACHE_URL is one of its servers


class BackupSection(Section, frozen=True):
    """Backups of the database and of each node's own files; without a target there are none."""

    target: str = ""  # an absolute path of a directory, best of another machine's disk, or s3://bucket/prefix
    recipients: tuple[str, ...] = ()  # age1...: who can open the backups; age-keygen makes one with its identity
    s3_endpoint: str = ""  # of a store that is not AWS: https://host:port
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 7  # any second of them can be restored
    base_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 24  # from one base backup to the next
    # From one full base to the next; others have changes alone.
    full_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7
    ship_seconds: Annotated[int, msgspec.Meta(ge=1, le=120)] = 10  # the log goes to the target this often
    bundle_seconds: Annotated[int, msgspec.Meta(ge=5, le=86_400)] = 120  # the node's own files, this often
    drill_identity: str = ""  # a file with an identity of its own (age-keygen): the weekly drill opens backups with it
    scratch: str = ""  # an absolute path where the log waits for the target; none: backup/ in the data directory
    # Of the log that waits there; what is beyond the server keeps itself.
    scratch_bytes_max: Annotated[int, msgspec.Meta(ge=1 << 26, le=1 << 50)] = 4 * 1024**3


class StoresSection(Section, frozen=True):
    """Addresses that hold secrets, of the stores and of who watches, and other secrets; never in the TOML file."""

    database_url: str | None = None  # postgresql://user:password@host:port/database; none: the embedded one
    cache_url: str | None = None  # valkey:// or valkeys:// (TLS); what nodes share; unreachable is never an error
    admin_key: str | None = None  # the operator's, 16 to 128 characters: it opens everything
    smtp_password: str | None = None  # of the mail server's user
    heartbeat_url: str | None = None  # asked every minute while prices are fresh: who hears nothing raises the alarm


class Config(Section, frozen=True):
    """The whole tree; a process gets one section of it."""

    node: NodeSection = NodeSection()
    ports: PortsSection = PortsSection()
    request: RequestSection = RequestSection()
    lookups: LookupsSection = LookupsSection()
    feeds: FeedsSection = FeedsSection()
    simulator: SimulatorSection = SimulatorSection()
    access: AccessSection = AccessSection()
    ledger: LedgerSection = LedgerSection()
    recording: RecordingSection = RecordingSection()
    reports: ReportsSection = ReportsSection()
    push: PushSection = PushSection()
    mail: MailSection = MailSection()
    cache: CacheSection = CacheSection()
    backup: BackupSection = BackupSection()
    stores: StoresSection = StoresSection()


SETTINGS: Mapping[tuple[str, str], Setting] = {(entry.section, entry.field): entry for entry in settings_of(Config)}
DEMO = "the demo"
# What a demo has where nothing else is said.
OF_DEMO = (("access", "auth", "optional"), ("push", "on", True))


class LoadedConfig(NamedTuple):
    """A checked tree, and where each value that is no default comes from."""

    config: Config
    sources: "Sources"


# Of a section's field: the variable's name (or DEMO), or the file.
Sources = Mapping[tuple[str, str], str | Path]


def load_config(environment: Mapping[str, str], file: Path | None = None, *, demo: bool = False) -> Config:
    """Decode file and environment into one checked tree; ConfigError names the key and the reason.

    In a demo keys are optional and prices are pushed, unless the user says otherwise.
    """
    return load(environment, file, demo=demo).config


def load(environment: Mapping[str, str], file: Path | None = None, *, demo: bool = False) -> LoadedConfig:
    """The same, with where each value comes from."""
    check_prefixed_names(environment, ENVIRONMENT, SECRETS)
    tree: dict[str, Any] = {}
    sources: dict[tuple[str, str], str | Path] = {}
    if file is not None:
        tree = _read_file(file)
        sources = {(section, field): file for section, fields in tree.items() for field in fields}
        _decode({section: dict(fields) for section, fields in tree.items()}, sources)  # also what a variable wins over
    for name, (section, field, convert) in ENVIRONMENT.items():
        variable = read_variable(name, environment, may_be_file=name in SECRETS, is_shared=name in SHARED_NAMES)
        if variable is None:
            continue
        try:
            value = convert(variable.text)
        except ValueError as error:
            reason = str(error) if convert is not int else f"{variable.text!r} is not {_allowed_at(section, field)}"
            raise ConfigError(variable.name, reason) from None
        tree.setdefault(section, {})[field] = value
        sources[section, field] = variable.name
    for section, field, value in OF_DEMO if demo else ():
        if field not in tree.setdefault(section, {}):
            tree[section][field] = value
            sources[section, field] = DEMO
    config = _decode(tree, sources)
    check(config, worker_count(config.request))
    return LoadedConfig(config, sources)


def services_of(config: Config) -> tuple[Service, ...]:
    """What the node runs, by its type and PUSH."""
    return services_of_type(config.node.server_type, with_push=config.push.on)


def worker_count(request: RequestSection) -> int:
    """Request workers to start: as configured, else one for each CPU this process may use."""
    return request.workers or len(os.sched_getaffinity(0))


def _decode(tree: dict[str, Any], sources: Sources) -> Config:
    """The tree by its types and bounds; its rates are numbers afterwards."""
    _read_rates(tree, sources)
    try:
        return msgspec.convert(tree, Config, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise _explain(str(error), tree, sources) from None


def _read_rates(tree: dict[str, Any], sources: Sources) -> None:
    """A rate is text in the environment, and text or a number in the file."""
    for section, field in (place for place, setting in SETTINGS.items() if setting.kind is Rate):
        if field in tree.get(section, {}):
            try:
                tree[section][field] = read_rate(str(tree[section][field]))
            except ValueError as error:
                raise ConfigError(_written(section, field, sources), str(error)) from None


def _decode_path(wanted: type, value: Any) -> Any:
    """Paths are the one type of the tree that msgspec does not know."""
    if wanted is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise NotImplementedError(wanted)


def _read_file(file: Path) -> dict[str, Any]:
    """Its sections, all of which and whose fields there are."""
    try:
        tree = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), str(error)) from None
    if "stores" in tree:
        names = ", ".join(SECRETS)
        raise ConfigError(f"{file}: stores", f"secrets do not belong into the file: set {names} or {SECRETS[0]}_FILE")
    sections = [name for name in Config.__struct_fields__ if name != "stores"]
    for section, fields in tree.items():
        if section not in sections:
            places = [f"{name}.{field}" for name, field in SETTINGS if field == section]
            advice = f"did you mean {' or '.join(places)}?" if places else hint(section, sections)
            raise ConfigError(
                f"{file}: {section}", f"there is no such section; {advice} (there are: {', '.join(sections)})"
            )
        if not isinstance(fields, dict):
            raise ConfigError(f"{file}: {section}", f"it is a section: write [{section}] above its settings")
        known = [field for name, field in SETTINGS if name == section]
        for field in fields:
            if field not in known:
                reason = f"there is no such setting; {hint(field, known)} (there are: {', '.join(known)})"
                raise ConfigError(f"{file}: {section}.{field}", reason)
    return tree


def _written(section: str, field: str, sources: Sources) -> str:
    """A setting as the user wrote it: the variable, or the file and the field."""
    source = sources[section, field]
    return f"{source}: {section}.{field}" if isinstance(source, Path) else source


def _allowed_at(section: str, field: str) -> str:
    return allowed(SETTINGS[section, field].kind)


def _explain(message: str, tree: Mapping[str, Any], sources: Sources) -> ConfigError:
    """What msgspec says ("... - at `$.section.field`") under the name that the user wrote, with what is allowed."""
    found = re.search(r"`\$\.(\w+)\.(\w+)", message)
    assert found is not None, "sections and fields are known, so it is about a value"
    section, field = found.groups()
    value, bounds = tree[section][field], bounds_of(SETTINGS[section, field].kind)
    key = _written(section, field, sources)
    if bounds is not None and type(value) is int:
        return ConfigError(key, f"{value} is not between {bounds.ge} and {bounds.le}")
    return ConfigError(key, f"{str(value)[:_SHOWN_CHARS]!r} is not {_allowed_at(section, field)}")
