"""Shared memory -> the inputs of the consensus; one way for the process that decides and for the tool that explains.

Rules: only reads. What a row's exchange quotes in comes from the catalog; a market that the catalog does not have
is no source at all. A process that starts anew recalls the last price and the hold-outs from the answer table, so a
restart lets no jump and no outlier slip through; only the calm time of the hold-outs starts again.
"""

from typing import NamedTuple

from feeds.consensus import Memory, Source
from feeds.render import last_good_of
from feeds.venue import judge_quote
from trinity.markets import AssetRules, Catalog
from trinity.memory.answer_table import VERDICT_REJECTED, AnswerTable
from trinity.memory.price_table import PriceTable, StoredQuote
from trinity.metrics import REJECT_REASONS

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


def recall(answers: AnswerTable, asset: int, listings: tuple[Listing, ...]) -> Memory:
    """What the answer table still knows of an asset: who was held out, and the last good price."""
    held_verdicts = [VERDICT_REJECTED + REJECT_REASONS.index(reason) for reason in HELD_REASONS]
    held = [exchange for exchange, _ in listings if answers.read_verdict(exchange, asset) in held_verdicts]
    last = last_good_of(answers.read(answers.row_of(asset)))
    return Memory(dict.fromkeys(held), last.price if last is not None else None)
