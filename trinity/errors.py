"""Every error that Trinity raises on purpose.

    TrinityError
    |-- ConfigError       a setting is wrong; nothing was started        (key, reason)
    |-- PortTakenError    a listener's port is in use                    (name, host, port)
    |-- PeerError         an exchange or a client broke the rules        (peer, reason)
    |-- BugError          our own code broke its promise: the process ends
    |   `-- LayoutError   shared memory has another layout than this code (segment, what, expected, found)
    |-- NodeRunningError  another live node holds this name's memory     (segment, owner_pid)
    `-- NodeAbsentError   a tool looks for a node that does not run      (node)

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


class PeerError(TrinityError):
    """An exchange or a client broke the rules; it is counted and its connection dropped."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(peer, reason)
        self.peer = peer
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"


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
