"""What the way from the rings to the database has to know of a kind of records: two layouts, how to add up, its tables,
and what it is called in the log and in metrics.

Rules: a record begins with `time_ns` and its id (trinity/memory/record_ring.py). A group stands for several records
and has their `minute` (since 1970) and `requests`, how many they are; the rest is the kind's alone. Adding up is exact
and in any order: sums of sums are the sums of all. What the tables take is made ready before the transaction, written
in it, and told after it; nothing of it is there when the transaction fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trinity.memory.record_ring import RecordRing
from trinity.observe.metrics import FLUSHER
from trinity.store.connect import AnyConnection

Records = NDArray[np.void]
Groups = NDArray[np.void]


class TableChange(NamedTuple):
    """What records or sums bring to a kind's tables. `with_row` are the records that get a row; the others count."""

    with_row: Records
    write: Callable[[], None] = lambda: None  # in the transaction; raises psycopg's errors
    committed: Callable[[], None] = lambda: None  # it is in the database


class KindTables(Protocol):
    """A kind's tables on one connection, for one node."""

    def of_records(self, records: Records) -> TableChange:
        """Rows and sums of these records."""
        ...

    def of_sums(self, groups: Groups) -> TableChange:
        """Sums alone: there is no detail of these records any more."""
        ...


@dataclass(frozen=True)
class RecordKind:
    """A kind of records, as usage is one. Its metrics begin with `name`. `given_up` tells of records that lose their
    rows, `batches` is the table of what is loaded (as usage_batches), `lock` its own number among advisory locks."""

    name: Literal["usage", "delivery"]
    called: str
    given_up: str
    ring: type[RecordRing]
    group_dtype: np.dtype[np.void]
    sum_records: Callable[[Records], Groups]
    # One group for each key of several; in units of so many minutes (sums.py).
    merge_groups: Callable[[list[Groups], int], Groups]
    open_tables: Callable[[AnyConnection, int], KindTables]
    batches: str
    lock: int

    @property
    def record_dtype(self) -> np.dtype[np.void]:
        return self.ring.record_dtype

    def metric(self, name: str, *label_values: str) -> int:
        """The word of one of the flusher's metrics of this kind; `name` without the kind's."""
        return FLUSHER.index(f"{self.name}_{name}", *label_values)

    def ids_of(self, records: Records) -> NDArray[np.uint64]:
        """Ring and position of each record."""
        ids: NDArray[np.uint64] = records[(self.record_dtype.names or ())[1]]
        return ids
