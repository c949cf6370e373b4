"""The embedded PostgreSQL's settings, each with its reason; the server reads them at every start.

Rules: they are written anew at each start, so that a new version brings its own. What an operator sets by
`ALTER SYSTEM` stands in postgresql.auto.conf and wins.
"""

from collections.abc import Mapping
from pathlib import Path

SETTINGS: Mapping[str, str] = {
    # No port: only who may enter the socket's folder, the owner and root, can connect.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Flusher, access, reports and tools use 20; each one that is connected costs some 2 MB.
    "max_connections": "60",
    # The ledger is written once and read by time: newest pages matter, and the kernel caches the rest.
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    # A report sorts or hashes a day of sums in this; with ten at once still 160 MB.
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    # A report that spills may not fill the disk that the ledger needs.
    "temp_file_limit": "4GB",
    # At full load the ledger writes some 50 MB/s: a checkpoint a minute, not one every few seconds, because each
    # checkpoint makes the next change of every index page write it whole.
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
    # This build has pglz only, which takes more of the core than it saves of the disk.
    "wal_compression": "off",
    # Loaded is loaded: the spool is removed after a commit, so a commit must be on disk.
    "synchronous_commit": "on",
    # Statements are short or long COPYs; compiling them costs more than it brings, and 20 MB a connection.
    "jit": "off",
    # The cores belong to the request workers: a report may wait, it does not take both of them. This also keeps
    # PostgreSQL out of /dev/shm, which is 64 MB in a container.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    # Of backups: a base, the log, one of each by hand, and the drill's. They cost nothing while nobody backs up.
    "max_wal_senders": "5",
    "max_replication_slots": "5",
    "max_logical_replication_workers": "0",
    # A target of backups that is away for hours: the log waits here. Beyond this the ledger's disk comes first, and a
    # new base is taken when the target is back.
    "max_slot_wal_keep_size": "16GB",
    # Pages that are not cached are read by this many helpers; the others would sleep.
    "io_workers": "1",
    # A statement whose client was killed is given up, with its locks.
    "client_connection_check_interval": "2s",
    # The time zone of every day border.
    "timezone": "UTC",
    "log_timezone": "UTC",
    # One line an event, through the node's own log; no statement, parameter or row content ever gets there.
    "log_line_prefix": "",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "lc_messages": "C",
}

# Of a server that is backed up: which blocks changed is noted as the log is written, so that the next backup may be
# incremental. Of no other, because after a crash with a full disk these notes take the few hundred KB that recovery
# frees, and without them no backend can connect: PostgreSQL 18 ends each that cannot write its pg_internal.init.
_BACKED_UP: dict[str, str] = {"summarize_wal": "on"}


def server_settings(backed_up: bool) -> Mapping[str, str]:
    """The settings of a server, with what backups of it need or without."""
    return dict(SETTINGS) | _BACKED_UP if backed_up else SETTINGS


def render(settings: Mapping[str, str], socket_folder: Path) -> str:
    """The text of postgresql.conf."""
    # A list of folders: names in double quotes may hold commas and spaces.
    folder = '"' + str(socket_folder).replace('"', '""') + '"'
    lines = [
        f"{name} = {_quote(value)}" for name, value in (dict(settings) | {"unix_socket_directories": folder}).items()
    ]
    return "\n".join(["# Written at each start; use ALTER SYSTEM to change a setting.", *lines, ""])


def _quote(value: str) -> str:
    """A value as the file's grammar wants it: backslashes and single quotes doubled, on one line."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
