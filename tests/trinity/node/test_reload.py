"""A reload's decisions: what is read, refused, replaced, told and taken back. No process is started here."""

import logging
import uuid
from pathlib import Path

import msgspec
import pytest

from trinity.config import AccessSection, Config, NodeSection, PortsSection, PushSection
from trinity.errors import ConfigError
from trinity.markets import DEFAULT_PATH, Catalog, load_catalog
from trinity.node.asking import WANTED, ReloadOutcome, ReloadRequest, read_outcome
from trinity.node.plan import NodePlan, RunningPlan
from trinity.node.reload import Reload, ReloadedNode
from trinity.node.replacement import Replace, Replaced

LOG = logging.getLogger("tests.reload")
KINDS = {"access": "access", "feed-okx": "feed", "cluster": "cluster", "worker-0": "worker", "worker-1": "worker"}


class Running:
    """A node whose configuration a test writes."""

    def __init__(self, data_dir: Path) -> None:
        self.written: Config | ConfigError = Config(node=NodeSection(data_dir=data_dir))
        self.applied: list[Config] = []
        self.refusal: ConfigError | None = None
        self.running = RunningPlan(NodePlan(self.read(), load_catalog(), False, uuid.UUID(int=1)))
        self.data_dir = data_dir
        self.reload = Reload(ReloadedNode(self.running, KINDS, self.read, self.check, self.apply), LOG)

    def read(self) -> Config:
        if isinstance(self.written, ConfigError):
            raise self.written
        return self.written

    def check(self, _config: Config) -> None:
        if self.refusal is not None:
            raise self.refusal

    def apply(self, config: Config, _before: Config, _catalog: Catalog) -> None:
        self.applied.append(config)

    def write(self, **sections: msgspec.Struct) -> None:
        self.written = msgspec.structs.replace(Config(node=NodeSection(data_dir=self.data_dir)), **sections)

    @property
    def outcome(self) -> ReloadOutcome:
        found = read_outcome(self.data_dir)
        assert found is not None
        return found


@pytest.fixture
def node(tmp_path: Path) -> Running:
    return Running(tmp_path)


def test_the_same_configuration_changes_nothing(node: Running) -> None:
    """And says so."""
    assert node.reload.begin() is None
    assert node.outcome == ReloadOutcome("", "done")


def test_a_changed_rate_is_in_force_once_its_processes_are_replaced(node: Running) -> None:
    """What begins from now on reads the new plan; the outcome says at first what is being done, then what was."""
    node.write(access=AccessSection(free_rate=77))
    assert node.reload.begin() == Replace(("access", "cluster"), ("worker",))
    assert node.running.plan.config.access.free_rate == 77
    assert (node.outcome.state, node.outcome.replacing) == ("running", ("access.free_rate",))
    assert node.reload.end(Replaced(("access", "cluster", "worker-0", "worker-1"))) is None
    assert node.outcome.state == "done"
    assert node.outcome.replaced == ("access", "cluster", "worker-0", "worker-1")


@pytest.mark.parametrize("where", ["file", "check"])
def test_a_wrong_configuration_changes_nothing_and_names_the_key(node: Running, where: str) -> None:
    """Also what only shows when it is used."""
    before = node.running.plan
    error = ConfigError("FREE_RATE", "'many' is not a rate")
    if where == "file":
        node.written = error
    else:
        node.write(access=AccessSection(free_rate=77))
        node.refusal = error
    assert node.reload.begin() is None
    assert node.running.plan is before
    assert not node.applied
    assert node.outcome == ReloadOutcome("", "refused", key="FREE_RATE", reason="'many' is not a rate")


def test_what_waits_is_told_and_not_applied(node: Running) -> None:
    """Ports are the node's memory of itself until it starts anew."""
    node.write(ports=PortsSection(tcp_port_lpo=9999))
    assert node.reload.begin() is None
    assert node.running.plan.config.ports.tcp_port_lpo == 8080
    assert (node.outcome.state, node.outcome.waiting) == ("done", ("ports.tcp_port_lpo",))


def test_workers_are_replaced_where_that_is_asked_for(node: Running) -> None:
    """`trinity reload --workers`, whose token is in its outcome; the wish is taken once."""
    (node.data_dir / WANTED).write_bytes(msgspec.json.encode(ReloadRequest("mine", ("worker", "reporter"))))
    assert node.reload.begin() == Replace((), ("worker",))
    assert node.outcome.token == "mine"
    node.reload.end(Replaced(("worker-0", "worker-1")))
    assert node.reload.begin() is None
    assert node.outcome.token == ""


def test_where_a_process_cannot_begin_everything_is_put_back(node: Running) -> None:
    """Those that were replaced are replaced again, by the old plan; then it is told as failed, with the cause."""
    node.write(access=AccessSection(free_rate=77))
    node.reload.begin()
    again = node.reload.end(Replaced(("access", "worker-0"), "worker-2 could not begin: a bug"))
    assert again == Replace(("access",), ("worker",))
    assert node.running.plan.config.access.free_rate == AccessSection().free_rate
    assert node.outcome.state == "running"
    assert node.reload.end(Replaced(("access", "worker-0", "worker-1"))) is None
    assert (node.outcome.state, node.outcome.reason) == ("failed", "worker-2 could not begin: a bug")
    node.reload.begin()
    assert node.running.plan.config.access.free_rate == 77, "the next one tries again"


def test_a_certificate_that_was_renewed_is_read_anew(node: Running, tmp_path: Path) -> None:
    """Its path is the old one."""
    (tmp_path / "ca.pem").write_text("old")
    node.write(push=PushSection(ca_file=str(tmp_path / "ca.pem")))
    node.reload.begin()
    assert node.reload.begin() is None
    assert not node.outcome.replacing
    (tmp_path / "ca.pem").write_text("new")
    node.reload.begin()
    assert node.outcome.replacing == ("push.ca_file",)


def test_markets_of_other_assets_wait_and_other_rules_come_in(node: Running, tmp_path: Path) -> None:
    """One file with both would be half of it: it waits as a whole."""
    markets = tmp_path / "markets.toml"
    text = DEFAULT_PATH.read_text()
    markets.write_text(text)
    node.written = Config(node=NodeSection(data_dir=tmp_path, markets_file=markets))
    node.reload.begin()
    node.reload.end(Replaced(()))
    assert "max_age_ms = " in text
    markets.write_text(text.replace("max_age_ms = ", "max_age_ms = 1", 1))
    wanted = node.reload.begin()
    assert wanted is not None
    assert node.running.plan.catalog == load_catalog(markets)
    node.reload.end(Replaced(wanted.processes))
    before = node.running.plan.catalog
    markets.write_text(text + '\n[exchanges.unknown]\nquote = "USD"\nassets = []\n')
    assert node.reload.begin() is None
    assert node.outcome.state == "refused"
    assert node.running.plan.catalog == before
