"""`trinity top`: a frame shows what the memory holds."""

import io

import pytest
from rich.console import Console

from tests.support.node_fixture import NOW_NS, busy_node, empty_node, set_answer, set_process, set_source
from tests.trinity.cli.conftest import Run
from trinity.cli.operating.top import age_text, draw_frame, show
from trinity.clock import SystemClock
from trinity.memory.answer_table import AnswerState
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import RowState, Via


def _text(memory: NodeMemory) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(draw_frame(memory, NOW_NS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _line(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(start)).split()


def test_a_frame_shows_prices_sources_and_ages() -> None:
    """One line an asset, an exchange and a process."""
    with busy_node() as memory:
        text = _text(memory)
        assert _line(text, "BTC") == ["BTC", "71002.5", "fresh", "5", "1", "30", "ms", "2.50", "1.69"]
        rows = str(len(memory.card.catalog.markets_of("kraken")))
        assert _line(text, "kraken") == ["kraken", "ws", "yes", rows, "0", rows, "50", "ms", "-", "-"]
        assert _line(text, "worker-1") == ["worker-1", "1008", "alive", "100", "ms", "0"]
        assert "USDT/USD 0.999500" in text
        assert "SIMULATED" not in text


def test_what_is_wrong_can_be_seen() -> None:
    """Left out sources with their reason, refused assets with their code, silent processes, and simulation."""
    with busy_node(simulated=True) as memory:
        set_answer(memory, "BTC", AnswerState.SOURCES_DISAGREE)
        memory.answers.write_verdict(2, 0, 2)
        set_source(memory, "okx", "BTC", RowState.FROZEN, Via.REST)
        set_process(memory, 0, beat_age_ns=99 * 1_000_000_000)
        text = _text(memory)
        line = _line(text, "BTC")
        assert {"sources_disagree", "kraken:no_quote", "gemini:disputed"} <= set(line)
        assert line[1:3] == ["last", "71002.5"], "never as if it were a price of now"
        assert "BTC" in _line(text, "okx")
        assert {"silent", "99.0"} <= set(_line(text, "feed-coinbase"))
        assert "SIMULATED PRICES" in text


def test_an_empty_node_can_be_drawn() -> None:
    """Before the first quote there are dashes, not zeros."""
    with empty_node() as memory:
        text = _text(memory)
        assert _line(text, "BTC")[:3] == ["BTC", "-", "stale_price"]
        assert "USDT/USD none" in text


def test_a_pipe_gets_one_frame() -> None:
    """Without a terminal there is nothing to redraw."""
    with busy_node() as memory:
        console = Console(file=io.StringIO(), width=200)
        show(memory, SystemClock(), once=False, console=console)
        assert isinstance(console.file, io.StringIO)
        assert console.file.getvalue().count("BTC ") == 1


@pytest.mark.parametrize(
    ("age_ns", "text"),
    [(None, "-"), (0, "0 ms"), (999_400_000, "999 ms"), (1_000_000_000, "1.0 s"), (119_900_000_000, "119.9 s"),
     (120_000_000_000, "2 min"), (7_200_000_000_000, "120 min")],
)  # fmt: skip
def test_an_age_reads_as_people_say_it(age_ns: int | None, text: str) -> None:
    """Milliseconds, seconds, minutes."""
    assert age_text(age_ns) == text


def test_a_frame_is_an_object(trinity_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets, exchanges, sources, processes and indexes of the running node."""
    with busy_node() as memory:
        monkeypatch.setenv("CLUSTER_NODE", memory.card.node)
        code, frame, _ = trinity_json("top")
    assert code == 0
    assert (frame["node"], frame["simulated"]) == (memory.card.node, False)
    assert len(frame["assets"]) == len(memory.card.catalog.assets)
    assert {source["state"] for source in frame["sources"]} == {"live"}
    assert "worker-0" in [process["name"] for process in frame["processes"]]


def test_no_node_is_an_object_too(trinity_json: Run) -> None:
    """Exit code 1 and the error's kind."""
    code, frame, error = trinity_json("top")
    assert (code, frame, error["error"]["kind"], error["exit_code"]) == (1, None, "NodeAbsentError", 1)
