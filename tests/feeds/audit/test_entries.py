"""Entries survive their encoding with every digit and type."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from feeds.audit.entries import DECODER, ENCODER, AssetState, Checkpoint, Frame, Opened, RowInput
from feeds.consensus.decimals.render import LastGood
from feeds.consensus.decimals.rules import ConsensusState
from feeds.consensus.decimals.stablecoins import Held
from tests.feeds.consensus.cases import quote_of
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=2**63 - 1))
def test_raw_frames_come_back_as_they_were(frame: bytes, at_ns: int) -> None:
    """Any bytes, not only text."""
    entries = [Frame(3, at_ns, at_ns, frame)]
    assert DECODER.decode(ENCODER.encode(entries)) == entries


def test_a_whole_checkpoint_comes_back() -> None:
    """Decimals with their digits, states, absent prices, hold-outs by exchange number."""
    carried = ConsensusState({2: None, 4: 17}, Decimal("200.10"), 5)
    entries = [
        Opened(1),
        Checkpoint(
            1,
            2,
            (RowInput(0, 1, RowState.FROZEN, quote_of("1.50")), RowInput(1, 1, RowState.UNKNOWN, None)),
            (
                AssetState(carried, LastGood(20010, 2, b"200.1", 7, 8), AnswerState.GOOD, 9),
                AssetState(ConsensusState(), None, AnswerState.EMPTY, 0),
            ),
            {"USDT": Decimal("0.999700089973")},
            {"USDT": Held(Decimal("0.999700089973"), 6, 5), "USDC": Held()},
        ),
    ]
    decoded = DECODER.decode(ENCODER.encode(entries))
    assert decoded == entries
    assert str(decoded) == str(entries), "1.50 is not 1.5 here"
