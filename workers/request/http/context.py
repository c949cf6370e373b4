"""The memory that answering requests needs: one `RequestContext` per worker, made before its loop begins.

Rules: the shared tables are looked at through it, and all scratch memory of an answer is in it, so that no answer
allocates. It knows nothing of sockets. The datagrams' context (udp/text.py) shares who asks and what is noted.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trinity.access.gate import Gate, make_gate
from trinity.config import AccessSection, PortsSection
from trinity.limits import ASSETS_MAX
from trinity.markets import Catalog
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import HEAD_BYTES
from trinity.memory.atomics import Words
from trinity.memory.usage_ring import private_ring
from trinity.native.octets import Integers, Octets, octets_of, pack_texts
from trinity.process import AskerMemory
from trinity.vocabulary import problem_for
from workers.request.answer import PRICE_BYTES_MAX, Names, Record, make_names, make_record
from workers.request.beyond import IS_ON, Beyond, make_beyond
from workers.request.forwarded import Caller, make_caller
from workers.request.http.parse import HEAD_WORDS
from workers.request.http.response import HEAD_BYTES_MAX, Stamp, make_stamp, open_body
from workers.request.http.target import PATHS, QUERY_WORDS
from workers.request.ledger import UsageRecorder, make_ledger

_BODY_FRAME_BYTES = 1024  # what stands around the prices, and every other body but that of /assets
_PORTS = PortsSection()
_PRIVATE_RECORDS = 1 << 12  # of a ring that nobody drains


class Guide(NamedTuple):
    """What whoever asks for an unknown path is told; `hints` are the members that name the nearest of `paths`."""

    body: Octets  # up to the hint
    paths: Octets
    path_bounds: Integers
    hints: Octets
    hint_bounds: Integers


class RequestContext(NamedTuple):
    """All memory that answering needs; made once per worker by `make_context`.

    `head` and `query` are laid out by parse.py and target.py, `wanted` by answer.parse_assets; `body` is scratch.
    `caller`, `gate`, `ledger` and `beyond` are shared with the datagrams.
    """

    table_words: Words
    record: Record
    assets: Names
    exchanges: Names
    head: Integers
    query: Integers
    wanted: Integers
    caller: Caller
    gate: Gate
    ledger: UsageRecorder
    beyond: Beyond
    stamp: Stamp
    body: Octets
    assets_body: Octets  # of GET /assets
    health_body: Octets  # of GET /health, between status and number of fresh assets
    guide: Guide


def make_context(
    table_words: Words,
    catalog: Catalog,
    node: str,
    simulated: bool,
    worker: int,
    caller: Caller,
    gate: Gate,
    ledger: UsageRecorder,
    beyond: Beyond,
    ports: PortsSection = _PORTS,
    report_paths: Sequence[str] = (),
) -> RequestContext:
    """A worker's memory, over the words of the node's answer table; `report_paths` are answered on TCP_PORT_LRS."""
    names = [asset.name for asset in catalog.assets]
    markets: dict[str, list[str]] = {name: [] for name in names}
    for market in catalog.markets:
        markets[market.asset].append(market.exchange)
    aliases = {alias: index for alias, index in catalog.names().items() if alias not in markets}
    assets_body: dict[str, object] = {"assets": names, "exchanges": catalog.exchanges, "markets": markets}
    assets_body |= {"aliases": {alias: names[index] for alias, index in aliases.items()}}
    if beyond.state[IS_ON]:
        assets_body |= {"beyond_catalog": True}  # others are answered as well
    health_body = {"node": node, "worker": worker, "simulated": simulated, "assets": len(names)}
    return RequestContext(
        table_words=table_words,
        record=make_record(),
        assets=make_names(names, aliases),
        exchanges=make_names(catalog.exchanges),
        head=np.zeros(HEAD_WORDS, dtype=np.int64),
        query=np.zeros(QUERY_WORDS, dtype=np.int64),
        wanted=np.zeros((ASSETS_MAX, 3), dtype=np.int64),  # a list may name every asset of the largest catalog
        caller=caller,
        gate=gate,
        ledger=ledger,
        beyond=beyond,
        stamp=make_stamp(ledger.ring),
        body=np.zeros(_BODY_FRAME_BYTES + ASSETS_MAX * PRICE_BYTES_MAX, dtype=np.uint8),
        assets_body=octets_of(_json(assets_body)),
        health_body=octets_of(b"," + _json(health_body)[1:-1] + b',"fresh":'),
        guide=make_guide(ports, report_paths),
    )


def make_guide(ports: PortsSection, report_paths: Sequence[str]) -> Guide:
    """Of the paths of both ports."""
    places = dict.fromkeys(report_paths, ports.tcp_port_lrs) | dict.fromkeys(PATHS, ports.tcp_port_lpo)
    hints = [f',"nearest":"{path}","port":{port}'.encode() for path, port in places.items()]
    problem = problem_for("unknown_path")
    text = f"{problem.text}; reports, history, streams and the documentation (/docs) are on port {ports.tcp_port_lrs}"
    body = octets_of(open_body(problem._replace(text=text)))
    return Guide(body, *pack_texts([path.encode() for path in places]), *pack_texts(hints))


def response_bytes_max(context: RequestContext) -> int:
    """The longest response: the largest of the bodies with its head."""
    return HEAD_BYTES + HEAD_BYTES_MAX + max(context.body.size, context.assets_body.size)


def make_private_context(
    table_words: Words,
    catalog: Catalog,
    counters: Words,
    section: AccessSection,
    access: AccessMemory,
    asker: AskerMemory | None = None,
    places: int = 0,
) -> RequestContext:
    """The context of a worker without a node: for compiling, measuring and tests; `asker` None: the catalog is all."""
    return make_context(
        table_words=table_words,
        catalog=catalog,
        node="private",
        simulated=False,
        worker=0,
        caller=make_caller(section.trusted_proxies),
        gate=make_gate(access.keys, access.limits, access.addresses, access.blocks, counters, section),
        ledger=make_ledger(private_ring(0, _PRIVATE_RECORDS), catalog),
        beyond=make_beyond(asker or AskerMemory.private(), len(catalog.assets), asker is not None, places),
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
