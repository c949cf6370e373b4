"""What the terminal shows while a node starts."""

import logging
import subprocess
import sys
import uuid

import pytest

from tests.support.node_fixture import CATALOG, NOW_NS, SECOND, busy_node, empty_node, set_answer, set_process
from trinity.config import Config, FeedsSection, NodeSection, StoresSection
from trinity.limits import READY_HINT_NS
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.node.console import NodeConsole
from trinity.observe.metrics import FEED, PUSHER, REPORTER

LIVE = Config()
SIMULATED = Config(feeds=FeedsSection(simulated=True))


def test_a_demo_says_first_that_its_prices_are_not_real(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line is the warning, and the simulator is among the listeners."""
    NodeConsole(SIMULATED, CATALOG, with_simulator=True).show_start(NOW_NS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SIMULATED PRICES")
    assert any("8090" in line and "SIMULATOR_PORT" in line for line in lines)


def test_a_live_node_shows_what_listens_where_and_says_nothing_of_simulation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every listener with its address and the variable that sets it."""
    NodeConsole(LIVE, CATALOG, with_simulator=False).show_start(NOW_NS)
    text = capsys.readouterr().out
    assert "simulat" not in text.lower()
    for expected in ("127.0.0.1:8080", "TCP_PORT_LPO", "127.0.0.1:2679", "127.0.0.1:8081", "127.0.0.1:9091"):
        assert expected in text


def test_the_database_is_named_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded one by that word, another by its address."""
    NodeConsole(LIVE, CATALOG, with_simulator=False).show_start(NOW_NS)
    assert "embedded" in capsys.readouterr().out
    stores = StoresSection(database_url="postgresql://user:secret@db.example/name")
    NodeConsole(Config(stores=stores), CATALOG, with_simulator=False).show_start(NOW_NS)
    text = capsys.readouterr().out
    assert "db.example" in text
    assert "secret" not in text


def test_ready_is_said_once_with_commands_that_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    """Not before a price is fresh and a worker is there; the addresses are ones that this machine can reach."""
    config = Config(node=NodeSection(bind_host="0.0.0.0"), feeds=FeedsSection(simulated=True))
    console = NodeConsole(config, CATALOG, with_simulator=True)
    with empty_node() as memory:
        set_answer(memory, "BTC")
        assert not console.on_turn(memory, NOW_NS - SECOND)
    assert "ready" not in capsys.readouterr().out, "a price but nobody to give it"
    with busy_node(simulated=True) as memory:
        for _ in range(3):
            assert console.on_turn(memory, NOW_NS)
    with empty_node() as memory:
        assert console.on_turn(memory, NOW_NS + SECOND), "it was ready once"
    text = capsys.readouterr().out
    assert text.count("ready after 1.0 s") == 1
    assert "SIMULATED" in text
    assert "curl 'http://127.0.0.1:8080/price?asset=BTC'" in text
    assert "printf BTC | nc -u -w1 127.0.0.1 2679" in text


def test_a_push_server_is_ready_without_workers_and_shows_its_health(capsys: pytest.CaptureFixture[str]) -> None:
    """Who delivers listens for its health alone, and its start names no lookups."""
    config = Config(node=NodeSection(server_type="WEBHOOK_SERVER"))
    console = NodeConsole(config, CATALOG, with_simulator=False)
    console.show_start(NOW_NS)
    entries = (ProcessEntry("consensus", "consensus"), ProcessEntry("pusher", "pusher"))
    memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
    try:
        set_answer(memory, "BTC")
        assert not console.on_turn(memory, NOW_NS)
        set_process(memory, 1, beat_age_ns=0)
        memory.control.block(1).set_gauge(PUSHER.index("push_database_up"), 1.0)
        assert console.on_turn(memory, NOW_NS)
    finally:
        memory.unlink()
    text = capsys.readouterr().out
    assert "curl http://127.0.0.1:8081/health" in text
    assert "database up" in text
    for word in ("/price", "request workers", "9090", "2679"):
        assert word not in text


def test_a_report_server_is_ready_with_a_reporter_and_shows_its_own_ports(capsys: pytest.CaptureFixture[str]) -> None:
    """No lookups' port, no request workers; a price is on 9090 and its health on 9091."""
    config = Config(node=NodeSection(server_type="REPORT_SERVER"))
    console = NodeConsole(config, CATALOG, with_simulator=False)
    console.show_start(NOW_NS)
    entries = (ProcessEntry("consensus", "consensus"), ProcessEntry("reporter-0", "reporter"))
    memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
    try:
        set_answer(memory, "BTC")
        assert not console.on_turn(memory, NOW_NS)
        set_process(memory, 1, beat_age_ns=0)
        assert console.on_turn(memory, NOW_NS)
    finally:
        memory.unlink()
    text = capsys.readouterr().out
    assert "curl 'http://127.0.0.1:9090/price?asset=BTC'" in text
    assert "curl http://127.0.0.1:9091/health" in text
    for word in ("request workers", "8080", "8081", "2679"):
        assert word not in text


def test_a_start_tells_what_it_does_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each step once with the seconds since the start, what is missing now and then with the usual time; logged too."""
    log = logging.getLogger("test.start")
    caplog.set_level(logging.INFO, log.name)
    console = NodeConsole(LIVE, CATALOG, with_simulator=False, log=log)
    with empty_node() as memory:
        console.show_start(NOW_NS)
        console.show_compiling("as nothing is compiled yet", NOW_NS + SECOND)
        console.show_compiled(NOW_NS + 31 * SECOND)
        capsys.readouterr()
        kinds = [entry.kind for entry in memory.card.processes]
        feeds = [memory.control.block(index) for index, kind in enumerate(kinds) if kind == "feed"]
        feeds[0].set_gauge(FEED.index("ws_connected"), 1.0)
        for waited in (32, 33, 38):
            console.on_turn(memory, NOW_NS + waited * SECOND)
        lines = capsys.readouterr().out.splitlines()
        exchanges = f"exchanges connected (1 of {len(feeds)}), usually after 2 s"
        database = "database up, usually after 3 s, 15 s where it is made now"
        assert lines == [f"trinity:  38.0 s  waiting for: {exchanges}; {database}"]
        for block in feeds:
            block.set_gauge(FEED.index("rest_active"), 1.0)
        memory.control.block(kinds.index("reporter")).set_gauge(REPORTER.index("report_database_up"), 1.0)
        for waited in (39, 40):
            console.on_turn(memory, NOW_NS + waited * SECOND)
        lines = capsys.readouterr().out.splitlines()
        assert lines == [
            f"trinity:  39.0 s  exchanges connected ({len(feeds)} of {len(feeds)})", "trinity:  39.0 s  database up",
        ]  # fmt: skip
    steps = [record.__dict__["fields"] for record in caplog.records if record.message == "start"]
    assert steps[1] == {"seconds": 31.0, "step": "compiled"}
    assert len(steps) == 5


def test_a_node_that_gets_no_prices_says_where_to_look_once(capsys: pytest.CaptureFixture[str]) -> None:
    """After a while without a fresh price, and not at every turn."""
    console = NodeConsole(LIVE, CATALOG, with_simulator=False)
    with empty_node() as memory:
        for waited_ns in (0, READY_HINT_NS, READY_HINT_NS + SECOND, READY_HINT_NS + 2 * SECOND):
            console.on_turn(memory, NOW_NS + waited_ns)
    text = capsys.readouterr().out
    assert text.count("trinity doctor") == 1
    assert "http://127.0.0.1:8081/ready" in text


def test_a_node_does_not_end_because_nobody_reads_its_lines() -> None:
    """`trinity demo | head`: the lines go nowhere, the node goes on, and its exit code stays its own."""
    script = (
        "import sys; from trinity.node.console import NodeConsole; from trinity.config import Config;"
        "from trinity.markets import load_catalog; sys.stdin.read();"
        "[NodeConsole(Config(), load_catalog(), False).show_start(1) for _ in range(3)]; sys.exit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        run.stdout.close()
        run.stdin.close()
        assert run.wait(60) == 7
