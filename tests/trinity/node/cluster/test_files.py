"""trinity/node/cluster/files.py"""

import datetime
import fnmatch
import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from trinity.cache.keys import PATTERNS
from trinity.config import load_config
from trinity.errors import ConfigError
from trinity.node.cluster import files
from trinity.node.cluster.files import TEMPLATES, prepare_files, read_secret, write_parts
from trinity.node.cluster.layout import ClusterLayout
from trinity.node.cluster.programs import find_programs

NOW = datetime.datetime.now(datetime.UTC)
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@pytest.fixture
def layout(tmp_path: Path) -> ClusterLayout:
    made = ClusterLayout(tmp_path / "cluster")
    prepare_files(made, tmp_path / "compiled", NOW, "")
    return made


def test_nothing_that_is_to_be_filled_in_stays(layout: ClusterLayout) -> None:
    """Of each file of `deploy/` there is one without a name between @."""
    names = {path.name for path in TEMPLATES.iterdir() if path.suffix in (".conf", ".acl", ".toml")}
    filled = {path.name: path.read_text() for path in layout.folder.rglob("*") if path.name in names}
    assert set(filled) == names
    assert not any(
        "@" in line for text in filled.values() for line in text.splitlines() if not line.startswith("user ")
    )


def test_no_secret_stands_in_a_file_of_deploy_and_others_may_read_none(layout: ClusterLayout) -> None:
    """The cache's users have its password's hash alone."""
    password = urlsplit(read_secret(layout, "cache_url")).password
    assert password
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in (layout.folder / "valkey" / "users.acl").read_text()
    known = [read_secret(layout, name) for name in ("admin_key", "database_url")] + [password]
    configured = [path for path in layout.folder.rglob("*") if path.is_file() and path.parent != layout.secrets]
    assert not [path for path in configured for text in known if text in path.read_text()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (layout.folder, *layout.folder.rglob("*")) if path.exists())


def test_the_cache_s_user_reaches_each_name_that_is_documented_and_no_other(layout: ClusterLayout) -> None:
    """As trinity/cache/keys.py lists them."""
    words = (layout.folder / "valkey" / "users.acl").read_text().split()
    globs = [word.removeprefix("~") for word in words if word.startswith("~")]
    names = {re.sub(r"<\w+>", "x", pattern.pattern): pattern for pattern in PATTERNS}
    reached = {glob: [name for name in names if fnmatch.fnmatchcase(name, glob)] for glob in globs}
    assert {name for found in reached.values() for name in found} == set(names)
    assert "*" not in globs


def test_the_user_of_the_documentation_has_the_rights_of_the_deployed_one() -> None:
    """In any order of names."""
    page = (TEMPLATES.parent / "docs" / "cluster.md").read_text()
    documented, deployed = (
        {word for word in line.split() if word[0] in "~+-"}
        for line in (
            next(line for line in page.splitlines() if line.startswith("user node on ")),
            (TEMPLATES / "users.acl").read_text().splitlines()[-1],
        )
    )
    assert documented == deployed


def test_keys_stay_over_starts_and_the_cache_s_password_does_not(layout: ClusterLayout, tmp_path: Path) -> None:
    """Whoever has the operator's key goes on using it; the cache is empty anyway."""
    before = {name: read_secret(layout, name) for name in ("admin_key", "cache_url")}
    prepare_files(layout, tmp_path / "compiled", NOW, "")
    assert read_secret(layout, "admin_key") == before["admin_key"]
    assert read_secret(layout, "cache_url") != before["cache_url"]


def test_the_nodes_file_is_a_configuration_that_believes_the_proxy_alone(layout: ClusterLayout) -> None:
    """As `trinity run --config` reads it."""
    config = load_config({}, layout.folder / "node.toml")
    assert config.access.trusted_proxies == (layout.proxy_source,)
    assert config.request.listen_when_ready
    assert config.access.auth == "required"
    assert tomllib.loads((layout.folder / "node.toml").read_text())


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    """With its own check; the stream module is loaded."""
    layout = ClusterLayout(tmp_path / "cluster")
    prepare_files(layout, tmp_path / "compiled", NOW, find_programs().nginx_modules)
    folder = layout.data_dir("nginx")
    command = [str(NGINX), "-t", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_outside_of_a_checkout_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has no files of other programs."""
    monkeypatch.setattr(files, "TEMPLATES", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="run it in a checkout"):
        prepare_files(ClusterLayout(tmp_path), tmp_path, NOW, "")


def test_a_folder_that_cannot_be_made_is_a_wrong_data_directory(tmp_path: Path) -> None:
    """The error names the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="TRINITY_DATA_DIR"):
        prepare_files(ClusterLayout(tmp_path / "file" / "cluster"), tmp_path, NOW, "")


def test_the_pids_are_a_file_of_names(layout: ClusterLayout) -> None:
    """For whoever wants to end a part."""
    write_parts(layout, {"node-1": 7})
    assert json.loads((layout.folder / "parts.json").read_text()) == {"node-1": 7}
