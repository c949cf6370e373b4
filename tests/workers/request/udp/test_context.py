"""workers/request/udp/context.py"""

from typing import Any

from trinity.vocabulary import UDP_RESULTS
from workers.request.udp.context import ANSWERED, DROPPED, ERROR, PARKED, make_datagram_context


def test_datagrams_share_who_asks_with_http(make_private: Any) -> None:
    """One gate, one ledger and one park of a worker; the scratch of an answer is each one's own."""
    context = make_private().context
    made = make_datagram_context(context)
    for name in ("table_words", "assets", "exchanges", "caller", "gate", "ledger", "beyond"):
        assert getattr(made, name) is getattr(context, name)
    assert made.record is not context.record
    assert [UDP_RESULTS[result] for result in (ANSWERED, ERROR, DROPPED)] == list(UDP_RESULTS)
    assert PARKED not in range(len(UDP_RESULTS)), "it is counted when it is answered"
