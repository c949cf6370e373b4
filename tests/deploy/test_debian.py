"""deploy/debian/: the package that build.sh makes of an environment, unpacked and looked at"""

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from trinity.version import version

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "debian"
if shutil.which("dpkg-deb") is None or shutil.which("unshare") is None:
    pytest.skip("needs dpkg-deb", allow_module_level=True)


def _run(*command: str | Path) -> str:
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small environment: this checkout and the libraries of these tests behind a path, instead of copies."""
    folder = tmp_path_factory.mktemp("debian")
    made = folder / "environment"
    venv.create(made, symlinks=True)
    (packages,) = (made / "lib").glob("python*/site-packages")
    packages.joinpath("here.pth").write_text("\n".join([str(ROOT), *site.getsitepackages(), *sys.path[1:]]) + "\n")
    script = made / "bin" / "trinity"
    script.write_text(f"#!{made}/bin/python\nimport sys\nfrom trinity.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    _run("sh", FOLDER / "build.sh", made, folder)
    return next(folder.glob("*.deb"))


@pytest.fixture(scope="module")
def unpacked(package: Path) -> Path:
    """What it puts on a machine."""
    target = package.parent / "unpacked"
    _run("dpkg-deb", "-x", package, target)
    return target


def test_the_package_says_what_it_is_and_what_it_needs(package: Path) -> None:
    """Its Python is the one that the environment's libraries were compiled for."""
    field = {name: _run("dpkg-deb", "-f", package, name).strip() for name in ("Package", "Version", "Depends")}
    assert field["Package"] == "trinity-oracle"
    assert field["Version"] == version()
    assert field["Depends"].startswith(f"python3.{sys.version_info.minor}, systemd")
    assert package.name.startswith(f"trinity-oracle_{version()}_")


def test_settings_are_the_operator_s_after_an_upgrade(package: Path) -> None:
    """Both files are marked, so that dpkg asks before it replaces what was changed."""
    _run("dpkg-deb", "-e", package, package.parent / "control")
    marked = (package.parent / "control" / "conffiles").read_text().split()
    assert marked == ["/etc/trinity/trinity.toml", "/etc/default/trinity"]
    for name in ("postinst", "prerm", "postrm"):
        assert _run("sh", "-n", package.parent / "control" / name) == ""


def test_the_service_its_user_and_completion_are_where_they_are_looked_for(unpacked: Path) -> None:
    """The unit is the one of deploy/systemd/, byte for byte, and calls what the package brings."""
    unit = unpacked / "usr/lib/systemd/system/trinity.service"
    assert unit.read_bytes() == (ROOT / "deploy/systemd/trinity.service").read_bytes()
    assert "ExecStart=/opt/trinity/bin/trinity run" in unit.read_text()
    assert (unpacked / "opt/trinity/bin/trinity").exists()
    assert (unpacked / "usr/lib/sysusers.d/trinity.conf").exists()
    assert "complete" in (unpacked / "usr/share/bash-completion/completions/trinity").read_text()
    assert (unpacked / "usr/share/zsh/vendor-completions/_trinity").read_text().startswith("#compdef trinity")


def test_nothing_names_the_place_where_it_was_built(unpacked: Path, package: Path) -> None:
    """The environment is moved: its scripts and its Python are those of the machine that installs it."""
    place = str(package.parent / "environment").encode()
    named = [path for path in unpacked.rglob("bin/*") if path.is_file() and place in path.read_bytes()[:200]]
    assert [path.name for path in named if not path.name.lower().startswith("activate")] == []
    assert (unpacked / "opt/trinity/bin/python").readlink() == Path(f"/usr/bin/python3.{sys.version_info.minor}")
    assert "home = /usr/bin" in (unpacked / "opt/trinity/pyvenv.cfg").read_text()


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0
    or not Path(f"/usr/bin/python3.{sys.version_info.minor}").exists(),
    reason="needs the right to mount, and Debian's own Python of this version",
)
def test_the_installed_command_reads_the_service_s_settings(unpacked: Path, tmp_path: Path) -> None:
    """As somebody who is not root calls it, with the package's files where they belong."""
    (unpacked / "etc/default/trinity").write_text("CLUSTER_NODE=of-the-package\n")
    script = f"""
    set -e
    mount -t tmpfs opt /opt && mkdir /opt/trinity && mount --bind {unpacked}/opt/trinity /opt/trinity
    mkdir -p {tmp_path}/upper {tmp_path}/work
    mount -t overlay overlay -o lowerdir={unpacked}/etc:/etc,upperdir={tmp_path}/upper,workdir={tmp_path}/work /etc
    exec sh {unpacked}/usr/bin/trinity config show --json
    """
    if subprocess.run(["id", "trinity"], capture_output=True).returncode != 0:
        script = script.replace("exec sh", "exec setpriv --reuid=65534 --regid=65534 --clear-groups sh")
    shown = _run("unshare", "--mount", "sh", "-c", script)
    assert '"setting":"node.name","source":"CLUSTER_NODE","value":"of-the-package"' in shown
    assert '"setting":"node.data_dir","source":"TRINITY_DATA_DIR","value":"/var/lib/trinity"' in shown
