"""`trinity doctor`: each judgement by its table, the questions against real sockets."""

import io
import os
import resource
import socket
import sys
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from trinity import doctor
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.config import Config, NodeSection, PortsSection
from trinity.doctor import ExchangeAnswer, Finding
from trinity.errors import PortTakenError
from trinity.limits import OPEN_FILES_WANTED
from trinity.store.examine import DatabaseAnswer
from trinity.store.migrate import Status

MIB = 1024 * 1024
GOOD, GONE = ExchangeAnswer(200, 0), ExchangeAnswer(None, None, "no answer within 6 s")
FOLDER = Path("/data")

# A judgement and the level that it must come to; whatever is not ok says what to do.
JUDGEMENTS = [
    (doctor.judge_ntp(True), "ok"),
    (doctor.judge_ntp(False), "warn"),
    (doctor.judge_ntp(None), "warn"),
    (doctor.judge_clock([0, 100 * NS_PER_MS, -200 * NS_PER_MS]), "ok"),
    (doctor.judge_clock([-3 * NS_PER_SECOND]), "warn"),
    (doctor.judge_clock([6 * NS_PER_SECOND, 6 * NS_PER_SECOND, 0]), "fail"),
    (doctor.judge_clock([]), "warn"),
    (doctor.judge_exchange("okx", GOOD), "ok"),
    (doctor.judge_exchange("okx", ExchangeAnswer(429, None)), "ok"),
    (doctor.judge_exchange("okx", ExchangeAnswer(451, 0)), "warn"),
    (doctor.judge_exchange("okx", GONE), "warn"),
    (doctor.judge_exchanges({"a": GOOD, "b": GOOD, "c": GOOD, "d": GONE}, 3), "ok"),
    (doctor.judge_exchanges({"a": GOOD, "b": GOOD, "c": GONE}, 3), "fail"),
    (doctor.judge_files(resource.RLIM_INFINITY), "ok"),
    (doctor.judge_files(OPEN_FILES_WANTED), "ok"),
    (doctor.judge_files(4096), "warn"),
    (doctor.judge_files(256), "fail"),
    (doctor.judge_shared_memory(64 * MIB), "ok"),
    (doctor.judge_shared_memory(1 * MIB), "fail"),
    (doctor.judge_shared_memory(None), "fail"),
    (doctor.judge_cpus(4, 4, True, None), "ok"),
    (doctor.judge_cpus(4, 4, True, 4.0), "ok"),
    (doctor.judge_cpus(4, 4, True, 1.5), "warn"),
    (doctor.judge_cpus(2, 4, True, None), "warn"),
    (doctor.judge_cpus(4, 4, False, None), "warn"),
    (doctor.judge_data_dir(FOLDER, "", 5000 * MIB), "ok"),
    (doctor.judge_data_dir(FOLDER, "", 500 * MIB), "warn"),
    (doctor.judge_data_dir(FOLDER, "", 5 * MIB), "fail"),
    (doctor.judge_data_dir(FOLDER, "Permission denied", 0), "fail"),
    (doctor.judge_store("CACHE_URL", None, None), "ok"),
    (doctor.judge_store("CACHE_URL", "redis://x", ""), "ok"),
    (doctor.judge_store("CACHE_URL", "redis://x", "refused"), "warn"),
    (doctor.judge_database(DatabaseAnswer(True, error="no such file"), None), "ok"),
    (doctor.judge_database(DatabaseAnswer(True, error="no such file"), 77), "warn"),
    (doctor.judge_database(DatabaseAnswer(False, error="refused"), 77), "warn"),
    (doctor.judge_database(DatabaseAnswer(False, version=18, tables=Status((), ("1",), (), ())), None), "ok"),
    (doctor.judge_database(DatabaseAnswer(False, version=14, tables=Status(("1",), (), (), ())), None), "warn"),
    (doctor.judge_database(DatabaseAnswer(False, version=18, tables=Status(("2",), (), ("2",), ())), None), "fail"),
    (doctor.judge_database(DatabaseAnswer(False, version=18, tables=Status(("1",), (), (), ("1",))), None), "fail"),
    (doctor.judge_database(DatabaseAnswer(False, version=18, may_write=False), None), "fail"),
    (doctor.judge_port("TCP_PORT_LPO", None, None), "ok"),
    (doctor.judge_port("TCP_PORT_LPO", PortTakenError("TCP_PORT_LPO", "127.0.0.1", 8080), 77), "ok"),
    (doctor.judge_port("TCP_PORT_LPO", PortTakenError("TCP_PORT_LPO", "127.0.0.1", 8080), None), "fail"),
]


