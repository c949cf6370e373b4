"""What is printed: lines for people, or one JSON object for programs, at once and never torn."""

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import msgspec


def print_result(content: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print to standard output: `content` as one line of JSON, or the lines."""
    if as_json:
        say(msgspec.json.encode(content, order="deterministic").decode(), sys.stdout)
    else:
        for line in lines:
            say(line, sys.stdout)


def say(line: str, stream: TextIO) -> None:
    """Print a line at once; that its reader has left (`trinity demo | head`) is no error."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
