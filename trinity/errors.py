"""Every error that Trinity raises on purpose.

All are a TrinityError. Below another one: of a bug LayoutError, of the database StoreSilentError, of backups those of
their target, object, program and restore. Each class says what it means.

Errors keep their fields; the sentence is made in `__str__` and says what to do.
"""


class TrinityError(Exception):
    """Base of all; never raised itself."""


class ConfigError(TrinityError):
    """A setting is missing, unknown or out of range."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"configuration: {self.key}: {self.reason}"


class ReloadFailedError(TrinityError):
    """A running node could not be changed; it goes on with the configuration that it had."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"reload: {self.reason}"


class PortTakenError(TrinityError):
    """A listener cannot bind because its port is in use."""

    def __init__(self, name: str, host: str, port: int) -> None:
        super().__init__(name, host, port)
        self.name = name
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return (
            f"{self.name}={self.port} is taken on {self.host}: "
            f"stop the program that uses it or set {self.name} to a free port"
        )


class BugError(TrinityError):
    """Our own code broke its promise; the process ends and the supervisor restarts it."""


class LayoutError(BugError):
    """A shared segment was written by another layout than this code reads."""

    def __init__(self, segment: str, what: str, expected: int, found: int) -> None:
        super().__init__(segment, what, expected, found)
        self.segment = segment
        self.what = what
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return (
            f"shared memory {self.segment}: {self.what} is {self.found:#x}, this version needs "
            f"{self.expected:#x}: stop the node that made it, then start again"
        )


class NodeRunningError(TrinityError):
    """A live process owns the shared memory of this node's name."""

    def __init__(self, segment: str, owner_pid: int) -> None:
        super().__init__(segment, owner_pid)
        self.segment = segment
        self.owner_pid = owner_pid

    def __str__(self) -> str:
        return (
            f"shared memory {self.segment} belongs to the running process {self.owner_pid}: "
            "stop that node or give this one another CLUSTER_NODE"
        )


class DataDirTakenError(TrinityError):
    """A live node holds the lock of this data directory."""

    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)
        self.data_dir = data_dir

    def __str__(self) -> str:
        return (
            f"the data directory {self.data_dir} belongs to a node that runs: "
            "stop that node or give this one another TRINITY_DATA_DIR"
        )


class NodeAbsentError(TrinityError):
    """No live node of this name has its memory on this machine."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node

    def __str__(self) -> str:
        return (
            f"no node named {self.node} runs on this machine: start one with `trinity run` or `trinity demo`, "
            "or set CLUSTER_NODE to the name of the one that runs"
        )


class InputError(TrinityError):
    """A value on the command line is malformed or out of range; nothing was changed."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class AbsentError(TrinityError):
    """A command names something that the database does not have."""

    def __init__(self, what: str, name: str, hint: str) -> None:
        super().__init__(what, name, hint)
        self.what = what
        self.name = name
        self.hint = hint

    def __str__(self) -> str:
        return f"there is no {self.what} {self.name}: {self.hint}"


class RefusedError(TrinityError):
    """A command is well-formed, but what it asks for must not be done; nothing was changed."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class MissingExtraError(TrinityError):
    """What was asked for needs a library that a node does without."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(module, extra)
        self.module = module
        self.extra = extra

    def __str__(self) -> str:
        return (
            f"{self.module} is not installed: it comes with the extra {self.extra}: "
            f"pip install 'trinity-oracle[{self.extra}]', or in a checkout `make extras`"
        )


class SnapshotError(TrinityError):
    """A file with what the database said last is not whole; the node goes on without it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"snapshot {self.path}: {self.reason}: it is ignored, and replaced once the database answers"


class MissingProgramError(TrinityError):
    """A program that is no part of Trinity is needed, and is not installed."""

    def __init__(self, program: str, packages: str) -> None:
        super().__init__(program, packages)
        self.program = program
        self.packages = packages

    def __str__(self) -> str:
        return f"{self.program} is not installed: install it (on Debian: apt install {self.packages})"


class ClusterPartError(TrinityError):
    """A part of a cluster on this machine does not start, or is not ready in time."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(part, reason)
        self.part = part
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"


