"""The words that a sender, its client and whoever measures them share: a file of three integers.

Rules: each word has one writer. It imports numpy alone, for a client may run in another Python than ours.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Control = NDArray[np.int64]
# Frames a second that are wanted, frames that were sent, and tickers that a foreign client took.
WANTED, SENT, TAKEN = 0, 1, 2
_WORDS = 3


def open_control(path: Path, mode: str) -> Control:
    """The control file: `w+` makes it, all zero; `r+` opens it."""
    return np.memmap(path, dtype=np.int64, mode=mode, shape=(_WORDS,))  # type: ignore[call-overload,no-any-return]
