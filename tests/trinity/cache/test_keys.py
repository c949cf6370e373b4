"""trinity/cache/keys.py"""

import re
from pathlib import Path

import pytest
from valkey.crc import key_slot

from trinity.cache import keys
from trinity.cache.keys import PATTERNS, Pattern

# The specification's table: name, type, life.
SPECIFIED = {
    "apikey:<key>": ("string", 24 * 3600),
    "app:config": ("hash", None),
    "ratelimit:<key>": ("string", None),
    "usage:counter:<key>": ("string", None),
    "price:<ASSET>": ("string", None),
    "usage_log:<uuid>": ("hash", 93 * 86_400),
    "usage_logs:index": ("zset", 93 * 86_400),
    "usage_logs:api_key:<key>": ("zset", 93 * 86_400),
    "usage_logs:asset:<ASSET>": ("zset", 93 * 86_400),
    "{adaptive:lpo}:successes": ("string", None),
    "{adaptive:lpo}:total": ("string", None),
    "{adaptive:lpo}:throttle": ("string", None),
    "cluster:stats:<node>": ("hash", 10),
    "session:<session_id>": ("string", 24 * 3600),
    "webhook:<event_id>": ("string", 24 * 3600),
    "kcc:daily": ("string", 24 * 3600),
    "translate:<lang>:<hash>": ("string", 30 * 86_400),
    "report_usage:<id>": ("hash", 93 * 86_400),
}


def test_every_name_of_the_specification_is_there_with_its_type_and_life() -> None:
    """Under exactly that name."""
    found = {row.pattern: (row.kind, row.life_seconds) for row in PATTERNS}
    assert {pattern: found.get(pattern) for pattern in SPECIFIED} == SPECIFIED


def test_every_row_of_the_module_is_in_the_table_once_and_says_what_it_is_for() -> None:
    """And no two rows make the same name."""
    rows = [value for value in vars(keys).values() if isinstance(value, Pattern)]
    assert sorted(row.pattern for row in rows) == sorted(row.pattern for row in PATTERNS)
    assert len({re.sub(r"<\w+>", "<>", row.pattern) for row in PATTERNS}) == len(PATTERNS)
    assert all(row.purpose and row.written_by and row.life for row in PATTERNS)


def test_a_name_is_the_pattern_with_its_parts() -> None:
    """In their order."""
    assert keys.API_KEY.name("ab" * 32) == "apikey:" + "ab" * 32
    assert keys.TRANSLATION.name("de", "1f") == "translate:de:1f"
    assert keys.DAILY.name() == "kcc:daily"
    with pytest.raises(AssertionError):
        keys.PRICE.name()


def test_nothing_is_claimed_in_valkey() -> None:
    """No source asks it to be the first to write a name: what must happen once is PostgreSQL's to say."""
    root = Path(__file__).resolve().parents[3]
    sources = [path for room in ("trinity", "feeds", "workers") for path in (root / room).rglob("*.py")]
    assert len(sources) > 100
    assert [path for path in sources if re.search(r"""["']NX["']|\bSETNX\b""", path.read_text())] == []


def test_the_governor_s_names_share_a_slot() -> None:
    """So that one script may change all of them on a Valkey Cluster."""
    names = [row.name() for row in PATTERNS if row.pattern.startswith("{adaptive:lpo}:")]
    assert len({key_slot(name.encode()) for name in names}) == 1
