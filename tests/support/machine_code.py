"""The machine code of this test process, for the nodes and commands of a test's own: nobody compiles it again.

A command that runs in this process is given a data directory, and the code is looked for there from then on: behind a
link of a test that is over, if each test linked to what the one before had. Linux follows 40 links and no more.
"""

from pathlib import Path

from trinity.compiled import written_folder


def machine_code() -> Path:
    """The folder itself, never a link to it."""
    folder = written_folder()
    assert folder is not None
    return folder.resolve()


def share_machine_code(data_dir: Path) -> None:
    """Whoever works in this directory finds it."""
    (data_dir / "compiled").symlink_to(machine_code())
