"""Six simulated exchanges: their WebSocket and REST protocols on loopback, one seeded market, faults on command.

    market.py      pure: correlated random walks; which market quotes when
    faults.py      pure: what goes wrong now, and what it does to a quote
    board.py       pure: one exchange's markets: the newest quotes, with the active faults applied
    rates.py       pure: request rate limits
    venue.py       what an exchange's file consists of: sessions (WebSocket), routes (REST), limits
    coinbase.py, coinbase_exchange.py, gemini.py, kraken.py, gateio.py, cryptocom.py, okx.py    the protocols
    venues.py      the list of them
    connection.py  one WebSocket: its session, its outbox, the task that sends
    server.py      the HTTP server, the loop that moves the market, the fault endpoints, the entry points

The protocols are written from the exchanges' documentation and never import the decoders in `feeds/`: a mistake
in one must not hide in the other.
"""
