"""`trinity run | demo | simulate | compile`: the commands that start processes.

With --json what people read goes to standard error, and one object about the end to standard output.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

from trinity.clock import SystemClock
from trinity.compiled import write_cache_to
from trinity.config import Config, load_config
from trinity.errors import ConfigError
from trinity.markets import load_catalog
from trinity.net.ports import Listener, check_port, host_in_url, local_host
from trinity.observe.log import check_log_folder, open_log
from trinity.terminal import print_result, say


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """What a node does is its configuration; only `compile` has an argument of its own."""
    if command == "compile":
        parser.add_argument(
            "--out", type=Path, metavar="FOLDER", help="write the machine code there, for a wheel or an image to carry"
        )


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Start it, and stay until it has ended."""
    console = sys.stderr if parsed.as_json else sys.stdout
    if parsed.command == "simulate":
        simulate(config, console)
        print_result({"exit_code": 0, "message": ""}, [], parsed.as_json)
        return 0
    if parsed.command == "compile":
        return compile_now(parsed.out, parsed.as_json)
    from trinity.node import composition

    def read() -> Config:
        return load_config(os.environ, parsed.config, demo=parsed.command == "demo")

    stop = composition.run_node(config, parsed.command == "demo", console, read)
    content = {"exit_code": stop.exit_code, "message": stop.message}
    print_result(content, [] if stop.message else ["trinity: stopped"], parsed.as_json)
    if stop.message:
        print(f"trinity: stopped: {stop.message}", file=sys.stderr, flush=True)
    return stop.exit_code


def compile_now(out: Path | None, as_json: bool) -> int:
    """Compile what a node needs: into its data directory, or all of it into an empty folder."""
    if out is None:
        from trinity.node.compiling import compile_before_fork

        compile_before_fork()
        print_result({"exit_code": 0, "message": ""}, [], as_json)
        return 0
    from trinity.compiled.cpu import cpu, made_for_baseline
    from trinity.compiled.shipped import finish, made_for

    if made_for_baseline() is None and "NUMBA_CPU_NAME" not in os.environ:
        reason = f"this machine's CPU ({cpu()}) has less than the baseline: code for it would fit few others"
        raise ConfigError("--out", f"{reason}; build on another, or set NUMBA_CPU_NAME here and where it runs")
    for old in out.glob("*.code"):
        old.unlink()
    write_cache_to(out)
    from trinity.node.compiling import compile_before_fork  # an import calls compiled functions: into `out` with them

    compile_before_fork()
    files, size = finish(out)
    line = f"{out}: {files} functions, {size:,} bytes of machine code for {made_for()}"
    print_result({"exit_code": 0, "message": "", "files": files, "bytes": size}, [line], as_json)
    return 0


def simulate(config: Config, console: TextIO) -> None:
    """The simulated exchanges alone, until SIGTERM or SIGINT."""
    from feeds.exchanges.registry import EXCHANGE_MODULES
    from feeds.simulator.server import run_standalone

    section, host = config.simulator, config.node.bind_host
    check_port(Listener("SIMULATOR_PORT", section.port, "simulated exchanges"), host)
    address = f"{host_in_url(local_host(host))}:{section.port}"
    catalog = load_catalog(config.node.markets_file)
    say("SIMULATED EXCHANGES: none of their prices is real.", console)
    for exchange in catalog.exchanges:
        path = EXCHANGE_MODULES[exchange].PROFILE.ws_path
        say(f"  {exchange:<10} ws://{address}/{exchange}{path}   http://{address}/{exchange}", console)
    say(f"  faults     http://{address}/faults", console)
    check_log_folder(config.node.data_dir)
    run_standalone(catalog, section, host, SystemClock(), open_log("simulator", config.node.data_dir))
