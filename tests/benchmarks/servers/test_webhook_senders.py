"""What the senders send."""

import json

from benchmarks.servers import webhook_senders


def test_a_body_has_as_many_assets_as_a_subscription_s() -> None:
    """And is as long as one."""
    body = webhook_senders.make_body(7)
    assert len(json.loads(body)["data"]["prices"]) == 25
    assert 2_000 < len(body) < 4_000
