"""The command line, in its own process: exit codes and messages."""

import os
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from tests.support.machine_code import share_machine_code
from trinity.__main__ import COMMANDS, main

Run = subprocess.CompletedProcess[str]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A node that does not exist, with ports that are free."""
    names = (
        "TCP_PORT_LPO",
        "HEALTH_PORT_LPO",
        "TCP_PORT_LRS",
        "HEALTH_PORT_LRS",
        "SIMULATOR_PORT",
        "PUSH_RECEIVER_PORT",
    )
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: str(held.getsockname()[1]) for name, held in zip(names, sockets, strict=True)}
    for held in sockets:
        held.close()
    (tmp_path / "data").mkdir()
    share_machine_code(tmp_path / "data")
    return dict(os.environ) | ports | {
        "CLUSTER_NODE": f"t-{uuid.uuid4().hex[:12]}", "TRINITY_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200",
    }  # fmt: skip


def _trinity(environment: dict[str, str], *arguments: str) -> Run:
    return subprocess.run(
        [sys.executable, "-m", "trinity", *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("command", ["run", "demo", "simulate", "doctor", "top", "explain"])
def test_a_wrong_setting_is_named_and_nothing_starts(environment: dict[str, str], command: str) -> None:
    """Exit code 2, one line on standard error with key and reason, nothing on standard output."""
    arguments = [command, "BTC"] if command == "explain" else [command]
    run = _trinity(environment | {"HEALTH_PORT_LPO": "70000"}, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "configuration: HEALTH_PORT_LPO: 70000 is not between 1 and 65535\n"


def test_a_wrong_file_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    """--config is decoded as strictly as the environment."""
    file = tmp_path / "node.toml"
    file.write_text("[request]\nworker = 2\n")
    run = _trinity(environment, "run", "--config", str(file))
    assert run.returncode == 2
    assert run.stderr.startswith("configuration: ")
    assert "worker" in run.stderr


def test_a_data_folder_that_cannot_be_made_is_a_wrong_setting(environment: dict[str, str], tmp_path: Path) -> None:
    """The message names TRINITY_DATA_DIR."""
    (tmp_path / "file").write_text("")
    run = _trinity(environment | {"TRINITY_DATA_DIR": str(tmp_path / "file" / "x")}, "run")
    assert run.returncode == 2
    assert "configuration: TRINITY_DATA_DIR" in run.stderr


def test_a_markets_file_that_is_wrong_starts_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """Also what is read after the environment is a configuration."""
    run = _trinity(environment | {"MARKETS_FILE": str(tmp_path / "none.toml")}, "run")
    assert run.returncode == 2
    assert "MARKETS_FILE" in run.stderr


@pytest.mark.parametrize("arguments", [["top", "--once"], ["explain", "BTC"]])
def test_a_tool_without_a_node_says_so(environment: dict[str, str], arguments: list[str]) -> None:
    """Exit code 1 and what to do."""
    run = _trinity(environment, *arguments)
    assert run.returncode == 1
    assert f"no node named {environment['CLUSTER_NODE']} runs on this machine" in run.stderr


@pytest.mark.parametrize("command", ["simulate", "run", "demo"])
def test_a_taken_port_stops_the_start(environment: dict[str, str], command: str) -> None:
    """Exit code 3 and the variable's name."""
    name = "SIMULATOR_PORT" if command == "simulate" else "HEALTH_PORT_LRS"
    with socket.create_server(("127.0.0.1", int(environment[name]))):
        run = _trinity(environment, command)
    assert run.returncode == 3
    assert f"{name}={environment[name]} is taken" in run.stderr


def test_doctor_fails_where_no_exchange_can_be_reached(environment: dict[str, str], tmp_path: Path) -> None:
    """Exit code 1 and a table; the exchanges' addresses come from the configuration."""
    file = tmp_path / "node.toml"
    exchanges = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
    urls = "\n".join(f'{exchange} = "http://127.0.0.1:1"' for exchange in exchanges)
    file.write_text(f"[feeds.rest_base_urls]\n{urls}\n")
    run = _trinity(environment, "doctor", "--config", str(file))
    assert run.returncode == 1, run.stderr
    assert "0 of 6 reachable" in run.stdout
    assert "port TCP_PORT_LPO" in run.stdout


def test_simulate_serves_the_exchanges_until_it_is_told_to_stop(environment: dict[str, str]) -> None:
    """It says that they are simulated and where they are; SIGTERM ends it with exit code 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "trinity", "simulate"], env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline() for _ in range(8)]
        assert lines[0].startswith("SIMULATED")
        assert f"ws://127.0.0.1:{environment['SIMULATOR_PORT']}/kraken/v2" in "".join(lines)
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(environment["SIMULATOR_PORT"]))) == 0:
                    break
            threading.Event().wait(0.02)
        run.terminate()
        assert run.wait(20) == 0


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """And an unknown one is refused."""
    with pytest.raises(SystemExit) as asked:
        main(["--help"])
    assert asked.value.code == 0
    first_words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    for command, _, _ in COMMANDS:
        assert command in first_words
    with pytest.raises(SystemExit) as refused:
        main(["walk"])
    assert refused.value.code == 2


def test_bench_has_its_own_arguments(environment: dict[str, str]) -> None:
    """They are passed on, also --help; no other command takes arguments that it does not know."""
    run = _trinity(environment, "bench", "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert "--config" not in run.stdout
    run = _trinity(environment, "top", "--fast")
    assert run.returncode == 2
    assert "unknown arguments: --fast" in run.stderr
