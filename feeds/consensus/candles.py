"""Published consensus prices -> one-minute candles in the candle files.

    Candlestick   pure: one asset's running minute as a step function of time
    CandleBook    the consensus process's files: what each published decision does to them (a TurnObserver)
    open_candles  the book of a running node, as far as its disk has one

Rules: a price stands from its publication until the next one, until it may no longer be served, or until the asset
has no price, whichever is first. A minute in which one stood has a candle, also when none was published in it; any
other minute is a gap and is never filled. Minutes are the wall clock's: set back, it closes the running minute and
begins another; set ahead, no price stands for longer than it was valid.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from feeds.consensus.turn import Published, TurnFacts
from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import AnswerState, AnswerTable
from trinity.memory.candle_table import CANDLES, EXPONENT, CandleFile, Minute, Standing, open_or_renew
from trinity.observe.metrics import CONSENSUS
from trinity.process import ProcessContext

MS_PER_MINUTE = 60_000
_FAILED = CONSENSUS.index("oracle_candles_failed")
_OVERWRITTEN = CONSENSUS.index("oracle_candles_overwritten_total")


class Candlestick:
    """One asset's running minute; closed minutes go to `close`. All times are wall clock milliseconds."""

    def __init__(
        self, close: Callable[[Minute], object], running: Minute | None = None, standing: Standing | None = None
    ) -> None:
        self._close = close
        self._newest = running  # what stands, also when its minute is closed
        self.running = running
        self.standing = standing if running is not None else None

    def on_price(self, price: int, confidence: int, sources: int, now_ms: int, until_ms: int) -> None:
        """A price was published: it stands from now on, at the longest until `until_ms`."""
        self.advance(now_ms)
        before = self.running
        if before is None:
            minute = now_ms // MS_PER_MINUTE
            self.running = Minute(minute, price, price, price, price, confidence, 0, 0, 1, sources)
        else:
            self.running = Minute(
                before.minute,
                before.open,
                max(before.high, price),
                min(before.low, price),
                price,
                confidence,
                before.weighted_sum,
                before.weighted_ms,
                before.samples + 1,
                sources,
            )
        self._newest = self.running
        self.standing = Standing(now_ms, until_ms)

    def on_unavailable(self, now_ms: int) -> None:
        """There is no price any more."""
        self.advance(now_ms)
        self.standing = None

    def advance(self, now_ms: int) -> None:
        """Give the standing price its time up to now, and close every minute that is over."""
        if self.standing is not None:
            since_ms, until_ms = self.standing
            end_ms = min(now_ms, until_ms)
            while since_ms < end_ms:
                since_ms = self._weigh(since_ms, end_ms)
            self.standing = Standing(since_ms, until_ms) if now_ms < until_ms else None
        if self.running is not None and self.running.minute != now_ms // MS_PER_MINUTE:
            self._close(self.running)
            self.running = None

    def _weigh(self, since_ms: int, end_ms: int) -> int:
        """Count the standing price from `since_ms` on within one minute; returns up to when."""
        minute = since_ms // MS_PER_MINUTE
        running = self.running
        if running is None or running.minute != minute:
            if running is not None:
                self._close(running)
            assert self._newest is not None, "a price stands, so it was published"
            price = self._newest.close
            running = Minute(minute, price, price, price, price, self._newest.confidence, 0, 0, 0, self._newest.sources)
        upto_ms = min(end_ms, (minute + 1) * MS_PER_MINUTE)
        self.running = running._replace(
            weighted_sum=running.weighted_sum + running.close * (upto_ms - since_ms),
            weighted_ms=running.weighted_ms + upto_ms - since_ms,
        )
        return upto_ms


class CandleBook:
    """The candlesticks of all assets over their files; `set_aside` says which files were unreadable, and why."""

    def __init__(self, folder: Path, assets: Sequence[str], on_overwritten: Callable[[], None]) -> None:
        self.set_aside: dict[str, str] = {}
        self._on_overwritten = on_overwritten
        self._candles: list[AssetCandles] = []
        for asset in assets:
            file, reason = open_or_renew(folder, asset)
            if reason:
                self.set_aside[asset] = reason
            self._candles.append(AssetCandles(file, self._append))

    def recall(self, asset: int, is_served: bool) -> None:
        """A successor goes on with what the files say; a price that nobody serves any more does not stand."""
        if not is_served:
            self._candles[asset].candlestick.standing = None

    wants_each_turn = False

    def on_turn(self, facts: TurnFacts) -> None:
        """Take note of what was published, each at its own moment; then close the minutes that are over."""
        for published in facts.published:
            self.observe(published)
        minute = facts.wall_ns // NS_PER_MS // MS_PER_MINUTE
        for candles in self._candles:
            if candles.minute != minute:
                candles.candlestick.advance(facts.wall_ns // NS_PER_MS)
                candles.write(minute)

    def close(self, now_ns: int) -> None:
        """Nothing is left to write: what was told was written."""

    def observe(self, published: Published) -> None:
        """Take note of one consensus answer."""
        candles = self._candles[published.asset]
        wall_ms = published.wall_ns // NS_PER_MS
        if published.state is AnswerState.GOOD:
            until_ms = wall_ms + (published.valid_until_ns - published.now_ns) // NS_PER_MS
            unit = 10 ** (EXPONENT - published.places)
            price, confidence = published.price * unit, published.confidence * unit
            candles.candlestick.on_price(price, confidence, published.sources, wall_ms, until_ms)
        else:
            candles.candlestick.on_unavailable(wall_ms)
        candles.write(wall_ms // MS_PER_MINUTE)

    def _append(self, file: CandleFile, minute: Minute) -> None:
        if not file.append(minute):
            self._on_overwritten()


def open_candles(context: ProcessContext, answers: AnswerTable, data_dir: Path) -> list[CandleBook]:
    """The candle files; none, loudly, when the disk does not have them: prices are worth more than their history."""
    folder = data_dir / CANDLES
    try:
        book = CandleBook(
            folder,
            [asset.name for asset in context.catalog.assets],
            lambda: context.block.count(_OVERWRITTEN),
        )
    except OSError as error:
        context.log.error("no candles are written", extra={"fields": {"folder": str(folder), "error": str(error)}})
        context.block.set_gauge(_FAILED, 1.0)
        return []
    context.block.set_gauge(_FAILED, 0.0)
    for asset, reason in book.set_aside.items():
        context.log.error("unreadable candles set aside", extra={"fields": {"asset": asset, "reason": reason}})
    for index in range(len(context.catalog.assets)):
        record = answers.read(answers.row_of(index))
        book.recall(index, is_served=record is not None and int(record["state"][0]) == AnswerState.GOOD)
    return [book]


class AssetCandles:
    """One asset's file and candlestick, and what was last noted in it."""

    def __init__(self, file: CandleFile, append: Callable[[CandleFile, Minute], None]) -> None:
        self.file = file
        self.candlestick = Candlestick(lambda minute: append(file, minute), *(file.read_running() or (None, None)))
        self.minute = 0

    def write(self, minute: int) -> None:
        """Let the file say what is; `minute` is the wall clock's."""
        self.minute = minute
        self.file.write_running(self.candlestick.running, self.candlestick.standing)
