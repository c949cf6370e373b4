"""The partitions of the days that records fall into: made once each, before the transaction that needs them.

Rules: a day that was made is there whether the transaction commits or not, and no connection asks for it again.
"""

import datetime

import numpy as np
from numpy.typing import NDArray

from trinity.store import partitions
from trinity.store.connect import AnyConnection

_EPOCH = datetime.date(1970, 1, 1)
_MINUTES_A_DAY = 1440


class EnsuredDays:
    """Those of one connection (autocommit)."""

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection
        self._known: set[datetime.date] = set()

    def ensure(self, minutes: NDArray[np.int64]) -> None:
        """There are partitions for all of these minutes (since 1970); raises psycopg's errors."""
        days = {_EPOCH + datetime.timedelta(days=int(day)) for day in np.unique(minutes // _MINUTES_A_DAY)}
        if days - self._known:
            partitions.ensure_days(self._connection, sorted(days - self._known))
            self._known |= days
