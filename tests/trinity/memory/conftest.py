"""A name for shared memory that no other test uses, removed again whatever happens."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def segment_name() -> Iterator[str]:
    name = f"trinity-test-{uuid.uuid4().hex[:12]}"
    yield name
    with contextlib.suppress(FileNotFoundError):
        os.unlink(Path("/dev/shm") / name)
