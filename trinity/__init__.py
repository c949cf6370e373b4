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
    who asks -> go on or not    workers/request/gate.py        pure, compiled: address, key, rate, quota
    answer -> usage record      trinity/memory/usage_ring.py   one ring a worker, written before the bytes are sent
    usage records -> PostgreSQL workers/flusher/               spool on disk, binary COPY, exactly once
    PostgreSQL -> reports       workers/reports/               HTTP, UDP, streams, drop-ins, the dashboard

Beside the route:

    keys, plans, blocks         trinity/access/ (the operator's acts) -> PostgreSQL -> workers/access/ -> shared tables
    price -> candles            feeds/candles.py -> trinity/memory/candle_table.py -> workers/flusher/candles.py
    frames -> recording         feeds/recording/               what a replay needs to be the same, bit for bit

What every process shares is in this package: `config.py` (one frozen tree), `limits.py` (every bound and
its reason), `errors.py`, `clock.py` (the only user of `time`), `markets.py` (which asset is on which
exchange), `outcomes.py` (what a usage record's numbers mean), `memory/` (every shared byte), `store/` (PostgreSQL and
all SQL). What composes the node: `__main__.py` (the command line), `commands/` (what each command does),
`composition.py` (the list of processes), `supervisor.py` (pure decisions), `launcher.py` (fork, kill, wait).

`feeds` and `workers` import `trinity`, never each other; `trinity` imports them only where it composes.
"""
