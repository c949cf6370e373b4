"""trinity/observe/reasons.py: the table itself; what each reason says of a node is in test_status.py"""

import re

from tests.support.node_fixture import NOW_NS, busy_node, empty_node
from trinity.observe.reasons import OF_LOOKUPS, OF_REPORTS, REASONS
from trinity.observe.status import read_node, report_health


def test_each_code_stands_once_and_is_a_label_s_value() -> None:
    """Alarms and sections of docs/operations.md are called by it."""
    codes = [reason.code for reason in REASONS]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_whatever_turns_callers_away_is_a_reason_of_health() -> None:
    """A load balancer that leaves a node alone finds the cause in /health."""
    codes = {reason.code for reason in REASONS}
    assert {reason.code for reason in (*OF_LOOKUPS, *OF_REPORTS)} <= codes


def test_a_node_where_all_is_well_gives_no_reason_and_one_that_has_just_begun_gives_several() -> None:
    """Nothing is alarmed on that holds always, or never."""
    with busy_node() as memory:
        assert report_health(read_node(memory, NOW_NS, ()))[1]["reasons"] == []
    with empty_node() as memory:
        told = [reason["code"] for reason in report_health(read_node(memory, NOW_NS, ()))[1]["reasons"]]
    assert {"no_fresh_asset", "no_request_worker", "process_silent", "feed_down", "ledger_silent"} <= set(told)
