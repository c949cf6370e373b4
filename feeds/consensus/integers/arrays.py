"""What the compiled consensus keeps and works on: one set of arrays for a process, and its way from and to Python.

    assets      ASSET_DTYPE: an asset's rules, what it carries from turn to turn, and what came out last
    rows        ROW_DTYPE: what was read of one exchange's cell, and what it says at the moment of the review
    quotes      QUOTE_DTYPE: the copied cells, row by row
    bench       BENCH_DTYPE: scratch of one review; `answer` the record that it renders
    indexes     USD per coin, by currency: integers of 10**-INDEX_PLACES, 0 where there is none
    counts      what happened since the process last looked: COUNT_UPDATES ... and rejections by exchange and verdict
    changes     which rows were read, assets reviewed and decided in the turn

Rules: row = asset * EXCHANGES + exchange. Prices are integers. A row's are of 10**-digits, with `digits` the most that
any of its sides has; a review brings the rows of its asset to one scale, and doubles prices, so that the mean of two is
exact. Where a number does not fit, `fits` says so and the asset is decided in decimals (exact.py). Verdicts are those
of the answer table's words.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from feeds.consensus.decimals.inputs import listings_of
from feeds.consensus.decimals.rules import ConsensusState
from trinity.clock import NS_PER_MS
from trinity.limits import ASSETS_MAX
from trinity.markets import Catalog
from trinity.memory.answer_table import ANSWER_DTYPE, COINS, VERDICT_REJECTED, AnswerTable
from trinity.memory.atomics import Words
from trinity.memory.price_table import QUOTE_DTYPE, PriceTable, Via
from trinity.native.octets import Octets, pack_texts
from trinity.vocabulary import EXCHANGES, REJECT_REASONS

ROWS = len(EXCHANGES)
CURRENCIES = ("USD", *COINS)
INDEX_PLACES = 12
# A verdict for each reason that leaves a source out.
VERDICT_OF = {reason: VERDICT_REJECTED + i for i, reason in enumerate(REJECT_REASONS)}
VERDICTS = VERDICT_REJECTED + len(REJECT_REASONS)
ENDLESS_NS = 2**63 - 1

# The first numbers of `counts`; rejections follow, VERDICTS numbers an exchange, then last prices off their books.
COUNT_UPDATES, COUNT_DISAGREEMENTS, COUNT_REJECTED = range(3)
COUNT_OFF_BOOK = COUNT_REJECTED + ROWS * VERDICTS
COUNTS = COUNT_OFF_BOOK + ROWS

ASSET_DTYPE = np.dtype(
    [
        # rules
        ("max_age_ns", np.int64),
        ("min_sources", np.int64),
        ("window_bps", np.int64),
        ("floor_bps", np.int64),
        ("spread_bps", np.int64),
        ("is_coin", np.int64),
        ("listed", np.int64),  # bits of the exchanges
        ("currency", np.int64, ROWS),  # of each exchange's quote, an index of CURRENCIES
        # carried from turn to turn
        ("held", np.int64),  # bits of the exchanges that were cut
        ("stable_since_ns", np.int64, ROWS),  # monotonic; 0: not stable
        ("has_last", np.int64),
        ("last_price", np.int64),
        ("last_places", np.int64),
        ("jump_since_ns", np.int64),  # 0: no jump waits
        ("reviewed_at_ns", np.int64),
        # what came out last: the first seven are one block for Python (OUTCOME)
        ("state", np.int64),  # AnswerState; NEVER before the first review
        ("price", np.int64),  # 0 unless the state is GOOD
        ("confidence", np.int64),
        ("places", np.int64),  # digits behind the point of both
        ("valid_until_ns", np.int64),
        ("used", np.int64),  # bits of the exchanges
        ("told", np.int64),  # the state that people were told
        ("verdicts", np.int64, ROWS),  # 0 for an exchange that does not list it
        ("ends_at_ns", np.int64),
    ],
    align=True,
)
NEVER = -1

ROW_DTYPE = np.dtype(
    [
        ("version", np.uint64),  # the cell's counter when it was read
        ("state", np.int64),  # RowState
        ("has_quote", np.int64),
        ("fits", np.int64),
        ("digits", np.int64),
        ("largest", np.int64),  # of the three prices at that scale
        ("price", np.int64, 3),  # bid, ask, last without trailing zeros
        ("places", np.int64, 3),
        ("is_there", np.int64, 3),
        ("until_ns", np.int64, 3),  # up to when a side counts
        ("late", np.int64, 3),  # the verdict from then on
        ("refused", np.int64, 3),  # the verdict of a side that never counts, else 0
        ("heard_until_ns", np.int64),  # up to when the exchange is live by this row
        # at the moment of the review
        ("verdict", np.int64),  # 0: it has a price
        ("counted", np.int64),  # bits of the sides
        ("double_price", np.int64),
        ("double_width", np.int64),  # of twice the half width, where it comes from a book
        ("is_traded", np.int64),  # the half width is that of a last price without a book
        ("is_off_book", np.int64),  # the last price is far outside its own book, and does not count
        ("fresh_until_ns", np.int64),
        ("received_at_ns", np.int64),
        ("received_wall_ns", np.int64),
        # what was published
        ("shown_version", np.uint64),
        ("shown_verdict", np.int64),
        ("shown_until_ns", np.int64),
        ("off_book_told", np.int64),
    ],
    align=True,
)

BENCH_DTYPE = np.dtype(
    [
        ("count", np.int64),  # votes
        ("vote", np.int64, ROWS),  # exchanges by price
        ("price", np.int64, 2 * ROWS),  # wide, by exchange
        ("kept", np.int64, ROWS),  # exchanges by price, without those held out
        ("kept_count", np.int64),
        ("points", np.int64, 2 * 3 * ROWS),  # wide
        ("deviations", np.int64, 2 * ROWS),  # wide
        ("places", np.int64),  # scale of the votes' prices
        ("digits", np.int64),  # of the rows of the asset
        ("required", np.int64),
        ("needed", np.int64),
        ("has_window", np.int64),
        ("confidence_milli_bps", np.int64),
        ("disagreement_milli_bps", np.int64),
        ("received_at_ns", np.int64),
        ("received_wall_ns", np.int64),
        ("newest_wall_ns", np.int64),
    ],
    align=True,
)

# A consensus answer that was published, for those who watch.
PUBLISHED_DTYPE = np.dtype(
    [
        ("asset", np.int64),
        ("state", np.int64),
        ("price", np.int64),  # 0 unless the state is GOOD
        ("confidence", np.int64),
        ("places", np.int64),
        ("sources", np.int64),
        ("valid_until_ns", np.int64),
        ("now_ns", np.int64),
        ("wall_ns", np.int64),
    ],
    align=True,
)
# Half a second at 20,000 quotes a second; when less than a turn's worth is free, the process is told at once.
PUBLISHED_MAX = 40 * ASSETS_MAX

# Texts of the answers that never change: an asset's, then each row's two, then the exchanges' names and the ways.
TEXTS_AN_ASSET = 1 + 2 * ROWS
# The longest, a marked source's, has 70 bytes.
TEXT_BYTES_MAX = (ASSETS_MAX * TEXTS_AN_ASSET + ROWS) * 72


# `changes`: how many rows were read, assets reviewed, decided, untold and left to decimals; then the lists.
READ, REVIEWED, DECIDED, UNTOLD, EXACT, LISTS = range(6)
READ_AT = LISTS
REVIEWED_AT = READ_AT + ASSETS_MAX * ROWS
DECIDED_AT, UNTOLD_AT, EXACT_AT = (REVIEWED_AT + i * ASSETS_MAX for i in range(1, 4))
CHANGES = EXACT_AT + ASSETS_MAX

# All of it as one record: compiled code then passes one pointer. Memory that no asset uses is never touched.
STATE_DTYPE = np.dtype(
    [
        ("exchanges", np.int64),
        ("count", np.int64),  # assets
        ("capacity", np.int64),  # of the price table
        ("verdicts_at", np.int64),  # the word of the answer table's first verdict
        ("decided_at_ns", np.int64),  # the moment of the newest turn, monotonic
        ("next_end_ns", np.int64),  # the first moment at which an answer can no longer be served
        ("told_at_ns", np.int64),  # when the process's observers were told last
        ("each_turn", np.int64),  # 1 while an observer wants to be told each turn
        ("coins_changed", np.int64),  # 1 when a coin was reviewed since the indexes were measured
        ("coins_measured_at_ns", np.int64),
        ("published_count", np.int64),
        ("published", PUBLISHED_DTYPE, (PUBLISHED_MAX,)),
        ("bench", BENCH_DTYPE),
        ("indexes", np.int64, len(CURRENCIES)),
        ("counts", np.int64, COUNTS),
        ("changes", np.int64, CHANGES),
        ("answer", ANSWER_DTYPE),
        ("bounds", np.int64, ASSETS_MAX * TEXTS_AN_ASSET + ROWS + len(Via) + 1),
        ("texts", np.uint8, TEXT_BYTES_MAX),
        ("assets", ASSET_DTYPE, (ASSETS_MAX,)),
        ("rows", ROW_DTYPE, (ASSETS_MAX * ROWS,)),
        ("quotes", QUOTE_DTYPE, (ASSETS_MAX * ROWS,)),
    ],
    align=True,
)


class TableWords(NamedTuple):
    """The node's two tables, and the state's own words where a copy goes to."""

    prices: Words
    answers: Words
    quotes: Words
    answer: Words
    octets: Octets  # of `answer`


class Arrays(NamedTuple):
    """All that a turn touches; `state` is a record of STATE_DTYPE."""

    tables: TableWords
    state: np.void


def make_arrays(prices: PriceTable, answers: AnswerTable, catalog: Catalog, simulated: bool) -> Arrays:
    """Arrays in which nothing was read yet, over the node's two tables."""
    arrays = arrays_over(prices.words, answers.words)
    state = arrays.state
    state["exchanges"], state["count"] = prices.exchanges, len(catalog.assets)
    state["capacity"], state["verdicts_at"] = prices.capacity, answers.verdicts_base
    texts, bounds = pack_texts(_texts(catalog, simulated))
    state["texts"][: texts.size], state["bounds"][: bounds.size] = texts, bounds
    state["rows"]["shown_verdict"] = NEVER
    state["next_end_ns"] = ENDLESS_NS
    for index, asset in enumerate(catalog.assets):
        record = state["assets"][index]
        record["max_age_ns"] = asset.rules.max_age_ms * NS_PER_MS
        record["min_sources"] = asset.rules.min_sources
        record["window_bps"] = asset.rules.majority_window_bps
        record["floor_bps"] = asset.rules.outlier_floor_bps
        record["spread_bps"] = asset.rules.max_spread_bps
        record["is_coin"] = asset.name in COINS
        for exchange, currency in listings_of(catalog, index):
            record["listed"] |= 1 << exchange
            record["currency"][exchange] = CURRENCIES.index(currency)
        record["state"] = record["told"] = NEVER
        record["ends_at_ns"] = ENDLESS_NS
    set_indexes(state, {})
    return arrays


