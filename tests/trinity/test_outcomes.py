"""trinity/outcomes.py"""

from trinity import outcomes
from trinity.observe.metrics import EXCHANGES


def test_every_number_fits_its_field_and_means_one_thing() -> None:
    """A byte holds each index, no text stands twice, and bucket bounds rise."""
    for names in (outcomes.PROTOCOLS, outcomes.SOURCES, outcomes.CODES):
        assert len(set(names)) == len(names) < 256
    assert list(outcomes.LATENCY_BOUNDS_NS) == sorted(set(outcomes.LATENCY_BOUNDS_NS))


def test_numbers_of_stored_records_never_change() -> None:
    """Rows of the last 93 days hold these numbers: the first of each tuple stay where they are."""
    assert outcomes.PROTOCOLS[:4] == ("http", "udp_text", "udp_json", "udp_binary")
    assert outcomes.SOURCES[:8] == ("none", "consensus", *EXCHANGES)
    assert outcomes.CODES[0] == "ok"
    assert outcomes.CODES[20:28] == (
        "missing_key",
        "invalid_key",
        "key_revoked",
        "key_suspended",
        "address_blocked",
        "rate_limited",
        "quota_exceeded",
        "keys_unavailable",
    )
