"""Valkey: what stands in it under which name, and the way there.

    keys.py       every name, its type and life: the one table
    address.py    CACHE_URL, and the settings of the cache
    breaker.py    pure: when a cache that fails is left alone, and when it is tried again
    server.py     connections of one server; one pipelined round trip over one of them
    replies.py    pure: error replies as values
    slots.py      pure: which server of a Valkey Cluster has a name
    route.py      to one server, or to each server of a Valkey Cluster what is its own
    stats.py      pure: a node's telemetry, written and read
    nodes.py      all nodes, as each told of itself last
    client.py     what everybody uses, asynchronous and not

Rules: a cache only. Whatever stands in Valkey was written after PostgreSQL's commit and can be rebuilt from it; nothing
is ever claimed there. Whoever answers lookups never waits for it. Away, it is an error at once, not a wait.
"""
