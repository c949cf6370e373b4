"""`trinity config check | show | example`: what is set, by whom, and what there is to set.

Rules: nothing is started or written, not even the data directory. Secrets are shown as `***`. The example is made from
the structs of the configuration and the comments beside their fields, so it never lags behind them.
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import trinity.config
from trinity.cache.address import cache_settings_of
from trinity.cli.text import table
from trinity.config import SETTINGS, Config, LoadedConfig
from trinity.environment import ENVIRONMENT, SECRETS, VARIABLES, misspelt, prefixed
from trinity.markets import DEFAULT_PATH, load_catalog
from trinity.net.egress import read_proxies
from trinity.net.ports import check_host
from trinity.schema import Setting, allowed, comments_of
from trinity.store.database import database_url
from trinity.terminal import print_result

_ACTIONS = {
    "check": "check the file and the environment as a start does, without starting anything",
    "show": "show every setting, its value, and where it comes from",
    "example": "print a commented TOML file with every setting at its default",
}
_DEFAULT = "default"
_HIDDEN = "***"
_SECRET_PLACES = {ENVIRONMENT[name][:2] for name in SECRETS}
_ADDRESS = re.compile(r"\w+://")
# user:password@ of any address, and what PostgreSQL takes behind the question mark.
_USER = re.compile(r"//.*@")
_PASSWORD = re.compile(r"((?:ssl)?password=)[^&]*")


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """One word."""
    words = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    for word, text in _ACTIONS.items():
        of_word = words.add_parser(word, help=text, description=text)
        of_word.add_argument("--json", action="store_true", dest="as_json", default=argparse.SUPPRESS)
        of_word.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Print it; a wrong setting was an error before."""
    loaded = trinity.config.load(os.environ, parsed.config)
    if parsed.action == "check":
        check_beyond_the_tree(config)
        content, lines = _checked(loaded, parsed.config, os.environ)
        print_result(content, lines, parsed.as_json)
    elif parsed.action == "show":
        rows = [
            (f"{setting.section}.{setting.field}", shown(setting, loaded), _source_of(setting, loaded))
            for setting in SETTINGS.values()
        ]
        settings = [{"setting": name, "value": value, "source": source} for name, value, source in rows]
        lines = table(("setting", "value", "from"), [(name, _toml(value), source) for name, value, source in rows])
        print_result({"settings": settings}, lines, parsed.as_json)
    else:
        lines = list(example())
        print_result({"example": "\n".join(lines) + "\n"}, lines, parsed.as_json)
    return 0


def check_beyond_the_tree(config: Config) -> None:
    """What a start looks at beside names and values; ConfigError names what is wrong."""
    from workers.backup.process import check_settings

    load_catalog(config.node.markets_file)
    read_proxies(config.feeds)
    database_url(config)
    cache_settings_of(config)
    check_settings(config.backup)
    check_host(config.node.bind_host)


def shown(setting: Setting, loaded: LoadedConfig) -> Any:
    """A setting's value for people and programs, without a secret."""
    value = getattr(getattr(loaded.config, setting.section), setting.field)
    if (setting.section, setting.field) == ENVIRONMENT["ADMIN_KEY"][:2]:
        return value and _HIDDEN
    if isinstance(value, str):
        return _PASSWORD.sub(rf"\1{_HIDDEN}", _USER.sub(f"//{_HIDDEN}@", value))
    if isinstance(value, dict):
        return {name: _USER.sub(f"//{_HIDDEN}@", text) for name, text in value.items()}
    return str(value) if isinstance(value, Path) else value


def example() -> Iterator[str]:
    """A TOML file in which everything is commented out, and is the default."""
    yield "# Every setting of a Trinity node, with its default. Remove the # before what is to be another, and start"
    yield "# with `trinity run --config trinity.toml`. The variable behind each one wins over the file."
    for section, kind in Config.__annotations__.items():
        comments = comments_of(kind)
        head = f"# [{section}]" if section == "stores" else f"[{section}]"
        yield from ("", f"# {(kind.__doc__ or '').strip().splitlines()[0]}", head)
        for (of, field), setting in SETTINGS.items():
            if of == section:
                yield from _example_of(setting, comments[field])


def _example_of(setting: Setting, comment: str) -> Iterator[str]:
    name = VARIABLES[setting.section, setting.field]
    first = comment[:1] if _ADDRESS.match(comment) else comment[:1].upper()
    what = f"{first}{comment[1:]} ({allowed(setting.kind)})"
    if (setting.section, setting.field) in _SECRET_PLACES:
        yield f"# {setting.field}: not here but in {prefixed(name)}, or in the file that {prefixed(name)}_FILE names."
        yield f"# {what}"
        return
    yield f"# {what}; {prefixed(name)}"
    value = setting.default
    if isinstance(value, Path):
        value = str(value).replace(str(Path.home()), "~")
    note = "  # the one that is installed" if value == str(DEFAULT_PATH) else ""
    yield f"#{setting.field} = {_toml(value)}{note}"


def _checked(
    loaded: LoadedConfig, file: Path | None, environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    of_file = sum(isinstance(source, Path) for source in loaded.sources.values())
    doubtful = [
        f"{variable} is no setting; if you mean {name}, it has no effect"
        for variable, name in misspelt(environment, ENVIRONMENT)
    ]
    place = file or "no file (--config FILE names one)"
    of_variables = len(loaded.sources) - of_file
    lines = [f"good: {place}; settings from the file: {of_file}, from the environment: {of_variables}"]
    content = {"file": None if file is None else str(file), "settings_in_file": of_file, "warnings": doubtful}
    return content, lines + [f"warning: {line}" for line in doubtful]


def _source_of(setting: Setting, loaded: LoadedConfig) -> str:
    return str(loaded.sources.get((setting.section, setting.field), _DEFAULT))


def _toml(value: Any) -> str:
    """A value as TOML writes it; nothing for none."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {json.dumps(text)}" for name, text in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
