"""`trinity config`, as it is typed"""

import json
import re
from pathlib import Path

import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main
from trinity.cli.operating.config import example
from trinity.config import SETTINGS, Config, load_config
from trinity.environment import ENVIRONMENT, prefixed


def test_the_example_is_the_defaults(tmp_path: Path) -> None:
    """As it is printed, and with every setting uncommented, it is the configuration of a node without any."""
    file = tmp_path / "trinity.toml"
    text = "\n".join(example())
    for shown in (text, re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)):
        file.write_text(shown)
        assert load_config({}, file) == Config()
    settings = [setting.field for setting in SETTINGS.values() if setting.section != "stores"]
    assert re.findall(r"^#(\w+) = ", text, re.MULTILINE) == settings
    assert [name for name in ENVIRONMENT if prefixed(name) not in text] == []


def test_a_good_configuration_is_good(trinity_json: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is set where, and a name that is nearly a setting's as a warning."""
    file = tmp_path / "trinity.toml"
    file.write_text("[ports]\ntcp_port_lpo = 1234\n")
    monkeypatch.setenv("REQEUST_WORKERS", "2")
    code, found, _ = trinity_json("config", "check", "--config", str(file))
    assert (code, found["file"], found["settings_in_file"]) == (0, str(file), 1)
    assert found["warnings"] == ["REQEUST_WORKERS is no setting; if you mean REQUEST_WORKERS, it has no effect"]


@pytest.mark.parametrize(("name", "text", "message"), [
    ("TRINITY_ATUH", "x", "TRINITY_ATUH: there is no such setting; did you mean TRINITY_AUTH?"),
    ("MARKETS_FILE", "/does/not/exist", "/does/not/exist"),
    ("DATABASE_URL", "mysql://x", "DATABASE_URL: postgresql://"),
    ("SOCKS_PROXY", "socks5://x", "SOCKS_PROXY: "),
    ("BIND_HOST", "nohost.invalid", "BIND_HOST: 'nohost.invalid'"),
])  # fmt: skip
def test_what_a_start_would_refuse_is_refused(
    trinity_json: Run, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    """Exit code 2 and the name: also what is beyond names and values."""
    monkeypatch.setenv(name, text)
    code, content, error = trinity_json("config", "check")
    assert (code, content, error["error"]["kind"]) == (2, None, "ConfigError")
    assert message in error["error"]["message"]


def test_values_are_shown_with_their_sources_and_no_secret(
    trinity_json: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable by its name, the file by its path; passwords of every address are hidden."""
    file = tmp_path / "trinity.toml"
    file.write_text('[node]\nbind_host = "0.0.0.0"\n[feeds.ws_base_urls]\nkraken = "ws://u:hunter2@h"\n')
    for name, text in {
        "TRINITY_ADMIN_KEY": "hunter2-hunter2-hunter2",
        "DATABASE_URL": "postgresql://u:hunter2@h/d?sslpassword=hunter2&application_name=x",
        "CACHE_URL": "valkey://:hunter2@h:6379",
        "HTTPS_PROXY": "http://u:hunter2@h:1",
        "https_proxy": "",
    }.items():
        monkeypatch.setenv(name, text)
    code, found, _ = trinity_json("config", "show", "--config", str(file))
    rows = {row["setting"]: (row["value"], row["source"]) for row in found["settings"]}
    assert (code, len(rows)) == (0, len(SETTINGS))
    assert rows["node.bind_host"] == ("0.0.0.0", str(file))
    assert rows["ports.tcp_port_lpo"] == (8080, "default")
    assert rows["stores.admin_key"] == ("***", "TRINITY_ADMIN_KEY")
    assert rows["stores.database_url"][0] == "postgresql://***@h/d?sslpassword=***&application_name=x"
    assert "hunter2" not in json.dumps(found)
    assert main(["config", "show", "--config", str(file)]) == 0
    lines = capsys.readouterr().out
    assert "hunter2" not in lines
    assert re.search(r"^node.bind_host +\"0.0.0.0\" +\S+trinity.toml$", lines, re.MULTILINE)


def test_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The data directory is not there yet when somebody writes their first file."""
    monkeypatch.setenv("TRINITY_DATA_DIR", str(tmp_path / "data"))
    for word in ("check", "show", "example"):
        assert main(["config", word]) == 0
        assert capsys.readouterr().out
    assert not (tmp_path / "data").exists()
