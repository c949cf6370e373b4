"""How a setting is called in the environment: by its name, and by TRINITY_ and its name.

Rules: with the prefix a misspelt name is found, because nobody else uses it: an unknown one is an error that says the
nearest. The bare names are those of the specification, and stay. A setting that is given both ways and differently is
an error, for no order would be the obvious one; only where the bare name is every program's (HTTPS_PROXY), that with
the prefix wins, being meant for this one. A variable with an empty text is as good as none. Errors show no value: it
may be a secret.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trinity.errors import ConfigError

PREFIX = "TRINITY_"
# What the clients of a node read, in the same environment: `trinity mcp`.
_CLIENT_NAMES = frozenset({"TRINITY_URL", "TRINITY_API_KEY"})
# Kubernetes and Docker tell a container where a service named "trinity" is, under names like these.
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class Variable(NamedTuple):
    """A setting's text, and the name of the variable that has it."""

    name: str
    text: str


def prefixed(name: str) -> str:
    """The name that no other program uses."""
    return name if name.startswith(PREFIX) else PREFIX + name


def read_variable(
    name: str, environment: Mapping[str, str], *, may_be_file: bool = False, is_shared: bool = False
) -> Variable | None:
    """What the environment says of a setting; None where it says nothing.

    `may_be_file`: `<NAME>_FILE` may name a file that has the text. `is_shared`: other programs read the bare name as
    well, and the small form of it wins (as for curl).
    """
    bare = [name.lower(), name] if is_shared else [name]
    found = [
        variable
        for spelled in dict.fromkeys([prefixed(name), *bare])
        if (variable := _read(spelled, environment, may_be_file)) is not None
    ]
    if not is_shared and len({variable.text for variable in found}) > 1:
        raise ConfigError(found[0].name, f"{found[1].name} is set as well, and differently: set one of them")
    return found[0] if found else None


def check_prefixed_names(environment: Mapping[str, str], names: Collection[str], files: Iterable[str]) -> None:
    """ConfigError for a variable with the prefix that is none of the settings; `files`: those with a `_FILE`."""
    known = {prefixed(name) for name in names} | {f"{prefixed(name)}_FILE" for name in files} | _CLIENT_NAMES
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and not _is_service_link(variable, environment):
            near = hint(variable.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known), PREFIX)
            raise ConfigError(variable, f"there is no such setting; {near}")


def misspelt(environment: Mapping[str, str], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Variables without the prefix that are nearly a setting's name, and which: perhaps somebody else's."""
    for variable in sorted(set(environment) - set(names)):
        close = difflib.get_close_matches(variable, names, 1, 0.85)
        if close and not variable.startswith(PREFIX) and variable.upper() not in names:
            yield variable, close[0]


def hint(wrong: str, names: Iterable[str], prefix: str = "") -> str:
    """The name that was probably meant, else where they all are."""
    close = difflib.get_close_matches(wrong, sorted(names), 1)
    return f"did you mean {prefix}{close[0]}?" if close else "`trinity config example` shows all that there are"


def _read(name: str, environment: Mapping[str, str], may_be_file: bool) -> Variable | None:
    text, path = environment.get(name), environment.get(f"{name}_FILE") if may_be_file else None
    if path is None:
        return Variable(name, text) if text else None
    if text:
        raise ConfigError(name, f"set it or {name}_FILE, not both")
    try:
        return Variable(f"{name}_FILE", Path(path).read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE", str(error)) from None


def _is_service_link(variable: str, environment: Mapping[str, str]) -> bool:
    if _SERVICE_LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _SERVICE_ADDRESS.match(environment[variable]) is not None
