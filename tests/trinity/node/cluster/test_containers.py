"""trinity/node/cluster/containers.py; that compose.yaml mounts what it writes is in tests/deploy/test_compose.py"""

import datetime
from pathlib import Path

import pytest

from trinity.config import MailSection
from trinity.errors import ConfigError
from trinity.node.cluster.containers import prepare_container_files
from trinity.node.cluster.files import TEMPLATES

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def prepare(out: Path, mail: MailSection = MailSection()) -> list[str]:  # noqa: B008 - frozen
    return prepare_container_files(TEMPLATES, out, "prices.example.com", mail, NOW)


def test_secrets_and_certificates_outlive_another_run(tmp_path: Path) -> None:
    """Only their folder is closed: a container's user is another one, and is shown the file, not the folder."""
    made = prepare(tmp_path / "cluster")
    before = {name: (tmp_path / "cluster" / "secrets" / name).read_text() for name in made if "." not in name}
    assert len(before) == 7
    assert prepare(tmp_path / "cluster") == []
    for name, text in before.items():
        path = tmp_path / "cluster" / "secrets" / name
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o444
    for name in ("secrets", "certificates"):
        assert (tmp_path / "cluster" / name).stat().st_mode & 0o777 == 0o700


def test_a_lost_secret_is_made_again_with_what_belongs_to_it(tmp_path: Path) -> None:
    """A password and the address that has it are one; the others stay."""
    folder = tmp_path / "cluster" / "secrets"
    prepare(tmp_path / "cluster")
    admin_key, password = (folder / "admin_key").read_text(), (folder / "database_password").read_text()
    (folder / "database_url").unlink()
    assert prepare(tmp_path / "cluster") == ["database_password", "database_url"]
    assert (folder / "admin_key").read_text() == admin_key
    assert (folder / "database_password").read_text() != password
    assert (folder / "database_password").read_text().strip() in (folder / "database_url").read_text()


def test_alarms_go_where_the_operator_said_and_nowhere_else(tmp_path: Path) -> None:
    """Without an address Alertmanager has one that leads nowhere."""
    mail = MailSection(smtp_host="smtp.example.com", smtp_from="trinity@example.com", operator_email="me@example.com")
    prepare(tmp_path / "told", mail)
    told = (tmp_path / "told" / "alertmanager" / "alertmanager.yml").read_text()
    assert 'to: "me@example.com"' in told
    assert '"smtp.example.com:587"' in told
    prepare(tmp_path / "untold")
    assert 'to: "operator@localhost"' in (tmp_path / "untold" / "alertmanager" / "alertmanager.yml").read_text()


def test_a_folder_that_is_not_deploy_is_named(tmp_path: Path) -> None:
    """And one that cannot be written."""
    with pytest.raises(ConfigError, match="--templates"):
        prepare_container_files(tmp_path, tmp_path / "out", "localhost", MailSection(), NOW)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        prepare(tmp_path / "file" / "below")
