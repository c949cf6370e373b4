"""Where a subscription is delivered: the text that a customer gave, read strictly and once.

Rules: pure. One spelling of each target, and no library that guesses: browsers, C libraries and proxies read
`http://0x7f.1`, `127.1`, `017700000001`, full-width digits or `good.example\\@bad` each in its own way, and a check
that reads one way guards nothing that reads another. So an address is four decimal numbers or IPv6 in brackets, a name
is letters, digits, hyphens and dots, and what is anything else is refused with a word on how to write it. Case and one
trailing dot are taken away. Whether an address may be delivered to is not decided here (addresses.py, resolve.py).
"""

import ipaddress
import re
from typing import Literal, NamedTuple

from trinity.errors import InputError
from trinity.limits import TARGET_BYTES_MAX

FIELD = "target"
HTTPS_PORT = 443
_TARGET = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[^\[\]]*\]|[^/?#:\[\]]*)(?::(?P<port>[^/?#]*))?(?P<path>[/?].*)?", re.IGNORECASE
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# RFC 3986: what a path and a query consist of.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_NAME_CHARACTERS_MAX = 253
_PORT_MAX = 65_535


class Target(NamedTuple):
    """One receiver; `path` has the query with it and is empty for UDP."""

    kind: Literal["https", "udp"]
    host: str  # in lower case, without brackets or a trailing dot
    port: int
    path: str
    is_address: bool  # the host is an address itself and no name

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in HTTP's Host; the port is left out where it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.kind == "https" and self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The one spelling that is stored and shown."""
        return f"{self.kind}://{self.authority}{self.path}"


def parse_target(text: str) -> Target:
    """Read `https://host[:port][/path][?query]` or `udp://host:port`; InputError("target") says what is wrong."""
    if len(text) > TARGET_BYTES_MAX:
        raise InputError(FIELD, f"at most {TARGET_BYTES_MAX} characters")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise InputError(FIELD, "only ASCII, no spaces, no backslash: an international name in its xn-- form")
    if "#" in text:
        raise InputError(FIELD, "a fragment (#) is never sent: leave it out")
    match = _TARGET.fullmatch(text)
    if match is None:
        raise InputError(FIELD, "write https://host[:port]/path or udp://host:port")
    scheme = match["scheme"].lower()
    if "@" in match["host"] or "@" in (match["port"] or ""):
        raise InputError(FIELD, "a user or password in it is not sent: put a token into the path")
    host, is_address = _parse_host(match["host"].lower())
    if scheme == "https":
        path = _parse_path(match["path"] or "/")
        return Target("https", host, _parse_port(match["port"], HTTPS_PORT), path, is_address)
    if scheme != "udp":
        raise InputError(FIELD, f"{scheme}:// is not delivered to: https:// or udp://")
    if match["path"]:
        raise InputError(FIELD, "udp://host:port has no path")
    return Target("udp", host, _parse_port(match["port"], None), "", is_address)


def _parse_host(text: str) -> tuple[str, bool]:
    """(host, is an address)."""
    if text.startswith("["):
        try:
            read = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise InputError(FIELD, f"{text} is no IPv6 address") from None
        if read.scope_id is not None:
            raise InputError(FIELD, f"{text}: a zone means something on one machine only: leave it out")
        return str(read), True
    name = text.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name)), True
        except ValueError:
            raise InputError(FIELD, f"{name} is no address: write four decimal numbers, such as 203.0.113.7") from None
    if len(name) > _NAME_CHARACTERS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise InputError(FIELD, f"{name[:64]!r} is no host name: letters, digits and hyphens between dots")
    return name, False


def _parse_port(text: str | None, default: int | None) -> int:
    if text is None and default is not None:
        return default
    if text is None or not _PORT.fullmatch(text) or int(text) > _PORT_MAX:
        raise InputError(FIELD, f"a port is a number from 1 to {_PORT_MAX}")
    return int(text)


def _parse_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise InputError(FIELD, "the path has characters that must be percent-encoded")
    return text if text.startswith("/") else f"/{text}"
