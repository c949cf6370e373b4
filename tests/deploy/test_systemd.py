"""deploy/systemd/, read by systemd's own tools and held against the code"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trinity.__main__ import COMMANDS, EXIT_CONFIGURATION
from trinity.config import load_config
from trinity.environment import SECRETS
from trinity.limits import DRAIN_MAX_NS, OPEN_FILES_WANTED

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "trinity.service"
# `systemd-analyze security`: 0 is a service that may do nothing, 9.6 one without any limits; "OK" ends at 5.
EXPOSURE_MAX = 2.0
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


def values(name: str) -> list[str]:
    """What the unit sets it to, line by line."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@needs_systemd
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    """With a program that is there in the place of the installed one, nothing is left to complain about."""
    copy = tmp_path / "trinity.service"
    copy.write_text(UNIT.read_text().replace("/opt/trinity/bin/trinity", shutil.which("true") or "/bin/true"))
    verified = analyze("verify", "--man=no", str(copy))
    assert (verified.returncode, verified.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "strictly" in analyze("verify", "--man=no", str(copy)).stderr, "it would have complained"


@needs_systemd
def test_the_service_is_exposed_to_little() -> None:
    """By the rating of systemd itself."""
    rated = analyze("security", "--offline=true", "--no-pager", str(UNIT)).stdout
    (level,) = re.findall(r"exposure level for trinity.service: ([\d.]+)", rated)
    assert float(level) <= EXPOSURE_MAX


def test_every_secret_of_a_node_has_a_credential_and_none_is_needed() -> None:
    """A name without a slash is looked for in /etc/credstore, and passed over where it is not there."""
    assert values("LoadCredential") == [f"{name.lower()}:trinity.{name.lower()}" for name in SECRETS]


def test_the_unit_calls_commands_that_exist_and_gives_settings_that_exist() -> None:
    """By the table of commands and the configuration."""
    commands = {command.name for command in COMMANDS}
    assert [line.split()[1] for line in values("ExecStart")] == ["run"]
    assert [line.split()[1] for line in values("ExecReload")] == ["reload"]
    assert {"run", "reload"} <= commands
    (environment,) = values("Environment")
    given = dict(word.split("=", 1) for word in environment.split())
    assert given["TRINITY_CONFIG"] == "/etc/trinity/trinity.toml"
    assert load_config(given).node.data_dir == Path("/var/lib/trinity")
    assert values("StateDirectory") == ["trinity"]


def test_limits_and_exit_codes_are_those_of_the_code() -> None:
    """Two numbers in two files would part some day."""
    assert values("LimitNOFILE") == [str(OPEN_FILES_WANTED)]
    assert values("RestartPreventExitStatus") == [str(EXIT_CONFIGURATION)]
    (seconds,) = values("TimeoutStopSec")
    assert int(seconds.removesuffix("s")) > 2 * DRAIN_MAX_NS / 1_000_000_000


def test_a_stop_reaches_the_supervisor_alone_and_a_killed_process_takes_nobody_along() -> None:
    """SIGTERM for all at once would end the workers in front of the feeds and PostgreSQL in front of the ledger."""
    assert values("KillMode") == ["mixed"]
    assert values("OOMPolicy") == ["continue"]
    assert values("Type") == ["notify"]
    assert values("NotifyAccess") == ["main"]


@needs_systemd
def test_the_user_is_made_by_systemd(tmp_path: Path) -> None:
    """A system user without a shell, whose home is the state directory."""
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("no systemd-sysusers")
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "trinity.sysusers")], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    (line,) = [line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith("trinity:")]
    assert line.split(":")[5:] == ["/var/lib/trinity", "/usr/sbin/nologin"]
