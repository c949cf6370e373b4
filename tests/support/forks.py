"""The same work in several forked processes at once, and what each of them found; one that dies or hangs is told."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

SECONDS_MAX = 120


def at_once(work: Callable[..., Any], *arguments: Any, forks: int = 4) -> list[Any]:
    """What `work(*arguments)` returns in each of the forks."""
    context = multiprocessing.get_context("fork")
    started = []
    for _ in range(forks):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_tell, args=(theirs, work, *arguments))
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        started.append((process, ours))
    try:
        return [_told(ours) for _, ours in started]
    finally:
        for process, ours in started:
            ours.close()
            process.kill()
            process.join()


def _tell(pipe: Connection, work: Callable[..., Any], *arguments: Any) -> None:
    pipe.send(work(*arguments))


def _told(pipe: Connection) -> Any:
    if not pipe.poll(SECONDS_MAX):
        pytest.fail(f"a fork told nothing for {SECONDS_MAX} s")
    return pipe.recv()  # EOFError: the fork died, and its output says why
