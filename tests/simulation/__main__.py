"""`make simulate SEED=7 STEPS=1000000`: run a seed, print its pace, and the shortest history when it fails."""

import argparse
import logging
import os
import sys
from pathlib import Path

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.compiled import prepare_cache


def main() -> int:
    """The exit code: 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", help="kinds of trouble, as weather.py names them; drawn when not given")
    options = parser.parse_args()
    logging.disable()  # what the processes log of their thousand deaths
    prepare_cache(Path(os.environ.get("TRINITY_DATA_DIR", ".data")))
    from tests.simulation.runner import EVENTS_A_HISTORY, run_history

    clock = SystemClock()
    began_ns, left, episode = clock.monotonic_ns(), options.steps, 0
    while left > 0:
        events = min(left, EVENTS_A_HISTORY)
        failure = run_history(options.seed, episode, events, troubles=options.only)
        if failure is not None:
            sys.stdout.write(f"{failure}\n")
            return 1
        left, episode = left - events, episode + 1
        seconds = (clock.monotonic_ns() - began_ns) / NS_PER_SECOND
        if episode % 10 == 0 or left <= 0:
            done = options.steps - left
            sys.stdout.write(f"{done:,} events in {seconds:.0f} s: {done / seconds:,.0f} a second\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
