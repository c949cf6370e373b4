"""Measurements: what the project claims about speed is made here and kept in docs/performance.md.

    __main__      the command line: which part, with which arguments; it alone knows every room
    parts/        one thing that is measured a file: starts servers, loads them, returns a result
    feeds/        the exchanges' side: senders, frames and faults, and the clients that are fed, ours and others'
    servers/      what is measured and how it is started, watched and stopped: our processes, floors and peers
    generators/   what makes load and checks every answer, compiled: HTTP, UDP, streams
    report/       out of results alone: tables, plots, and whether the figures are reached

Rules: an arrow points down this list only, and `report` is looked into by the command line alone (tests/test_tidy.py);
errors.py and progress.py are for all.
"""
