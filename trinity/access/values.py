"""What an operator may write about keys, plans and blocks, on the command line and on the page: text -> checked value.

Rules: pure. Every refusal is an InputError that names the field as the user wrote it, and shows no more of a value than
is no secret.
"""

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal

from trinity.errors import InputError
from trinity.rates import read_rate, requests_of, seconds_of
from trinity.vocabulary import ADMISSION_CLASSES, KEY_PREFIX_CHARS, KEY_START

# PostgreSQL's integer.
BURST_MAX = 1_000_000_000
# PostgreSQL's bigint holds it, and so do 63 bits in shared memory.
QUOTA_MAX = 10**15
NAME_CHARS_MAX = 100
# More than any number here has, and few enough to be read at once: a longer one is out of its bounds.
DIGITS_MAX = 20
DURATION_SECONDS_MAX = 10 * 365 * 86_400

_ID_MAX = 2**31 - 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9_-]+")
_WHOLE_KEY = re.compile(rf"({KEY_START}[A-Za-z0-9_-]{{{KEY_PREFIX_CHARS - len(KEY_START)}}})[A-Za-z0-9_-]+")
# RFC 5646: a language, then subtags; "en", "pt-BR", "zh-Hant-TW".
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def without_keys(text: str) -> str:
    """The text with nothing of an API key in it but its first characters: for what repeats a command line."""
    return _WHOLE_KEY.sub(r"\1...", text)


def key_reference(text: str) -> int | str:
    """An id, or the beginning of a key's prefix."""
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) <= DIGITS_MAX else 0
        if not 1 <= number <= _ID_MAX:
            raise InputError("KEY", f"{text[:12]} is not a key's number (1 to {_ID_MAX})")
        return number
    if not _KEY_PREFIX.fullmatch(text):
        raise InputError("KEY", "it is neither a number nor a prefix of letters, digits, - and _")
    if len(text) > KEY_PREFIX_CHARS:
        raise InputError(
            "KEY", f"name a key by its number or its first {KEY_PREFIX_CHARS} characters: others can read command lines"
        )
    return text


def whole_number(field: str, text: str, low: int, high: int) -> int:
    """A whole number within its bounds."""
    if not (text.isascii() and text.isdigit()):
        raise InputError(field, f"{text!a} is not a whole number")
    number = int(text) if len(text) <= DIGITS_MAX else high + 1
    if not low <= number <= high:
        raise InputError(field, f"{text[:DIGITS_MAX]} is not between {low} and {high}")
    return number


def rate(field: str, text: str) -> int:
    """`200`, `0.2`, `1/5s`, `90/m` or `0`, as one number (rates.py)."""
    try:
        return read_rate(text)
    except ValueError as error:
        raise InputError(field, str(error)) from None


def duration(field: str, text: str) -> datetime.timedelta:
    """`90s`, `15m`, `1h`, `7d`, `2w` or `0`."""
    found = _DURATION.fullmatch("0s" if text == "0" else text)
    if found is None:
        raise InputError(field, f"{text!a} is not a time like 90s, 15m, 1h, 7d or 2w")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > DURATION_SECONDS_MAX:
        raise InputError(field, f"{text} is more than ten years: leave it out forever")
    return datetime.timedelta(seconds=seconds)


def lifetime(field: str, text: str) -> datetime.timedelta:
    """A time that is longer than nothing."""
    found = duration(field, text)
    if not found:
        raise InputError(field, "0 would be the end before the beginning")
    return found


def limits(given: Mapping[str, str | None], *, of_plan: bool, prefix: str = "") -> dict[str, int | None]:
    """The columns that `rate`, `burst` and `quota` mean; None, for a key alone, is what its plan has.

    `of_plan`: they are a plan's own. A field is named with `prefix` before it, as the user wrote it.
    """
    # A burst of 0 is for plans without a rate.
    bounds = {"burst": ("burst", 0 if of_plan else 1, BURST_MAX), "quota": ("monthly_quota", 0, QUOTA_MAX)}
    columns: dict[str, int | None] = {}
    for word, text in given.items():
        field = prefix + word
        if word == "rate":
            found = None if text is None else rate(field, text)
            columns["rate_requests"] = None if found is None else requests_of(found)
            columns["rate_seconds"] = None if found is None else seconds_of(found)
        else:
            column, low, high = bounds[word]
            columns[column] = None if text is None else whole_number(field, text, low, high)
    return columns


def name(field: str, text: str) -> str:
    """A name for people, in any script, on one line."""
    stripped = text.strip()
    if not stripped or len(stripped) > NAME_CHARS_MAX or not stripped.isprintable():
        raise InputError(field, f"{text[:NAME_CHARS_MAX]!a} is not 1 to {NAME_CHARS_MAX} printable characters")
    return stripped


def language(field: str, text: str) -> str:
    """A BCP 47 tag."""
    if len(text) > 35 or not _LANGUAGE.fullmatch(text):
        raise InputError(field, f"{text!a} is not a language tag like en, de or pt-BR")
    return text


def email(field: str, text: str) -> str:
    """Something with an @ in it: only the mail server knows more."""
    if len(text) > 254 or not text.isprintable() or not _EMAIL.fullmatch(text):
        raise InputError(field, f"{text!a} is not an e-mail address")
    return text


def amount(field: str, text: str) -> Decimal:
    """Money, exactly as it is written: 49, 49.00, 0.0005."""
    if not _AMOUNT.fullmatch(text):
        raise InputError(field, f"{text[:20]!a} is not an amount like 49 or 49.90, of up to 9 digits and 4 decimals")
    return Decimal(text)


def currency(field: str, text: str) -> str:
    """A code of ISO 4217."""
    if not _CURRENCY.fullmatch(text):
        raise InputError(field, f"{text[:20]!a} is not a currency's code of three letters, like EUR")
    return text.upper()


def day(field: str, text: str) -> datetime.date:
    """A day as ISO 8601 has it."""
    try:
        found = datetime.date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise InputError(field, f"{text[:20]!a} is not a day like 2026-12-01")
    return found


def admission_class(field: str, text: str) -> int:
    """Which plans give way first: 0 to 3."""
    return whole_number(field, text, 0, len(ADMISSION_CLASSES) - 1)


def switch(field: str, text: str) -> bool:
    """`on` or `off`."""
    if text not in ("on", "off"):
        raise InputError(field, f"{text!a} is neither on nor off")
    return text == "on"
