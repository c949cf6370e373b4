"""`trinity doctor`: each judgement by its table, the questions against real sockets."""

import io
import os
import resource
import socket
import socketserver
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from feeds.exchanges.registry import EXCHANGE_MODULES
from tests.support.node_fixture import CATALOG, busy_node
from tests.trinity.cli.conftest import Run
from trinity.cli.operating import doctor
from trinity.cli.operating.doctor import Finding
from trinity.cli.operating.network import CacheAnswer, ExchangeAnswer
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.config import Config, FeedsSection, NodeSection, PortsSection, StoresSection
from trinity.errors import PortTakenError
from trinity.limits import OPEN_FILES_WANTED
from trinity.memory.price_table import Absence, LeftOut, RowState
from trinity.net.egress import NO_PROXIES, Proxies
from trinity.store.examine import DatabaseAnswer
from trinity.store.migrate import Status


class PageServer:
    """A server in a thread of its own that says the same to everybody."""

    def __init__(self, page: bytes) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(4096)
                self.request.sendall(page)

        self._server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


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
    (doctor.judge_exchange("okx", ExchangeAnswer(302, None, "HTTP 302, Location: https://www.example.com/")), "warn"),
    (doctor.judge_exchange("okx", ExchangeAnswer(200, 0, ws_error="HTTP 403: not in your region")), "warn"),
    (doctor.judge_proxies(NO_PROXIES, ""), "ok"),
    (doctor.judge_proxies(Proxies("http://proxy:3128", None), ""), "ok"),
    (doctor.judge_proxies(NO_PROXIES, "HTTPS_PROXY: socks5://x:1 is a SOCKS proxy"), "fail"),
    (doctor.judge_left_out("okx", {"ABC": "REST: the exchange says that it does not know the symbol"}), "warn"),
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
    (doctor.judge_cache(None), "ok"),
    (doctor.judge_cache(CacheAnswer("Valkey 8.0.1, noeviction")), "ok"),
    (doctor.judge_cache(CacheAnswer("", "refused")), "warn"),
    (doctor.judge_cache(CacheAnswer("Valkey 8.0.1, noeviction", refusal="OOM ...")), "warn"),
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


def test_the_exchanges_own_words_are_told(tmp_path: Path) -> None:
    """A redirect to another host is not followed, by neither way; what looks like markup is printed as it came."""
    with PageServer(b"HTTP/1.1 302 Found\r\nLocation: https://www.example.com/restricted\r\n\r\n[/bold] no") as port:
        config = Config(
            node=NodeSection(name=f"t-{os.getpid()}", data_dir=tmp_path),
            feeds=FeedsSection(https_proxy="socks5://127.0.0.1:1080"),
            stores=StoresSection(cache_url="nonsense://here"),
        )
        urls, ws_urls = {"okx": f"http://127.0.0.1:{port}/"}, {"okx": f"ws://127.0.0.1:{port}/ws"}
        findings = doctor.examine(config, urls, 1, SystemClock(), ws_urls)
    found = {finding.name: finding for finding in findings}
    assert "https://www.example.com/restricted" in found["exchange okx"].found
    assert "[/bold] no" in found["exchange okx"].found
    assert found["exchanges"].level == "fail"
    assert "HTTPS_PROXY" in found["proxy"].found
    assert found["cache"].level == "fail", "a start refuses it, and the examination goes on"
    assert "CACHE_URL" in found["cache"].found
    console = Console(file=io.StringIO(), width=300)
    doctor.print_findings(findings, console)
    assert "[/bold] no" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_the_running_node_leaves_out_is_told() -> None:
    """Each row with its reason, out of the node's shared memory."""
    with busy_node() as memory:
        row = CATALOG.exchange_index("kraken"), CATALOG.asset_index("ETH")
        memory.prices.write_state(*row, RowState.UNKNOWN, LeftOut(ws=Absence.UNKNOWN_SYMBOL))
        said = doctor.ask_left_out(Config(node=NodeSection(name=memory.card.node)))
    assert said == {"kraken": {"ETH": "WebSocket: the exchange says that it does not know the symbol"}}
    assert doctor.ask_left_out(Config(node=NodeSection(name=f"none-{os.getpid()}"))) == {}


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


def test_the_findings_are_an_object(trinity_json: Run, tmp_path: Path) -> None:
    """Exit code 1 and `ok` false when one of them fails; each has name, level, what was found and advice."""
    file = tmp_path / "node.toml"
    exchanges = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
    lines = "\n".join(f'{exchange} = "http://127.0.0.1:1"' for exchange in exchanges)
    file.write_text(f"[feeds.rest_base_urls]\n{lines}\n")
    code, report, _ = trinity_json("doctor", "--config", str(file))
    assert (code, report["ok"]) == (1, False)
    levels = {finding["name"]: finding["level"] for finding in report["findings"]}
    assert levels["exchanges"] == "fail"
    assert set(report["findings"][0]) == {"name", "level", "found", "advice"}


def test_doctor_asks_every_exchange_what_a_feed_would_ask() -> None:
    """One REST request of the exchange's own file, at the configured base address."""
    section = FeedsSection(rest_base_urls={"okx": "http://127.0.0.1:1/okx"})
    for exchange in CATALOG.exchanges:
        url = doctor.cheap_url(section, CATALOG, exchange)
        base = "http://127.0.0.1:1/okx" if exchange == "okx" else EXCHANGE_MODULES[exchange].PROFILE.rest_url
        assert url.startswith(f"{base}/")
