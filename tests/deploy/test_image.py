"""The image, without a container engine: built by the Dockerfile's own words (stages.py), then run as a container is"""

import os
import shutil
import signal
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.stages import Stage, build, execute, instructions, process_1, python_prefix, start
from tests.node.harness import PORT_NAMES, free_port
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
MB = 1_000_000
# It was 500 when it was made: libraries, PostgreSQL, machine code and all bytecode; the Python below is the base's.
IMAGE_MB_MAX = 600


def _may_build() -> bool:
    """Whether this machine lets us mount: root, with overlayfs."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    return "overlay" in Path("/proc/filesystems").read_text()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The image of this checkout."""
    if not _may_build():
        pytest.skip("needs root and overlayfs")
    return build(ROOT, tmp_path_factory.mktemp("image"), python_prefix())


@pytest.fixture
def container(image: Stage, tmp_path: Path) -> Iterator["Container"]:
    made = Container(image, tmp_path)
    yield made
    made.kill()


class Container:
    """A node of the image that runs, with `demo` as its command, and the volume that it has."""

    def __init__(self, image: Stage, folder: Path) -> None:
        self.image, self.volume = image, folder / "volume"
        self.ports = {name: free_port(kind) for name, kind in PORT_NAMES.items()}
        settings = {name: str(port) for name, port in self.ports.items()}
        settings |= {"CLUSTER_NODE": f"image-{uuid.uuid4().hex[:8]}", "REQUEST_WORKERS": "1"}
        self._out = folder / "out"
        self.process = start(image, self.volume, ["demo"], settings, self._out)

    def health(self) -> int:
        """The exit code of the Dockerfile's own check, run beside the node."""
        return execute(self.image, self.process, *self.image.words["HEALTHCHECK"]).returncode

    def wait_well(self) -> None:
        deadline = time.monotonic() + 60 * PATIENCE
        while self.health() != 0:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()

    def output(self) -> str:
        return self._out.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


def test_every_word_of_the_dockerfile_is_understood_here() -> None:
    """Comments within a command, and lines that go on, are read as a builder reads them."""
    words = list(instructions((ROOT / "Dockerfile").read_text()))
    assert [word for word, _ in words if word in ("FROM", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD")] == [
        "FROM", "FROM", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD",
    ]  # fmt: skip
    assert all("#" not in rest for word, rest in words if word == "RUN")


@pytest.mark.long
def test_a_container_of_the_image_serves_with_a_read_only_root_and_ends_in_order(container: Container) -> None:
    """As user 10001 without capabilities; its volume, /tmp and 64 MB of /dev/shm are all that it can write.

    Its first start compiles nothing, its check knows starting from well, and SIGTERM for process 1 drains it.
    """
    codes = [container.health()]
    assert codes == [1], "nothing answers yet"
    container.wait_well()
    url = f"http://127.0.0.1:{container.ports['TCP_PORT_LPO']}/price?asset=BTC"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
    assert "compiling" not in container.output()
    assert list((container.volume / "compiled").iterdir()) == []
    node = psutil.Process(process_1(container.process))
    family = [node, *node.children(recursive=True)]
    assert {process.uids().effective for process in family} == {10001}
    capabilities = {line for process in family for line in _status_of(process.pid, "CapEff", "CapBnd")}
    assert capabilities == {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"}
    for path in ("/", "/opt/trinity", "/etc", "/usr/local/lib", "/var/lib"):
        written = execute(container.image, container.process, "touch", f"{path}/written")
        assert (written.returncode, "Read-only file system" in written.stderr) == (1, True), path
    node.send_signal(signal.SIGTERM)
    assert container.process.wait(60) == 0, container.output()


@pytest.mark.long
def test_no_module_is_compiled_to_bytecode_at_a_start(image: Stage, container: Container) -> None:
    """Nobody could keep it there: each start, and each health check, would take seconds longer."""
    command = ("/opt/trinity/bin/python", "-v", "-c", "import trinity.node.composition, trinity.__main__")
    said = execute(image, container.process, *command).stderr
    assert "trinity.node.composition" in said
    assert [
        line for line in said.splitlines() if line.startswith("# code object from ") and line.endswith(".py'")
    ] == []


@pytest.mark.long
def test_the_image_is_slim(image: Stage) -> None:
    """No compiler, no tests of libraries, no second PostgreSQL, nothing of the builder's stage."""
    size = sum(path.lstat().st_size for path in image.layer.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < IMAGE_MB_MAX * MB
    inside = {path.name for path in (image.layer / "opt").iterdir()}
    assert inside == {"trinity"}
    assert not (image.layer / "build").exists()
    assert not list(image.layer.rglob("pginstall"))


def _status_of(pid: int, *names: str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.partition(":")[0] in names]
