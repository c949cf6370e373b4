"""What the way from the rings over the disk has to know of a kind of records: two layouts and how to add up.

Rules: a record begins with `time_ns` and its id (trinity/memory/record_ring.py). A group stands for several records
and has their `minute` (since 1970) and `requests`, how many they are; the rest is the kind's alone. Adding up is exact
and in any order: sums of sums are the sums of all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]
Groups = NDArray[np.void]


@dataclass(frozen=True)
class RecordKind:
    """A kind of records, as usage is one."""

    record_dtype: np.dtype[np.void]
    group_dtype: np.dtype[np.void]
    sum_records: Callable[[Records], Groups]
    # One group for each key of several; in units of so many minutes (sums.py).
    merge_groups: Callable[[list[Groups], int], Groups]

    def ids_of(self, records: Records) -> NDArray[np.uint64]:
        """Ring and position of each record."""
        ids: NDArray[np.uint64] = records[(self.record_dtype.names or ())[1]]
        return ids
