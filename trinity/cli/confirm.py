"""Whether what is for good is really wanted: asked on a terminal, said with --yes where nobody can be asked.

Rules: the question goes to standard error, so that standard output keeps its one object with --json. Whatever is not
a clear yes is a no: an empty line, the end of the input, Ctrl-C.
"""

import sys

from trinity.errors import InputError, RefusedError
from trinity.terminal import say


def confirm(act: str, sentence: str, is_sure: bool) -> None:
    """Return if the act is wanted.

    Else InputError (nobody can be asked) or RefusedError (they said no).
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "--yes", f"{sentence} That is for good, and nobody can be asked here: say --yes if you are sure"
        )
    say(f"{sentence} That is for good.", sys.stderr)
    print("Are you sure? [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise RefusedError(act, "it was not confirmed, so nothing was changed")
