"""`trinity plans list | set | price`: what customers are held to, and what it costs."""

import argparse

from trinity.access import plans, values
from trinity.access.keys import Connection
from trinity.cli.actions import (
    LIMITS,
    Action,
    ActionOutcome,
    Argument,
    Parsed,
    Work,
    add_actions,
    given,
    given_limits,
    perform,
)
from trinity.cli.text import limit_text, plan_table, rate_line
from trinity.config import AccessSection, Config


def _list_plans(_parsed: Parsed, _section: AccessSection) -> Work:
    def work(connection: Connection) -> ActionOutcome:
        found = plans.list_plans(connection)
        return ActionOutcome({"plans": found}, plan_table(found))

    return work


def _set_plan(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("PLAN", parsed.name)
    dry_run = given(values.switch, "--dry-run", parsed.dry_run)
    admission_class = given(values.admission_class, "--class", parsed.admission_class)
    limits_given = given_limits(parsed, of_plan=True)
    change = plans.PlanChange(**limits_given, dry_run=dry_run, admission_class=admission_class)

    def work(connection: Connection) -> ActionOutcome:
        plan, is_new = plans.set_plan(connection, name, change)
        limits = f"{rate_line(plan)}, burst {plan.burst}, {limit_text(plan.monthly_quota)} a month"
        limits += f", admission class {plan.admission_class}"
        dry_run = "; dry run: what would be refused is only counted" if plan.dry_run else ""
        return ActionOutcome(
            {"plan": plan, "created": is_new},
            [f"plan {plan.name} {'made' if is_new else 'set'}: {limits}{dry_run}; {plan.keys} keys"],
        )

    return work


def _price_plan(parsed: Parsed, _section: AccessSection) -> Work:
    name = values.name("PLAN", parsed.name)
    price, currency = values.amount("--price", parsed.price), values.currency("--currency", parsed.currency)
    since = given(values.day, "--from", parsed.since)

    def work(connection: Connection) -> ActionOutcome:
        made = plans.set_price(connection, name, price, currency, since)
        return ActionOutcome(
            {"price": made}, [f"plan {made.plan} costs {made.price} {made.currency} a month from {made.since} (UTC) on"]
        )

    return work


ACTIONS = (
    Action("list", "list the plans", (), _list_plans),
    Action(
        "set",
        "change a plan, or make one; all keys on it follow at once",
        (
            Argument("name", "the plan"),
            *LIMITS,
            Argument("--dry-run", "on: only count what would be refused; off: refuse it"),
            Argument("--class", "0 to 3: when there is more to do than can be done, 0 gives way first and 3 last"),
        ),
        _set_plan,
    ),
    Action(
        "price",
        "what a plan costs a month from a day on; bills of months before keep the price before",
        (
            Argument("name", "the plan"),
            Argument("--price", "49 or 49.90", required=True),
            Argument("--currency", "EUR, USD", required=True),
            Argument("--from", "the first day (UTC), 2026-12-01; left out: today"),
        ),
        _price_plan,
    ),
)


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word, and with what."""
    add_actions(parser, ACTIONS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    return perform(config, parsed)
