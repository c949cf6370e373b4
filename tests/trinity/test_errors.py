"""trinity/errors.py"""

import pytest

from trinity import errors

TEXTS = [
    (errors.ConfigError("REQUEST_WORKERS", "'x' is not a whole number"),
     "configuration: REQUEST_WORKERS: 'x' is not a whole number"),
    (errors.ReloadFailedError("worker-2 could not begin"), "reload: worker-2 could not begin"),
    (errors.PortTakenError("TCP_PORT_LPO", "127.0.0.1", 8080),
     "TCP_PORT_LPO=8080 is taken on 127.0.0.1: stop the program that uses it or set TCP_PORT_LPO to a free port"),
    (errors.LayoutError("trinity-a-prices", "layout version", 1, 2),
     ("shared memory trinity-a-prices: layout version is 0x2, this version needs 0x1: "
      "stop the node that made it, then start again")),
    (errors.NodeRunningError("trinity-a-prices", 77),
     ("shared memory trinity-a-prices belongs to the running process 77: "
      "stop that node or give this one another CLUSTER_NODE")),
    (
        errors.DataDirTakenError("/data"),
        (
            "the data directory /data belongs to a node that runs: "
            "stop that node or give this one another TRINITY_DATA_DIR"
        ),
    ),
    (errors.NodeAbsentError("trinity"),
     ("no node named trinity runs on this machine: start one with `trinity run` or `trinity demo`, "
      "or set CLUSTER_NODE to the name of the one that runs")),
    (errors.SnapshotError("access.snapshot", "its checksum is wrong"),
     ("snapshot access.snapshot: its checksum is wrong: "
      "it is ignored, and replaced once the database answers")),
    (errors.InputError("--rate", "'x' is not a whole number"), "--rate: 'x' is not a whole number"),
    (errors.AbsentError("plan", "gold", "`trinity plans list` shows them"),
     "there is no plan gold: `trinity plans list` shows them"),
    (errors.MissingExtraError("pyarrow", "parquet"),
     ("pyarrow is not installed: it comes with the extra parquet: "
      "pip install 'trinity-oracle[parquet]', or in a checkout `make extras`")),
    (errors.MissingProgramError("nginx", "nginx libnginx-mod-stream"),
     "nginx is not installed: install it (on Debian: apt install nginx libnginx-mod-stream)"),
    (errors.ClusterPartError("valkey", "it does not start: no room"), "valkey: it does not start: no room"),
    (errors.BalancerRefusedError("no host"), "nginx goes on with its former lists of nodes: no host"),
    (errors.StoreUnavailableError("it is not there"), "database: it is not there"),
    (errors.StoreSilentError(2.0),
     "database: it does not answer: no word within 2 s. It is stopped, or its disk hangs"),
    (errors.CacheUnavailableError("no answer within 0.25 s"), "cache: no answer within 0.25 s"),
    (errors.CacheReplyError("OOM", "command not allowed"), "cache: OOM command not allowed"),
    (errors.SyncRunningError(),
     "sync: another one of this database is running: its result is in the metrics of its node's operator"),
    (errors.SchemaError("it is newer"), "database schema: it is newer"),
    (errors.RefusedError("key 7", "it is revoked"), "key 7: it is revoked"),
    (errors.LedgerTakenError("7a"),
     ("usage ledger: another process loads it as node 7a: if that is a copy of this data directory, "
      "stop this node, remove node-uuid and usage/ in its data directory and start it again")),
    (errors.UnloadableError("spool/1.sum", "it is damaged"), "usage spool spool/1.sum: it is damaged"),
    (errors.KeysFullError(1001, 1000),
     ("API key 1001 has no room: KEYS_MAX is 1000: "
      "set KEYS_MAX to more than 1001 and start the node again")),
    (errors.KeyChangesError(7),
     ("API key 7 cannot be taken over: too many ids stand for another key than before, "
      "as after a restored database: start the node again")),
    (errors.BlocksFullError(9000, 8192),
     ("9000 blocked networks are more than 8192: "
      "block whole networks instead of single addresses, or unblock some")),
    (errors.BackupError("status", "nobody knows"), "backup: status: nobody knows"),
    (errors.BackupTargetError("/mnt/backups", "No space left on device: make room"),
     "backup: /mnt/backups: No space left on device: make room"),
    (errors.BackupDamagedError("7/base/1", "its end is missing"), "backup: 7/base/1: its end is missing"),
    (errors.BackupToolError("pg_basebackup", "it ended with 1"), "backup: pg_basebackup: it ended with 1"),
    (errors.RestoreError("it is too early"), "backup: restore: it is too early"),
    (errors.DeliveryError("tls", "certificate has expired"), "not delivered: tls: certificate has expired"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda value: type(value).__name__)
def test_each_error_says_what_is_wrong_and_what_to_do(error: errors.TrinityError, text: str) -> None:
    """The sentence is made of the fields."""
    assert str(error) == text


def test_every_error_class_has_its_text_here() -> None:
    """A new error needs a line in the table above; bases have no text of their own."""
    classes = {value for value in vars(errors).values() if isinstance(value, type)}
    assert classes - {errors.TrinityError, errors.BugError} == {type(error) for error, _ in TEXTS}