def arrays_over(prices: Words, answers: Words) -> Arrays:
    """Arrays of no asset over the words of two tables."""
    whole = np.zeros(1, dtype=STATE_DTYPE)
    answer = whole["answer"]
    quotes = whole["quotes"].reshape(-1).view(np.uint64)
    return Arrays(TableWords(prices, answers, quotes, answer.view(np.uint64), answer.view(np.uint8)), whole[0])


def set_indexes(state: np.void, indexes: Mapping[str, Decimal]) -> None:
    """Let the next turn convert by these."""
    state["indexes"][0] = 10**INDEX_PLACES
    for place, coin in enumerate(COINS, 1):
        state["indexes"][place] = int(indexes[coin].scaleb(INDEX_PLACES)) if coin in indexes else 0


def set_carried(record: np.void, carried: ConsensusState) -> None:
    """Let an asset carry this into its next review."""
    record["held"] = sum(1 << exchange for exchange in carried.held)
    record["stable_since_ns"] = 0
    for exchange, since_ns in carried.held.items():
        record["stable_since_ns"][exchange] = since_ns or 0
    last = carried.last_price
    record["has_last"] = last is not None
    if last is not None:
        places = max(0, -int(last.as_tuple().exponent))
        record["last_price"], record["last_places"] = int(last.scaleb(places)), places
    record["jump_since_ns"] = carried.jump_since_ns or 0