@pytest.mark.parametrize(("finding", "level"), JUDGEMENTS)
def test_a_judgement_has_its_level_and_what_is_not_ok_says_what_to_do(finding: Finding, level: str) -> None:
    """Advice stands exactly where something is to be done."""
    assert finding.level == level
    assert finding.found
    assert bool(finding.advice) == (level != "ok")


def test_a_date_header_gives_the_distance_of_two_clocks() -> None:
    """The header cuts off the fraction of its second, half a second on average."""
    now_ns = 1_700_000_000 * NS_PER_SECOND
    assert doctor.offset_of(formatdate(1_700_000_010, usegmt=True), now_ns) == 10_500 * NS_PER_MS
    assert doctor.offset_of("yesterday", now_ns) is None
    assert doctor.offset_of(None, now_ns) is None


async def test_exchanges_and_stores_are_asked_over_the_network() -> None:
    """A server that answers, one that refuses connections, one that is a store; the clock is compared."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=200)

    app = web.Application()
    app.router.add_get("/ticker", answer)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        closed = holder.getsockname()[1]
        async with TestServer(app) as server:
            urls = {"good": str(server.make_url("/ticker")), "closed": f"http://127.0.0.1:{closed}/"}
            stores = {
                "OPEN_URL": f"redis://127.0.0.1:{server.port}/0",
                "CACHE_URL": f"redis://127.0.0.1:{closed}/0",
                "OTHER_URL": None,
                "WRONG_URL": "redis://user:secret/x@host",
            }
            answers, reachable = await doctor._ask_network(urls, stores, SystemClock())
    assert answers["good"].status == 200
    assert answers["good"].offset_ns is not None
    assert abs(answers["good"].offset_ns) < 5 * NS_PER_SECOND
    assert answers["closed"].status is None
    assert answers["closed"].error
    assert reachable["OPEN_URL"] == ""
    assert reachable["CACHE_URL"]
    assert "OTHER_URL" not in reachable
    assert reachable["WRONG_URL"]
    assert "secret" not in reachable["WRONG_URL"], "a password is not shown, also when it is mistaken for a port"


def test_a_machine_is_examined_as_a_whole(tmp_path: Path) -> None:
    """One finding for each thing, a port that is taken among them, printed as a table; nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = Config(
            node=NodeSection(name=f"t-{os.getpid()}", data_dir=tmp_path / "data"), ports=PortsSection(tcp_port_lpo=port)
        )
        findings = doctor.examine(config, {"kraken": f"http://127.0.0.1:{port + 1}/"}, 1, SystemClock())
    levels = {finding.name: finding.level for finding in findings}
    assert levels["port TCP_PORT_LPO"] == "fail"
    assert levels["data folder"] in ("ok", "warn")
    assert levels["shared memory"] == "ok"
    assert levels["database"] == "ok", "the embedded one starts with the node"
    assert len(levels) == len(findings)
    assert list((tmp_path / "data").iterdir()) == []
    console = Console(file=io.StringIO(), width=200)
    doctor.print_findings(findings, console)
    assert isinstance(console.file, io.StringIO)
    assert "port TCP_PORT_LPO" in console.file.getvalue()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_the_kernel_answers_what_is_asked(tmp_path: Path) -> None:
    """Time service, CPU quota and a folder that cannot be made."""
    assert doctor.ask_ntp_synchronised() in (True, False, None)
    assert doctor.ask_cpu_quota() is None or doctor.ask_cpu_quota() > 0  # type: ignore[operator]
    (tmp_path / "file").write_text("")
    error, free = doctor.ask_data_dir(tmp_path / "file" / "folder")
    assert error
    assert free == 0


def test_the_host_that_answered_is_named() -> None:
    """After a redirection into another region it is not the one that was asked."""
    assert doctor.judge_exchange("okx", ExchangeAnswer(200, 0, host="eea.okx.com")).found == "eea.okx.com answers (200)"
    assert doctor.judge_exchange("okx", ExchangeAnswer(403, 0, host="x.com")).found == "x.com refused with 403"
