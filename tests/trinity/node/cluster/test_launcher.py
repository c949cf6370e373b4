"""trinity/node/cluster/launcher.py"""

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Mapping

import pytest

from trinity.clock import SystemClock
from trinity.errors import ClusterPartError
from trinity.node.cluster import launcher as module
from trinity.node.cluster.launcher import ClusterLauncher, StopAskedError


@dataclasses.dataclass
class FakePart:
    """A part that does as it is told, and writes down what it was told."""

    name: str
    told: list[str]
    ready_after: int = 0
    obeys: bool = True
    dies_at_start: bool = False
    pid: int = 0
    asked: int = 0
    code: int | None = None

    def start(self) -> None:
        self.told.append(f"start {self.name}")
        self.pid, self.asked, self.code = self.pid + 1, 0, 1 if self.dies_at_start else None

    def exit_code(self) -> int | None:
        return self.code

    def is_ready(self) -> bool:
        self.asked += 1
        return self.code is None and self.asked > self.ready_after

    def tell_to_stop(self) -> None:
        self.told.append(f"stop {self.name}")
        if self.obeys:
            self.code = 0

    def kill(self) -> None:
        self.told.append(f"kill {self.name}")
        self.code = -9

    def last_words(self) -> str:
        return f"{self.name} says no"


@dataclasses.dataclass
class Scene:
    """Parts of two groups, and what was said of them."""

    told: list[str] = dataclasses.field(default_factory=list)
    lines: list[str] = dataclasses.field(default_factory=list)
    pids: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = FakePart("store", self.told, ready_after=2)
        self.nodes = [FakePart("node-1", self.told), FakePart("node-2", self.told, ready_after=1)]
        self.launcher = ClusterLauncher([[self.store], self.nodes], SystemClock(), self.lines.append, self._on_change)

    def _on_change(self, pids: Mapping[str, int]) -> None:
        self.pids = dict(pids)

    def start(self) -> None:
        for group in self.launcher.groups:
            self.launcher.start_group(group)

    def turn_until(self, ready: Callable[[], bool]) -> None:
        for _ in range(500):
            if ready():
                return
            self.launcher.turn()
        pytest.fail(f"{self.told} {self.lines}")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(module, "TURN_NS", 1_000_000)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield Scene()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_group_starts_when_all_of_the_one_before_are_ready_and_the_stop_goes_the_other_way(scene: Scene) -> None:
    """Nodes find their stores, and empty their ledgers into them."""
    scene.start()
    assert scene.told == ["start store", "start node-1", "start node-2"]
    assert scene.store.asked == 3
    scene.launcher.stop()
    assert scene.told[3:] == ["stop node-1", "stop node-2", "stop store"]


def test_a_part_that_dies_is_started_again_and_told_of_and_its_new_pid_is_known(scene: Scene) -> None:
    """Each death is one line with its cause."""
    scene.start()
    scene.nodes[1].code = -signal.SIGKILL
    scene.turn_until(lambda: scene.pids["node-2"] == 2)
    assert scene.lines == ["node-2: killed by SIGKILL; it is started again"]
    scene.nodes[1].code = 7
    scene.turn_until(lambda: scene.pids["node-2"] == 3)
    assert scene.lines[1] == "node-2: it ended with exit code 7; it is started again"


def test_a_part_that_never_comes_up_ends_the_start_with_its_last_words(scene: Scene) -> None:
    """After three tries; nothing of the next group was started."""
    scene.store.dies_at_start = True
    with pytest.raises(ClusterPartError, match="store: it does not start: store says no"):
        scene.start()
    assert scene.told == ["start store"] * 3


def test_a_signal_while_the_cluster_starts_ends_the_start_and_only_what_was_started_is_stopped(scene: Scene) -> None:
    """Ctrl-C need not wait for a database that is being made."""
    scene.launcher.catch_signals()
    scene.store.ready_after = 1_000_000
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopAskedError):
        scene.start()
    scene.launcher.stop()
    assert scene.told == ["start store", "stop store"]


def test_a_second_signal_kills_what_does_not_stop(scene: Scene) -> None:
    """Nobody waits for a part that hangs."""
    scene.launcher.catch_signals()
    scene.start()
    scene.nodes[0].obeys = False
    os.kill(os.getpid(), signal.SIGTERM)
    scene.launcher.run()
    hung = scene.nodes[0].tell_to_stop

    def tell_to_stop() -> None:
        hung()
        os.kill(os.getpid(), signal.SIGTERM)

    scene.nodes[0].tell_to_stop = tell_to_stop  # type: ignore[method-assign]
    scene.launcher.stop()
    assert "kill node-1" in scene.told
    assert scene.told[-1] == "stop store"


def test_a_closed_terminal_ends_nothing(scene: Scene) -> None:
    """SIGHUP is passed over."""
    scene.launcher.catch_signals()
    scene.start()
    os.kill(os.getpid(), signal.SIGHUP)
    scene.launcher.turn()
    assert [part.code for part in scene.nodes] == [None, None]
