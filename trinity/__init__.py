"""Trinity: a self-hosted crypto price oracle. This docstring is the map.

The route of a price, hop by hop; data flows one way only:

    exchange frame -> quote     feeds/<exchange>.py            pure: bytes in; quotes, replies, refusals out
    socket -> frames            feeds/runner.py                the only WebSocket loop; REST while it is stale
    quote -> shared table       trinity/memory/price_table.py  one writer a cell, two versions a cell
    six quotes -> one price     feeds/consensus.py             pure rules; feeds/aggregator.py runs them
    price -> answer bytes       feeds/render.py                rendered once a change, into ...
    answer bytes -> table       trinity/memory/answer_table.py ... two versions a cell
    request bytes -> request    workers/request/http1.py, datagram.py   pure, compiled, bounds-checked
    request -> answer bytes     workers/request/answer.py      pure, compiled: freshness, quality, copy
    socket -> request -> socket workers/request/loop.py        the one compiled loop: epoll, HTTP and UDP

What every process shares is in this package: `config.py` (one frozen tree), `limits.py` (every bound and
its reason), `errors.py`, `clock.py` (the only user of `time`), `markets.py` (which asset is on which
exchange), `memory/` (every shared byte). What composes the node: `__main__.py` (the command line),
`composition.py` (the list of processes), `supervisor.py` (pure decisions), `launcher.py` (fork, kill, wait).

`feeds` and `workers` import `trinity`, never each other; `trinity` imports them only where it composes.
"""
