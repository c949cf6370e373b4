"""Shared memory -> the inputs of the consensus; one way for the process that decides and for the tool that explains.

Rules: only reads. What a row's exchange quotes in comes from the catalog; a market that the catalog does not have
is no source at all. A process that starts anew recalls the last price and the hold-outs from the answer table, so a
restart lets no jump and no outlier slip through; only the stable time of the hold-outs starts again. The coins' last
indexes are recalled with their age, so that a restart does not make an old one young.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from feeds.consensus.decimals.render import last_good_of
from feeds.consensus.decimals.rules import ConsensusState, Source
from feeds.consensus.decimals.stablecoins import INDEX_QUANTUM, Held
from feeds.consensus.decimals.venue import judge_quote
from trinity.clock import NS_PER_MS
from trinity.markets import AssetRules, Catalog
from trinity.memory.answer_table import COINS, VERDICT_REJECTED, AnswerTable
from trinity.memory.price_table import PriceTable, StoredQuote
from trinity.vocabulary import REJECT_REASONS

HELD_REASONS = ("outlier", "held_out")


class Listing(NamedTuple):
    """One exchange that lists an asset, by index, and the currency that it quotes it in."""

    exchange: int
    currency: str


class Gathered(NamedTuple):
    """One row of the price table: the quote as it is there, and what the consensus makes of it."""

    quote: StoredQuote | None
    source: Source


def listings_of(catalog: Catalog, asset: int) -> tuple[Listing, ...]:
    """The exchanges that list an asset, in the catalog's order."""
    name = catalog.assets[asset].name
    listings = [Listing(catalog.exchange_index(m.exchange), m.quote) for m in catalog.markets if m.asset == name]
    return tuple(sorted(listings))


def exchange_names(catalog: Catalog, simulated: bool) -> list[str]:
    """The exchanges as an answer names them: nobody shall take a simulated price for a real one."""
    return [f"simulated:{name}" if simulated else name for name in catalog.exchanges]


def gather(prices: PriceTable, asset: int, listing: Listing, rules: AssetRules) -> Gathered:
    """One exchange's newest quote and row state for an asset, judged by the asset's rules."""
    quote = prices.read(listing.exchange, asset)
    state = prices.read_state(listing.exchange, asset)
    venue = judge_quote(quote, rules) if quote is not None else None
    return Gathered(quote, Source(listing.exchange, listing.currency, state, venue))


def recall(answers: AnswerTable, asset: int, listings: tuple[Listing, ...]) -> ConsensusState:
    """What the answer table still knows of an asset: who was held out, and the last good price."""
    held_verdicts = [VERDICT_REJECTED + REJECT_REASONS.index(reason) for reason in HELD_REASONS]
    held = [exchange for exchange, _ in listings if answers.read_verdict(exchange, asset) in held_verdicts]
    last = last_good_of(answers.read(answers.row_of(asset)))
    return ConsensusState(dict.fromkeys(held), last.price if last is not None else None)


def recall_coins(answers: AnswerTable) -> dict[str, Held]:
    """The coins' last indexes; INDEX_QUANTUM has fewer digits than a float holds, so they come back exact."""
    found = {}
    for i, coin in enumerate(COINS):
        usd, measured_at_ns = answers.read_measured(i)
        if measured_at_ns:
            found[coin] = Held(Decimal(repr(usd)).quantize(INDEX_QUANTUM), measured_at_ns)
    return found


def live_exchanges(rows: Iterable[tuple[Source, AssetRules]], now_ns: int, exchanges: int) -> frozenset[int]:
    """The exchanges (of so many) that were heard lately in any market.

    By receipt alone, and whatever was said: who talks nonsense or has a wrong clock may lie elsewhere as well, and
    the more are live, the more are taken for possible liars.
    """
    live: set[int] = set()
    for source, rules in rows:
        venue = source.venue
        if venue is not None and now_ns - venue.heard_at_ns <= rules.max_age_ms * NS_PER_MS:
            live.add(source.exchange)
            if len(live) == exchanges:
                break
    return frozenset(live)
