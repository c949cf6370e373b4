"""The cache's content into shared memory, where the request workers read it.

Rules: the only writer of the key table and the block table. Protected networks are left out here as well as on the
command line: only this machine knows its own addresses. Whatever finds no room is reported and never half written.
"""

import ipaddress
import logging
from collections.abc import Sequence

import numpy as np

from trinity.access.networks import Network, find_protected, knows_own_addresses, normalised, protected_networks
from trinity.errors import KeyChangesError
from trinity.limits import BLOCKS_MAX
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from workers.access.cache import AccessCache, Ids
from workers.access.rows import BlockRow

# So many keys are written or copied by one call: 10 ms of a processor at most. A process that gets a thirtieth of one
# still beats within 0.3 s.
KEYS_AT_ONCE = 10_000


class Tables:
    """Key table and block table of one node, and what was written to them last."""

    def __init__(self, keys: KeyTable, blocks: BlockTable, trusted_proxies: Sequence[str], log: logging.Logger) -> None:
        self.keys = keys
        self._blocks = blocks
        self._trusted_proxies = trusted_proxies
        self._log = log
        self._blocked: list[str] | None = None
        self._refused: list[str] = []
        self._is_used_up = False
        if not knows_own_addresses():
            log.warning("this machine hides its IPv4 addresses: a block of one of them is applied")

    @property
    def blocked_count(self) -> int:
        return len(self._blocked or [])

    @property
    def refused_count(self) -> int:
        """Blocks of the database that are not applied here."""
        return len(self._refused)

    def write_keys(self, cache: AccessCache, ids: Ids, now_us: int) -> int:
        """Write the keys `ids` as they are granted now; returns how many were not already so."""
        grants = cache.grants(ids, now_us)
        try:
            return self.keys.write_many(
                grants.ids,
                grants.digests,
                grants.states,
                grants.rates,
                grants.bursts,
                grants.monthly_quotas,
                grants.dry_runs.astype(np.int64),
                grants.admission_classes,
            )
        except KeyChangesError as error:
            if not self._is_used_up:  # until the node is started again
                self._log.error(str(error))
            self._is_used_up = True
            return len(ids)

    def revoke_others(self, cache: AccessCache) -> int:
        """Revoke what a former life of this process wrote and the database no longer has; returns how many."""
        revoked = self.keys.revoke_others(cache.ids())
        if revoked:
            self._log.warning("keys revoked that the database does not have", extra={"fields": {"keys": revoked}})
        return revoked

    def write_blocks(self, blocks: Sequence[BlockRow], now_us: int) -> int:
        """Block what has not ended and may be blocked; returns by how many networks that differs from before."""
        protected = protected_networks(self._trusted_proxies)
        wanted: list[Network] = []
        refused: list[str] = []
        for block in blocks:
            if block.ends_at_us <= now_us:
                continue
            network = normalised(ipaddress.ip_network(block.network))
            safe = find_protected(network, protected)
            if safe is not None:
                refused.append(f"{network}: {safe.network} is {safe.reason}")
            elif len(wanted) == BLOCKS_MAX:
                refused.append(f"{network}: there are {BLOCKS_MAX} blocks already")
            else:
                wanted.append(network)
        if refused != self._refused:
            level, event = (
                (logging.ERROR, "blocks are not applied") if refused else (logging.INFO, "all blocks are applied")
            )
            self._log.log(level, event, extra={"fields": {"blocks": refused[:10], "count": len(refused)}})
            self._refused = refused
        texts = [str(network) for network in wanted]
        if texts == self._blocked:
            return 0
        changed = len(set(texts) ^ set(self._blocked or []))
        self._blocks.write(wanted)
        self._blocked = texts
        return changed
