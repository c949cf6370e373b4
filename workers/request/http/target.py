"""The target of an HTTP request: where its path is, and the value of each query parameter. Pure, compiled.

Rules: positions are those of the request's buffer. Percent-encoding is undone in place, in bytes that nobody reads
again; `+` is a plus. `/v1` may stand in front of each path. A parameter is known by its exact name, at most once; what
each path takes is a table.
"""

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.native.nearest import VERSION
from trinity.native.octets import (
    NOT_FOUND,
    Integers,
    Octets,
    byte_at,
    find_text,
    pack_texts,
    parse_decimal,
    starts_with_folded,
    unquote,
)

PATHS = ("/price", "/prices", "/assets", "/health")
PATH_PRICE, PATH_PRICES, PATH_ASSETS, PATH_HEALTH, PATH_UNKNOWN, PATH_MALFORMED = range(len(PATHS) + 2)
# Each of them, then each with its version in front.
_PATHS, _PATH_BOUNDS = pack_texts([f"{version}{path}".encode() for version in ("", VERSION) for path in PATHS])
_SCHEMES, _SCHEME_BOUNDS = pack_texts([b"http://", b"https://"])

_NAMES = ("asset", "assets", "exchange", "max_age_ms", "min_sources", "max_conf_bps", "api_key")
_PARAMETERS, _PARAMETER_BOUNDS = pack_texts([name.encode() for name in _NAMES])
ASSET, ASSET_LIST, EXCHANGE, MAX_AGE_MS, MIN_SOURCES, MAX_CONF_BPS, API_KEY, _PARAMETER_COUNT = range(8)
# Which parameters each path takes: the others are refused there. Where nothing is looked up, the caller of
# `parse_query` wants the key only, and minds no outcome.
_TAKES = np.ones((PATH_MALFORMED + 1, _PARAMETER_COUNT), dtype=np.bool_)
_TAKES[PATH_PRICE, ASSET_LIST] = _TAKES[PATH_PRICES, ASSET] = False
# The same as words, for whoever is refused.
TAKEN_BY = [", ".join(name for name, is_taken in zip(_NAMES, taken, strict=True) if is_taken) for taken in _TAKES]
# Decimals of max_age_ms, min_sources and max_conf_bps: basis points to 1/1000, as the table holds them.
_LIMIT_DECIMALS = np.array([0, 0, 3], dtype=np.int64)

# Words of `query`: start and end of each parameter's value, start NOT_FOUND when it was not given; then the three
# limits, 0 when not stated; then start and end of the name of the first parameter that cannot be used; then how many
# API keys there were; then where the query is.
LIMITS = 2 * _PARAMETER_COUNT
BAD_NAME = LIMITS + 3
KEYS = BAD_NAME + 2
_NAME_END = KEYS + 1  # of the pair that is being read
_QUERY_START = _NAME_END + 1
UNKNOWN_PATH_AT = _QUERY_START + 1  # start and end of a path that is none
QUERY_WORDS = UNKNOWN_PATH_AT + 2

FINE, BAD_ENCODING, BAD_PARAMETER = range(3)
_SLASH, _QUESTION_MARK, _AMPERSAND, _EQUALS = b"/?&="


@compiled
def find_path(query: Integers, buffer: Octets, start: int, end: int) -> int:
    """Which path the target `buffer[start:end]` names: one of PATH_*."""
    query[_QUERY_START] = end
    path_start = _path_start(buffer, start, end)
    if path_start == NOT_FOUND:
        return PATH_MALFORMED
    path_end = path_start
    while path_end < end and byte_at(buffer, path_end) != _QUESTION_MARK:
        path_end += 1
    query[_QUERY_START] = path_end + 1
    decoded_end = unquote(buffer, path_start, path_end)
    if decoded_end == NOT_FOUND:
        return PATH_MALFORMED
    path = find_text(_PATHS, _PATH_BOUNDS, buffer, path_start, decoded_end)
    if path == NOT_FOUND:
        query[UNKNOWN_PATH_AT], query[UNKNOWN_PATH_AT + 1] = path_start, decoded_end
        return PATH_UNKNOWN
    return path if path < PATH_UNKNOWN else path - PATH_UNKNOWN


@compiled_inline
def _path_start(buffer: Octets, start: int, end: int) -> int:
    """Where the path begins in `/path` or `http://host/path` (RFC 9112, 3.2), NOT_FOUND for other forms."""
    if byte_at(buffer, start) == _SLASH:
        return start
    for scheme in range(2):
        if starts_with_folded(_SCHEMES, _SCHEME_BOUNDS, scheme, buffer, start, end):
            at = start + _SCHEME_BOUNDS[scheme + 1] - _SCHEME_BOUNDS[scheme]
            authority_start = at
            while at < end and byte_at(buffer, at) != _SLASH and byte_at(buffer, at) != _QUESTION_MARK:
                at += 1
            return at if at > authority_start else NOT_FOUND
    return NOT_FOUND


@compiled
def parse_query(query: Integers, buffer: Octets, end: int, path: int) -> int:
    """Read the parameters behind the path that `find_path` found: FINE, BAD_ENCODING or BAD_PARAMETER.

    What is wrong first is the outcome; the rest is read all the same, because the API key may stand there.
    """
    first = FINE
    query[KEYS] = 0
    for parameter in range(_PARAMETER_COUNT):
        query[2 * parameter] = NOT_FOUND
    query[LIMITS] = query[LIMITS + 1] = query[LIMITS + 2] = 0
    start: int = query[_QUERY_START]
    while start < end:
        pair_end = start
        while pair_end < end and byte_at(buffer, pair_end) != _AMPERSAND:
            pair_end += 1
        if pair_end > start:
            outcome = _parse_pair(query, buffer, start, pair_end, path)
            if first == FINE and outcome != FINE:
                first = outcome
                query[BAD_NAME], query[BAD_NAME + 1] = start, query[_NAME_END]
        start = pair_end + 1
    return first


@compiled_inline
def _parse_pair(query: Integers, buffer: Octets, start: int, end: int, path: int) -> int:
    """One `name=value`: BAD_PARAMETER when it is unknown, repeated or no number above zero."""
    name_end = start
    while name_end < end and byte_at(buffer, name_end) != _EQUALS:
        name_end += 1
    value_start = min(name_end + 1, end)
    name_end = unquote(buffer, start, name_end)
    if name_end == NOT_FOUND:
        return BAD_ENCODING
    parameter = find_text(_PARAMETERS, _PARAMETER_BOUNDS, buffer, start, name_end)
    query[_NAME_END] = name_end
    query[KEYS] += parameter == API_KEY
    value_end = unquote(buffer, value_start, end)
    if value_end == NOT_FOUND:
        return BAD_ENCODING
    if parameter == NOT_FOUND or query[2 * parameter] != NOT_FOUND or not _TAKES[path, parameter]:
        return BAD_PARAMETER
    query[2 * parameter], query[2 * parameter + 1] = value_start, value_end
    if MAX_AGE_MS <= parameter <= MAX_CONF_BPS:
        limit = parse_decimal(buffer, value_start, value_end, _LIMIT_DECIMALS[parameter - MAX_AGE_MS])
        if limit <= 0:
            return BAD_PARAMETER
        query[LIMITS + parameter - MAX_AGE_MS] = limit
    return FINE
