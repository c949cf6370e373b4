"""The commands of `trinity`, in one table (`trinity/__main__.py`): those for customers and for the node have rooms.

A module has two functions. It is imported when one of its commands is asked for, so only then may it cost time; what
is heavy is imported inside `run`.

    add_arguments(command, parser)   the arguments of that command; --config and --json are there already
    run(config, parsed) -> int       do it; the exit code. `parsed.command` is its name, `parsed.as_json` says --json

Results go out through `trinity.terminal.print_result`; errors are raised as a TrinityError, and printed by `__main__`.
"""
