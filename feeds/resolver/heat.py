"""Which assets are hot: looked up often of late, and until nobody asks any more. Pure; time is an argument."""

from collections import deque
from collections.abc import Sequence

from trinity.clock import NS_PER_SECOND
from trinity.limits import COLD_SECONDS, HOT_LOOKUPS, HOT_WINDOW_SECONDS
from trinity.memory.asset_table import AssetCell

_WINDOW_NS = HOT_WINDOW_SECONDS * NS_PER_SECOND
_COLD_NS = COLD_SECONDS * NS_PER_SECOND
# A look a second: a window is some ten of them.
_LOOK_NS = NS_PER_SECOND


class Heat:
    """Looks at the counts of lookups, and keeps who is hot."""

    def __init__(self) -> None:
        # When, and of each (cell, version) how often it had been asked for.
        self._looks: deque[tuple[int, dict[tuple[int, int], int]]] = deque()
        self._hot: dict[str, tuple[int, int]] = {}

    def follow(self, cells: Sequence[AssetCell], now_ns: int) -> set[str]:
        """The names that are hot now."""
        while len(self._looks) > 1 and self._looks[1][0] <= now_ns - _WINDOW_NS:
            self._looks.popleft()
        before = self._looks[0][1] if self._looks else {}
        hot: dict[str, tuple[int, int]] = {}
        for cell in cells:
            place = cell.cell, cell.version
            is_warm = self._hot.get(cell.name) == place and now_ns - cell.asked_at_ns < _COLD_NS
            if is_warm or cell.asked - before.get(place, 0) >= HOT_LOOKUPS:
                hot[cell.name] = place
        self._hot = hot
        if not self._looks or now_ns - self._looks[-1][0] >= _LOOK_NS:
            self._looks.append((now_ns, {(cell.cell, cell.version): cell.asked for cell in cells}))
        return set(hot)
