"""`trinity bench`: measure this machine; all arguments behind it belong to the benchmarks' own command line.

The measured figures are files (`--out`); with --json standard output has the exit code only, the tables go elsewhere.
"""

import argparse
import contextlib
import sys

from trinity.config import Config
from trinity.terminal import print_result


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """The benchmarks have them."""


def run(_config: Config, parsed: argparse.Namespace) -> int:
    """Pass everything on."""
    from benchmarks.__main__ import main

    if not parsed.as_json:
        return main(parsed.passed_on)
    with contextlib.redirect_stdout(sys.stderr):
        code = main(parsed.passed_on)
    print_result({"exit_code": code}, [], as_json=True)
    return code
