"""docs/configuration.md: every setting with its variable, what it takes, and what a change of it needs.

Made of what the node itself goes by: the structs of the configuration and the comments beside their fields, the names
of the environment, and the table of what each change needs.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trinity.config import OF_DEMO, SETTINGS, Config
from trinity.environment import SECRETS, VARIABLES
from trinity.markets import DEFAULT_PATH
from trinity.node.needs import need_of
from trinity.schema import Setting, allowed, comments_of

_HEAD = """# Configuration

Made from the code by `make docs`: do not edit. A setting is a key of its section in a TOML file, as
`trinity config example` prints one, or a variable of the environment, also with `TRINITY_` before its name; the
variable wins. A secret is a variable, or a file that `<NAME>_FILE` names, and never stands in the TOML. In the
environment a list is `a,b`, a table `name=value,name=value`, a switch `on` or `off`. What is wrong in yours is said by
`trinity config check` ([more](operations.md#configuration)).

The last column is what `trinity reload` does with a change: `at once`; the processes that it replaces, one after the
other; or `restart`, where it waits for the next start.
"""
_TABLE = """| setting | variable | takes | default | what | a change |
| --- | --- | --- | --- | --- | --- |"""
_DEMO = {(section, field): value for section, field, value in OF_DEMO}


def settings_page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for section, kind in Config.__annotations__.items():
        what = (kind.__doc__ or "").strip().splitlines()[0]
        parts.append(f"## {section}\n\n{what}\n")
        parts.append(_TABLE)
        comments = comments_of(kind)
        parts += [_row(setting, comments[field]) for (of, field), setting in SETTINGS.items() if of == section]
        parts.append("")
    return "\n".join(parts)


def _row(setting: Setting, comment: str) -> str:
    place = setting.section, setting.field
    variable = f"`{VARIABLES[place]}`"
    if VARIABLES[place] in SECRETS:
        variable += " (or `..._FILE`)"
    cells = (f"`{setting.field}`", variable, allowed(setting.kind), _default_of(setting), comment, _change_of(*place))
    return f"| {' | '.join(re.sub(r'[|]', '/', cell) for cell in cells)} |"


def _default_of(setting: Setting) -> str:
    text = _shown(setting.default)
    if (setting.section, setting.field) in _DEMO:
        text += f"; {_shown(_DEMO[setting.section, setting.field])} in the demo"
    return text


def _shown(value: Any) -> str:
    if value == DEFAULT_PATH:
        return "the installed one"
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{str(value).replace(str(Path.home()), '~') if isinstance(value, Path) else value}`"


def _change_of(section: str, field: str) -> str:
    return ", ".join(_needs_of(section, field))


def _needs_of(section: str, field: str) -> Iterator[str]:
    need = need_of(section, field)
    if need.restart:
        yield "restart"
    if need.applied:
        yield "at once"
    yield from need.kinds
    if need.presence_is_fixed:
        yield "restart when there was none, or is none now"
