"""Accounts, keys, plans and blocks as lines for people."""

import datetime
from collections.abc import Sequence
from typing import Any

from trinity.access.accounts import Account
from trinity.access.keys import Key
from trinity.access.plans import Plan
from trinity.rates import rate_text


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Columns as wide as they need to be, numbers to the right."""
    texts = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    is_number = [all(isinstance(row[i], int) for row in rows) and bool(rows) for i in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in texts
    ]


def key_table(keys: Sequence[Key]) -> list[str]:
    """One line a key."""
    rows = [
        (
            key.id,
            key.prefix,
            key.state,
            key.plan + ("*" if key.own_limits else ""),
            rate_limit_text(key),
            limit_text(key.monthly_quota),
            "-" if key.used is None else key.used,
            when(key.last_used_at) or "never",
            key.account,
            key.name,
            when(key.expires_at),
        )
        for key in keys
    ]
    lines = table(
        ("id", "prefix", "state", "plan", "rate/s", "quota/month", "used", "last used", "account", "name", "until"),
        rows,
    )
    return lines + (["* with limits of its own"] if any(key.own_limits for key in keys) else [])


def plan_table(plans: Sequence[Plan]) -> list[str]:
    """One line a plan."""
    rows = [
        (
            plan.name,
            rate_limit_text(plan),
            plan.burst,
            limit_text(plan.monthly_quota),
            "on" if plan.dry_run else "off",
            plan.admission_class,
            plan.keys,
            "" if plan.price is None else f"{plan.price} {plan.currency} since {plan.price_since}",
        )
        for plan in plans
    ]
    return table(("plan", "rate/s", "burst", "quota/month", "dry run", "class", "keys", "price/month"), rows)


def key_lines(key: Key) -> list[str]:
    """All about one key."""
    fields = (
        ("key", f"{key.id}, begins with {key.prefix}"),
        ("state", key.state),
        ("account", key.account),
        ("name", key.name),
        ("plan", key.plan + (", dry run: nothing is refused for its limits" if key.dry_run else "")),
        ("limits", f"{rate_line(key)}, burst {key.burst}"),
        ("quota", f"{limit_text(key.monthly_quota)} a month"),
        ("used", "" if key.used is None else f"{key.used} of this month, on this node"),
        ("last used", when(key.last_used_at)),
        ("", "some of these limits are the key's own, not its plan's" if key.own_limits else ""),
        ("until", when(key.expires_at)),
        ("replaced by", "" if key.replaced_by is None else f"key {key.replaced_by}"),
        ("created", when(key.created_at)),
        ("changed", when(key.changed_at)),
    )
    return [f"{what:<12} {value}" for what, value in fields if value]


def account_lines(account: Account) -> list[str]:
    """All about one account."""
    fields = (
        ("account", f"{account.id} {account.name}"),
        ("language", account.language),
        ("e-mail", account.email or "none"),
        ("since", when(account.created_at)),
        ("deleted", when(account.deleted_at)),
    )
    return [f"{what:<12} {value}" for what, value in fields if value]


def rate_limit_text(limited: Key | Plan) -> str:
    """Requests a second, or in a time."""
    return rate_text(limited.rate_requests, limited.rate_seconds) if limited.rate_requests else "unlimited"


def rate_line(limited: Key | Plan) -> str:
    """The same within a sentence."""
    return rate_limit_text(limited) + (" a second" if limited.rate_seconds == 1 else "")


def limit_text(limit: int) -> str:
    """0 is no limit."""
    return str(limit) if limit else "unlimited"


def when(moment: datetime.datetime | None) -> str:
    """To the second, in UTC; nothing for never."""
    return "" if moment is None else moment.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
