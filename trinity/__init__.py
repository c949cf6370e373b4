"""Trinity: a self-hosted crypto price oracle. This docstring is the map.

The route of a price, hop by hop; data flows one way only:

    exchange frame -> quote     feeds/exchanges/<exchange>.py  pure: bytes in; quotes, replies, refusals out; the form
                                                               of its frequent frame, read compiled: frequent.py
    socket -> frames            feeds/ingest/process.py        the only WebSocket loop; frames.py, rest.py
    quote -> shared table       feeds/ingest/intake.py, rows.py -> trinity/memory/price_table.py   one writer a cell
    six quotes -> one price     feeds/consensus/integers/      compiled: cycle.py, quotes.py, votes.py, prices.py; the
                                                               same rules to explain and replay: decimals/rules.py
    price -> answer bytes       feeds/consensus/integers/records.py   rendered once per change, into ...
    answer bytes -> table       trinity/memory/answer_table.py ... two versions a cell
    socket -> request -> socket workers/request/loop.py        the one compiled loop: epoll, HTTP and UDP
    request bytes -> request    workers/request/http/parse.py, udp/text.py   pure, compiled, bounds-checked
    who asks -> go on or not    trinity/access/gate.py         pure, compiled: address, key, rate, quota
    request -> answer bytes     workers/request/answer.py      pure, compiled: freshness, quality, copy
    answer -> usage record      workers/request/ledger.py -> trinity/memory/usage_ring.py   before the bytes are sent
    usage records -> PostgreSQL workers/ledger/                spool on disk, binary COPY, exactly once
    PostgreSQL -> reports       workers/api/                   HTTP, UDP, streams, drop-ins, the dashboard

Beside the route:

    keys, plans, blocks         trinity/access/ (the operator's acts) -> PostgreSQL -> workers/access/ -> shared tables
    price -> candles            feeds/consensus/candles.py -> memory/candle_table.py -> workers/operator/candles.py
    price -> subscribers        trinity/push/ (what was asked for) -> PostgreSQL -> workers/push/: who is due, signed,
                                                               over HTTPS or UDP; its log goes the way of usage
    what happens to accounts    trinity/push/events.py -> PostgreSQL -> workers/push/events/ -> their endpoints; mails
    node <-> other nodes        workers/cluster/ -> trinity/cache/ -> Valkey: who lives, what each does, what they share
    backups, and the way back   workers/backup/ -> trinity/backup/: bases, log, the node's own files; sealed; any second
    what is due now and then    workers/operator/              migrations, partitions, retention, candles, daily figures
    frames -> recording         feeds/audit/                   what a replay needs to be the same, bit for bit

The rooms of this package: the kernel, which imports nothing above it (`clock.py`, the only user of `time`; `errors.py`;
`limits.py`, every bound and its reason; `vocabulary.py`, every word and the text of every refusal; `config.py`, one
frozen tree, and `config_checks.py`, what its types cannot say; `services.py`, what a node runs by its type;
`markets.py`, which asset is on which exchange; `book.py`, a last price against its book; `backoff.py`, when to try
again; `files.py`, how a file is written whole; `process.py`, what a process is given); `compiled/` (Python functions as
machine code, and where it lies); `memory/` (every shared byte); `native/` (bytes, system calls and hashes for compiled
code); `net/` (listeners, their guards, ways out); `access/` (keys, plans, blocks, the gate); `push/` (subscriptions,
endpoints, events, which targets are refused); `store/` (PostgreSQL and all SQL); `backup/` (what is kept in a second
place, and the way back); `sync/` (PostgreSQL -> Valkey, in bulk); `cache/` (Valkey: its names, the way there);
`balancer/` (which nodes the load balancer asks); `observe/` (metrics, log, readings, status); `node/` (what composes
and supervises the processes, and a cluster of nodes on one machine); `cli/` (the commands).

`feeds` and `workers` import `trinity`, never each other; `trinity` imports them only in `node/` and `cli/`, where it
composes. docs/architecture.md has the whole picture.
"""
