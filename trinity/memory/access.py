"""Who may ask: the shared memory of keys, limits, addresses and blocks of one node, made and removed together.

    /dev/shm/trinity-<node>-keys        key_table.py
    /dev/shm/trinity-<node>-addresses   address_table.py
    /dev/shm/trinity-<node>-blocks      block_table.py
    <data directory>/access/limits      limit_table.py; it stays when the node ends

Rules: the supervisor makes all four before the first fork; children inherit them. No tool needs them: what they hold
of the database, a tool asks the database for.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from trinity.clock import Clock
from trinity.memory import address_table, block_table, key_table, limit_table
from trinity.memory.address_table import AddressTable
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import LimitTable
from trinity.memory.node import name_of
from trinity.memory.segment import WORD_BYTES

LIMITS_FILE = Path("access") / "limits"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc_sys_kernel(5): a UUID, new at each boot


@dataclass(frozen=True)
class AccessMemory:
    """The four tables of a node."""

    keys: KeyTable
    limits: LimitTable
    addresses: AddressTable
    blocks: BlockTable

    @classmethod
    def create(cls, node: str, data_dir: Path, keys_max: int, clock: Clock, in_cluster: bool = False) -> "AccessMemory":
        """Make the segments and open the limits; no segment is left behind when one of them fails.

        Raises NodeRunningError when a live node has this name, LayoutError when the limits are of another version,
        OSError when /dev/shm or the disk is too small.
        """
        with contextlib.ExitStack() as undo:
            path, now_ns, wall_ns = data_dir / LIMITS_FILE, clock.monotonic_ns(), clock.wall_ns()
            limits = LimitTable.open(path, keys_max, read_boot_id(), now_ns, wall_ns, in_cluster)
            keys = KeyTable.create(name_of(node, "keys"), keys_max)
            assert keys.segment is not None
            undo.callback(keys.segment.unlink)
            addresses = AddressTable.create(name_of(node, "addresses"))
            assert addresses.segment is not None
            undo.callback(addresses.segment.unlink)
            blocks = BlockTable.create(name_of(node, "blocks"))
            undo.pop_all()
        return cls(keys, limits, addresses, blocks)

    @classmethod
    def private(cls, keys_max: int = 1) -> "AccessMemory":
        """Empty tables that no other process sees: for compiling, and for whatever has no node."""
        return cls(
            KeyTable.private(keys_max), LimitTable.private(keys_max), AddressTable.private(), BlockTable.private()
        )

    def unlink(self) -> None:
        """Remove the names; only the creator's call does anything."""
        for segment in (self.keys.segment, self.addresses.segment, self.blocks.segment):
            if segment is not None:
                segment.unlink()


def bytes_needed(keys_max: int) -> tuple[int, int]:
    """Shared memory, and room in the data directory, for so many keys."""
    words = key_table.words_needed(keys_max) + address_table.WORDS + block_table.WORDS
    return words * WORD_BYTES, limit_table.bytes_needed(keys_max + 1)


def read_boot_id() -> bytes:
    """16 bytes that are the same until the machine is booted again."""
    return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
