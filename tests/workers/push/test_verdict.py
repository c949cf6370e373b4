"""workers/push/verdict.py: what an attempt says of a message and its receiver."""

import pytest

from trinity.errors import DeliveryError
from trinity.vocabulary import DELIVERY_OUTCOMES
from workers.push.verdict import of_error, of_reply


@pytest.mark.parametrize(
    ("status", "outcome", "may_retry"),
    [
        (200, "delivered", False),
        (204, "delivered", False),
        (301, "redirect", False),
        (307, "redirect", False),
        (400, "refused_status", False),
        (401, "refused_status", False),
        (404, "refused_status", False),
        (408, "refused_status", True),
        (410, "gone", False),
        (429, "refused_status", False),
        (500, "refused_status", True),
        (501, "refused_status", False),
        (503, "refused_status", True),
    ],
)
def test_a_status_has_one_verdict(status: int, outcome: str, may_retry: bool) -> None:
    """Success is 2xx alone, 3xx is a failure, 410 is the end (Standard Webhooks 1.0)."""
    verdict = of_reply(status, {}, None)
    assert (verdict.outcome, verdict.status, verdict.may_retry) == (outcome, status, may_retry)
    assert verdict.is_delivered == (outcome == "delivered")
    assert verdict.is_gone == (outcome == "gone")


def test_a_receiver_that_says_when_to_come_back_is_not_retried_quickly() -> None:
    """Retry-After wins over the quick retry."""
    verdict = of_reply(503, {}, 30.0)
    assert not verdict.may_retry
    assert verdict.retry_after_s == 30.0


def test_a_receiver_may_ask_to_be_left_alone() -> None:
    """By the header of Standard Webhooks, whatever the status."""
    assert of_reply(200, {"webhook-delivery": " Disable"}, None).is_gone
    assert not of_reply(500, {"webhook-delivery": "abort-message"}, None).is_gone


@pytest.mark.parametrize(
    ("kind", "may_retry"),
    [
        ("connect", True), ("reset", True), ("timeout", True), ("tls", False), ("protocol", False),
        ("resolve", False), ("refused_address", False), ("busy", False),
    ],
)  # fmt: skip
def test_no_answer_is_an_outcome_of_the_vocabulary(kind: str, may_retry: bool) -> None:
    """A certificate or an address does not get better within a second; a connection does."""
    verdict = of_error(DeliveryError(kind, "why"))
    assert verdict.outcome in DELIVERY_OUTCOMES
    assert verdict.may_retry == may_retry
    assert verdict.is_ours == (kind == "busy")