def carried_of(record: np.void) -> ConsensusState:
    """What an asset carries."""
    held = int(record["held"])
    since = record["stable_since_ns"].tolist()
    last = Decimal(int(record["last_price"])).scaleb(-int(record["last_places"])) if record["has_last"] else None
    return ConsensusState(
        {exchange: since[exchange] or None for exchange in bits_of(held)}, last, int(record["jump_since_ns"]) or None
    )


def bits_of(mask: int) -> tuple[int, ...]:
    """The exchanges of a mask, in their order."""
    return tuple(exchange for exchange in range(ROWS) if mask >> exchange & 1)


def _texts(catalog: Catalog, simulated: bool) -> Sequence[bytes]:
    found: list[str] = []
    for index, asset in enumerate(catalog.assets):
        currencies = {listing.exchange: listing.currency for listing in listings_of(catalog, index)}
        found.append(f'{{"asset":"{asset.name}","price":')
        for exchange in range(ROWS):
            name = catalog.exchanges[exchange] if exchange in currencies else ""
            marked = '"simulated":true,' if simulated else ""
            found.append(f',"currency":"{currencies.get(exchange, "")}",')
            found.append(f'"source":"{name}",{marked}"via":"')
    names = [*catalog.exchanges, *[""] * (ROWS - len(catalog.exchanges))]
    found += [f'"simulated:{name}"' if simulated else f'"{name}"' for name in names]
    found += [via.name.lower() for via in Via]
    return [text.encode() for text in found]
