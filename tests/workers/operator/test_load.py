"""workers/operator/load.py, against a real PostgreSQL"""

import contextlib
import threading

import numpy as np
import psycopg

from trinity.limits import COUNTER_WORDS
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import OPERATOR
from trinity.store.connect import AnyConnection, connect
from workers.operator.load import show_load


def _sleep(connection: AnyConnection) -> None:
    with contextlib.suppress(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")


def test_sessions_that_run_a_statement_are_counted_and_the_question_itself_is_not(database_url: str) -> None:
    """One that sleeps in the server is active, one that is merely open is not."""
    block = ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))

    def shown(which: str) -> float:
        return block.read_gauge(OPERATOR.index(f"operator_database_sessions{which}"))

    with connect(database_url, "asks", autocommit=True) as asking, connect(database_url, "sleeps") as sleeping:
        show_load(asking, block)
        idle, sessions = shown("_active"), shown("")
        assert sessions >= 2
        assert shown("_max") >= sessions
        thread = threading.Thread(target=_sleep, args=[sleeping], daemon=True)
        thread.start()
        try:
            while shown("_active") <= idle:
                show_load(asking, block)
            assert shown("_active") == idle + 1
        finally:
            sleeping.cancel()
            thread.join()
