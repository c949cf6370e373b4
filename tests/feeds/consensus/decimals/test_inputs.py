"""From real shared memory to the inputs of the consensus."""

from decimal import Decimal

from feeds.consensus.decimals.inputs import Listing, gather, listings_of, live_exchanges, recall, recall_coins
from feeds.consensus.decimals.render import render_consensus
from feeds.consensus.decimals.rules import ConsensusState
from feeds.consensus.decimals.stablecoins import Held
from tests.feeds.consensus.cases import (
    EXCHANGES,
    NOW_NS,
    RULES,
    catalog_of,
    context_of,
    decide,
    quote_of,
    source_of,
    write_quote,
)
from tests.support.clocks import ManualClock
from trinity.clock import NS_PER_SECOND
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED
from trinity.memory.price_table import RowState
from trinity.vocabulary import REJECT_REASONS


def test_listings_follow_the_catalog_with_their_currency() -> None:
    """Only exchanges that list the asset, in the order of the tables, each with what it quotes in."""
    catalog = catalog_of()

    assert listings_of(catalog, catalog.asset_index("SOL")) == (Listing(0, "USD"), Listing(1, "USD"), Listing(2, "USD"))
    assert listings_of(catalog, catalog.asset_index("USDC")) == (
        Listing(2, "USD"),
        Listing(3, "USDT"),
        Listing(5, "USDT"),
    )


def test_a_row_is_gathered_with_its_state_and_judged() -> None:
    """The quote as it is in the table, and the source that the consensus sees."""
    with context_of(ManualClock()) as context:
        empty = gather(context.prices, 0, Listing(3, "USDT"), RULES)
        write_quote(context, "gateio", "BTC", "70990.5")
        context.prices.write_state(3, 0, RowState.FROZEN)
        quote, source = gather(context.prices, 0, Listing(3, "USDT"), RULES)

    assert (empty.quote, empty.source.venue, empty.source.state) == (None, None, RowState.UNKNOWN)
    assert quote is not None
    assert quote.newest.received_at_ns == NOW_NS
    assert (source.exchange, source.currency, source.state) == (3, "USDT", RowState.FROZEN)
    assert source.venue is not None
    assert source.venue.price == Decimal("70990.5")


def test_a_restarted_process_recalls_hold_outs_and_the_last_price() -> None:
    """Outliers and held-out sources stay out, with their stable starting again; the jump guard keeps its reference."""
    with context_of(ManualClock()) as context:
        listings = listings_of(context.catalog, 0)
        assert recall(context.answers, 0, listings) == ConsensusState()
        for exchange, reason in ((1, "outlier"), (4, "held_out"), (5, "stale")):
            context.answers.write_verdict(exchange, 0, VERDICT_REJECTED + REJECT_REASONS.index(reason))
        context.answers.write_verdict(0, 0, VERDICT_USED)
        decision, _ = decide(["71000", "71005", "70998"])
        context.answers.write(0, render_consensus("BTC", decision, EXCHANGES, 3, None).record)

        carried = recall(context.answers, 0, listings)

    assert carried == ConsensusState(held={1: None, 4: None}, last_price=Decimal(71000))


def test_a_restarted_process_recalls_the_last_index_with_its_age() -> None:
    """To the last digit and nanosecond; one whose writer was killed in between has no time and is none."""
    with context_of(ManualClock()) as context:
        assert recall_coins(context.answers) == {}
        context.answers.write_measured(0, 0.999700089973, NOW_NS)
        context.answers.write_measured(1, 1.0, 0)

        assert recall_coins(context.answers) == {"USDT": Held(Decimal("0.999700089973"), NOW_NS)}


def test_live_is_who_was_heard_lately_whatever_they_said() -> None:
    """Crossed, frozen and with a wrong clock: live. Silent for longer than the asset's age limit: not."""
    sources = [
        source_of(0, quote_of("101", "100")),
        source_of(1, quote_of("100"), state=RowState.FROZEN),
        source_of(2, quote_of("100", behind_ns=60 * NS_PER_SECOND)),
        source_of(3, quote_of("100", at_ns=NOW_NS - 10 * NS_PER_SECOND)),
        source_of(4, quote_of("100", at_ns=NOW_NS - 10 * NS_PER_SECOND - 1)),
        source_of(5, None),
    ]

    assert live_exchanges(((source, RULES) for source in sources), NOW_NS, 6) == {0, 1, 2, 3}
