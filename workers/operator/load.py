"""How busy the database is: its server's sessions, and how many of them run a statement at this moment."""

from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import OPERATOR
from trinity.store.connect import AnyConnection
from trinity.store.queries import load

_GAUGES = tuple(
    OPERATOR.index(f"operator_database_sessions{which}") for which in ("_active", "", "_max")
)  # in the order of the query


def show_load(connection: AnyConnection, block: ProcessBlock) -> None:
    """Into this process's metrics; an average over time is who scrapes them's."""
    row = connection.execute(load("operator.load")).fetchone()
    assert row is not None
    for gauge, value in zip(_GAUGES, row, strict=True):
        block.set_gauge(gauge, float(value))
