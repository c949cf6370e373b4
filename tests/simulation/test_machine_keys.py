"""A key's life as a state machine: acts on a real PostgreSQL, the mirror, and at the end the gate's word."""

import datetime
import logging
from typing import Any

import numpy as np
import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from trinity import vocabulary
from trinity.access import gate, keys
from trinity.access.keys import NewKey, OwnLimits
from trinity.config import AccessSection
from trinity.errors import RefusedError
from trinity.memory.access import AccessMemory
from trinity.native.octets import octets_of
from trinity.store.queries import load
from trinity.vocabulary import KeyState
from workers.access.cache import AccessCache
from workers.access.rows import PlanRow, key_rows
from workers.access.tables import Tables

KEYS_MAX = 60
SECOND_NS = 1_000_000_000
HOUR = datetime.timedelta(hours=1)


class KeysMachine(RuleBasedStateMachine):
    """Keys of one account; `state` is what each key is for its owner, by the world's own account."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.connection = psycopg.connect(self.url, autocommit=True)
        self.connection.execute("TRUNCATE api_keys, accounts RESTART IDENTITY CASCADE")
        self.memory = AccessMemory.private(KEYS_MAX)
        counters = np.zeros(gate.COUNTED_WORDS, dtype=np.uint64)
        memory = self.memory
        self.gate = gate.make_gate(
            memory.keys, memory.limits, memory.addresses, memory.blocks, counters, AccessSection(), remembered=16
        )
        self.secrets: dict[int, str] = {}
        self.state: dict[int, str] = {}
        self.ends_us: dict[int, int] = {}
        self.ahead_us = 0
        self.now_ns = 1_000 * SECOND_NS
        self.new_process()

    def teardown(self) -> None:
        self.connection.close()

    def wall_us(self) -> int:
        return int(datetime.datetime.now(datetime.UTC).timestamp() * 1_000_000) + self.ahead_us

    def some(self, number: int) -> int:
        return sorted(self.secrets)[number % len(self.secrets)]

    # --- the operator --------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.secrets) < KEYS_MAX // 2)
    @rule(plan=st.sampled_from(["free", "standard"]), rate=st.sampled_from([None, 3]))
    def create(self, plan: str, rate: int | None) -> None:
        key, secret = keys.create(self.connection, NewKey("acme", plan, limits=OwnLimits(rate)), KEYS_MAX)
        assert key.id not in self.secrets
        self.secrets[key.id], self.state[key.id] = secret, "active"

    @precondition(lambda self: self.secrets)
    @rule(number=st.integers(0, 99), state=st.sampled_from(["active", "suspended", "revoked"]))
    def set_state(self, number: int, state: str) -> None:
        """Suspended keys come back, revoked ones never."""
        key_id = self.some(number)
        was = self.state[key_id]
        try:
            _, is_change = keys.set_state(self.connection, key_id, KeyState[state.upper()])
        except RefusedError:
            assert was == "revoked"
            return
        assert was != "revoked" or state == "revoked"
        assert is_change == (was != state)
        self.state[key_id] = state

    @precondition(lambda self: 0 < len(self.secrets) < KEYS_MAX // 2)
    @rule(number=st.integers(0, 99))
    def rotate(self, number: int) -> None:
        """The old key works through its grace, the new one from now on; nothing but a good key is rotated."""
        key_id = self.some(number)
        try:
            new, old, secret = keys.rotate(self.connection, key_id, HOUR, KEYS_MAX)
        except RefusedError:
            assert self.state[key_id] != "active" or key_id in self.ends_us
            return
        assert self.state[key_id] == "active"
        assert old.id == key_id
        assert old.expires_at is not None
        self.secrets[new.id], self.state[new.id] = secret, "active"
        self.ends_us[key_id] = int(old.expires_at.timestamp() * 1_000_000)

    # --- the node ------------------------------------------------------------------------------------------

    @rule()
    def new_process(self) -> None:
        """The access process starts again over the same shared memory."""
        self.mirror = AccessCache(KEYS_MAX)
        self.tables = Tables(self.memory.keys, self.memory.blocks, (), logging.getLogger("simulation"))
        self.follow()

    @rule(minutes=st.sampled_from([1, 59, 61]))
    def time_passes(self, minutes: int) -> None:
        self.ahead_us += minutes * 60_000_000
        self.now_ns += minutes * 60 * SECOND_NS
        self.tables.write_keys(self.mirror, self.mirror.ended(self.wall_us()), self.wall_us())

    @invariant()
    def the_gate_says_what_the_key_is(self) -> None:
        """After the node has followed: by its state and its end; a word that is not a key is none."""
        self.follow()
        for key_id, secret in self.secrets.items():
            assert self.ask(secret) == self.expected(key_id), f"key {key_id} is {self.state[key_id]}"
        assert self.ask("trk_nobodys") == "invalid_key"

    def expected(self, key_id: int) -> str:
        if self.state[key_id] == "revoked" or self.ends_us.get(key_id, 2**63) <= self.wall_us():
            return "key_revoked"
        return "key_suspended" if self.state[key_id] == "suspended" else "ok"

    def follow(self) -> None:
        """What a comparison does: everything is read and written."""
        plans = self.connection.execute(load("access.plans")).fetchall()
        self.mirror.put_plans(PlanRow(*row) for row in plans)
        cursor = self.connection.cursor(binary=True)
        values = {"after": 0, "since": None, "count": KEYS_MAX}
        row = cursor.execute(load("access.keys"), values).fetchone()
        assert row is not None
        if row[0] is not None:
            self.mirror.put_keys(key_rows(row[0]))
        self.tables.write_keys(self.mirror, self.mirror.ids(), self.wall_us())
        self.memory.keys.mark_loaded()

    def ask(self, secret: str) -> str:
        self.now_ns += SECOND_NS  # the rate is not what is asked about
        text: Any = octets_of(secret.encode())
        nobody = np.zeros(2, dtype=np.uint64)
        code = gate.admit(self.gate, text, 0, text.size, nobody, False, False, self.now_ns)
        return "ok" if code == vocabulary.CODE_OK else vocabulary.CODES[code]


def test_a_key_is_at_the_gate_what_its_owner_made_it(database_url: str) -> None:
    """Created, suspended, rotated, revoked, ended, by any sequence of acts, restarts and hours."""
    KeysMachine.url = database_url
    run_state_machine_as_test(KeysMachine, settings=settings(max_examples=12, stateful_step_count=15, deadline=None))
