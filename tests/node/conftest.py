"""Nodes for the tests: one for a whole module, or one of a test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

# Before they are imported: what fails in them is shown like what fails in a test.
pytest.register_assert_rewrite("tests.node.books", "tests.node.customers")

from tests.node.browser import browser  # noqa: E402
from tests.node.harness import Node, new_node  # noqa: E402


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One running demo for all tests of a module."""
    with new_node(tmp_path_factory.mktemp("node")) as started:
        started.start()
        started.wait_ready()
        started.wait_reports_ready()
        started.wait_all_sources()
        yield started
        if started.process is not None and started.process.poll() is None:
            assert started.stop() == 0


@pytest.fixture
def healthy(node: Node) -> Iterator[Node]:
    """The module's node without any fault, before and after."""
    node.clear_faults()
    node.wait_all_sources()
    node.wait_reports_ready()
    yield node
    node.clear_faults()


@pytest.fixture
def fresh_node(tmp_path: Path) -> Iterator[Node]:
    """A node of one test's own, not started."""
    with new_node(tmp_path / "data") as made:
        yield made
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """One browser for all tests that look at a page."""
    with browser() as started:
        yield started