class BalancerRefusedError(TrinityError):
    """nginx does not take what was written for it, or was not told to read it; it goes on with what it had."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"nginx goes on with its former lists of nodes: {self.reason}"


class StoreUnavailableError(TrinityError):
    """PostgreSQL does not start, cannot be reached or has gone; prices are answered without it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"database: {self.reason}"


class StoreSilentError(StoreUnavailableError):
    """PostgreSQL takes connections and says nothing: it is frozen, or its machine or disk is."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it does not answer: no word within {seconds:g} s. It is stopped, or its disk hangs")
        self.seconds = seconds


class CacheUnavailableError(TrinityError):
    """Valkey does not answer, or is left alone after it did not; everything is answered without it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cache: {self.reason}"


class CacheReplyError(TrinityError):
    """Valkey answered one command with an error; a value among the replies, raised by nobody."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code  # its first word: OOM, NOPERM, WRONGTYPE, ERR ...
        self.text = text

    @property
    def is_no_script(self) -> bool:
        """The server does not know the script: it was started anew."""
        return self.code == "NOSCRIPT"

    @property
    def is_full(self) -> bool:
        """It has no memory left for what was to be written."""
        return self.code == "OOM"

    def __str__(self) -> str:
        return f"cache: {self.code} {self.text}"


class SyncRunningError(TrinityError):
    """PostgreSQL's rows are being brought to Valkey by another process."""

    def __str__(self) -> str:
        return "sync: another one of this database is running: its result is in the metrics of its node's operator"


class SchemaError(TrinityError):
    """The database's tables are newer than this version, or were made by other migrations than it has."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"database schema: {self.reason}"


class LedgerTakenError(TrinityError):
    """Another connection to the database holds the lock of this node's ledger."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node

    def __str__(self) -> str:
        return (
            f"usage ledger: another process loads it as node {self.node}: if that is a copy of this data directory, "
            "stop this node, remove node-uuid and usage/ in its data directory and start it again"
        )


class UnloadableError(TrinityError):
    """A file of the usage spool is damaged, or in the database by half."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"usage spool {self.path}: {self.reason}"


class KeysFullError(TrinityError):
    """An API key has no place in shared memory; every key with a lower id has."""

    def __init__(self, key_id: int, keys_max: int) -> None:
        super().__init__(key_id, keys_max)
        self.key_id = key_id
        self.keys_max = keys_max

    def __str__(self) -> str:
        return (
            f"API key {self.key_id} has no room: KEYS_MAX is {self.keys_max}: "
            f"set KEYS_MAX to more than {self.key_id} and start the node again"
        )


class KeyChangesError(TrinityError):
    """So many ids got another key that the index of this node's memory is used up."""

    def __init__(self, key_id: int) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return (
            f"API key {self.key_id} cannot be taken over: too many ids stand for another key than before, "
            "as after a restored database: start the node again"
        )


class BlocksFullError(TrinityError):
    """More blocked networks than a node compares an address with; the ones before stay in force."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(count, limit)
        self.count = count
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.count} blocked networks are more than {self.limit}: "
            "block whole networks instead of single addresses, or unblock some"
        )


class BackupError(TrinityError):
    """Something about backups went wrong; nothing half is believed, and what was there before is untouched."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"backup: {self.what}: {self.reason}"


class BackupTargetError(BackupError):
    """The place of the backups cannot be reached, takes nothing, or is not the one that was used before."""


class BackupDamagedError(BackupError):
    """An object of a backup is changed, cut off, misplaced or for another identity; nothing of it is used."""


class BackupToolError(BackupError):
    """A program of PostgreSQL's ended without having done its work."""


class RestoreError(BackupError):
    """A backup cannot be restored as asked."""

    def __init__(self, reason: str) -> None:
        super().__init__("restore", reason)


class DeliveryError(TrinityError):
    """A message did not reach its receiver; one attempt has ended, nothing else has."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind  # an outcome of vocabulary.py: resolve, refused_address, connect, tls, timeout, ...
        self.detail = detail

    def __str__(self) -> str:
        return f"not delivered: {self.kind}: {self.detail}"
