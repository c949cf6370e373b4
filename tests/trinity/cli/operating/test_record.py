"""`trinity record` and `trinity replay` over a recording of a small node."""

from pathlib import Path

import pytest

from tests.feeds.audit.small_node import frames_of, rewrite, small_node
from tests.support.node_fixture import busy_node
from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.memory.control import NODE_RECORDING


def record(data_dir: Path) -> None:
    with small_node(data_dir) as node:
        node.switch(True)
        node.trade_a_while(60)
        node.close()


def test_recording_is_switched_in_the_running_node(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on` and `off` set the word that the processes look at; `status` tells it, and what lies on the disk."""
    with busy_node() as memory:
        monkeypatch.setenv("CLUSTER_NODE", memory.card.node)
        assert trinity_json("record", "status")[1]["on"] is False
        code, content, _ = trinity_json("record", "on")
        assert (code, content["on"], content["streams"]) == (0, True, {})
        assert memory.control.read_node_word(NODE_RECORDING) == 1
        assert trinity_json("record", "off")[1]["on"] is False
        assert memory.control.read_node_word(NODE_RECORDING) == 0


def test_status_needs_no_node_and_switching_does(trinity_json: Run, tmp_path: Path) -> None:
    """What was recorded can be looked at later; a switch without a node is an error that names it."""
    record(tmp_path)
    code, content, _ = trinity_json("record", "status")
    assert (code, content["on"]) == (0, None)
    assert set(content["streams"]) == {"consensus", "coinbase", "gemini", "kraken"}
    assert content["bytes"] == sum(stream["bytes"] for stream in content["streams"].values()) > 0

    code, _, error = trinity_json("record", "on")
    assert (code, error["error"]["kind"]) == (1, "NodeAbsentError")


def test_a_replay_ends_with_0_when_all_is_equal_and_1_with_the_first_difference(
    trinity_json: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is for scripts, the object for programs, the lines for people."""
    record(tmp_path)
    code, content, _ = trinity_json("replay")
    assert (code, content["difference"]) == (0, None)
    assert content["decisions"] > 10
    assert main(["replay"]) == 0
    assert "all equal, bit for bit" in capsys.readouterr().out

    victim = frames_of(tmp_path, "coinbase")[10]
    rewrite(tmp_path, "coinbase", lambda entry: None if entry == victim else entry)
    code, content, _ = trinity_json("replay", "--asset", "sol")
    assert (code, content["difference"]["what"]) == (1, "no frame has this quote")
    assert main(["replay"]) == 1
    assert "DIFFERENT at" in capsys.readouterr().out


def test_nothing_to_replay_is_told(trinity_json: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No recording, or none in the range: exit code 1; a time that is none: exit code 2 and the argument's name."""
    assert main(["replay"]) == 1
    assert "nothing was recorded" in capsys.readouterr().out
    record(tmp_path)
    assert trinity_json("replay", "--to", "2020-01-01")[0] == 1
    code, _, error = trinity_json("replay", "--from", "yesterday")
    assert code == 2
    assert "--from" in error["error"]["message"]


def test_a_past_moment_is_explained_on_the_command_line(trinity_json: Run, tmp_path: Path) -> None:
    """`trinity explain SOL --at TIME` needs no node; a moment that was not recorded is absent, exit code 1."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.trade_a_while(30)
        for _ in range(4):
            node.turn()
        moment_s = node.clock.wall_ns() // 10**9 - 1
        node.close()
    code, content, _ = trinity_json("explain", "sol", "--at", str(moment_s))
    assert (code, content["asset"], len(content["sources"])) == (0, "SOL", 3)
    code, _, error = trinity_json("explain", "sol", "--at", "2020-01-01")
    assert (code, error["error"]["kind"]) == (1, "AbsentError")
