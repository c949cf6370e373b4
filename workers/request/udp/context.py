"""The memory that answering datagrams needs; who asks and what is noted are shared with the same worker's HTTP."""

from typing import NamedTuple

import numpy as np

from trinity.access.gate import Gate
from trinity.limits import UDP_ASSETS_MAX
from trinity.memory.atomics import Words
from trinity.native.octets import Integers
from trinity.vocabulary import UDP_RESULTS
from workers.request.answer import Names, Record, make_record
from workers.request.beyond import Beyond
from workers.request.forwarded import Caller
from workers.request.http.context import RequestContext
from workers.request.ledger import UsageRecorder
from workers.request.udp import json

ANSWERED, ERROR, DROPPED = (UDP_RESULTS.index(result) for result in ("answered", "error", "dropped"))
PARKED = len(UDP_RESULTS)


class DatagramContext(NamedTuple):
    """The shared table, the names and the scratch memory of one worker's datagrams."""

    table_words: Words
    assets: Names
    exchanges: Names
    record: Record
    wanted: Integers
    query: Integers
    caller: Caller
    gate: Gate
    ledger: UsageRecorder
    beyond: Beyond


def make_datagram_context(context: RequestContext) -> DatagramContext:
    """Memory for datagrams beside that of the same worker's HTTP, with which it shares who asks and what is noted."""
    wanted = np.zeros((UDP_ASSETS_MAX, 3), dtype=np.int64)
    query = np.zeros(json.QUERY_WORDS, dtype=np.int64)
    return DatagramContext(
        table_words=context.table_words,
        assets=context.assets,
        exchanges=context.exchanges,
        record=make_record(),
        wanted=wanted,
        query=query,
        caller=context.caller,
        gate=context.gate,
        ledger=context.ledger,
        beyond=context.beyond,
    )
