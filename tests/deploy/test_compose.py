"""compose.yaml: read by others' tools, held to our rules, and its files as `trinity cluster files` writes them"""

import datetime
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.npm import installed
from trinity.__main__ import COMMANDS
from trinity.config import MailSection, load_config
from trinity.markets import DEFAULT_PATH, load_catalog
from trinity.node.cluster.containers import CACHE_HOST, DATABASE_HOST, NETWORK, prepare_container_files
from trinity.node.cluster.layout import TLS_PORT, ClusterLayout
from trinity.services import SERVICES

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
NODES = ("node-1", "node-2", "node-3")
# Who may be reached from other machines, and at what.
OUTSIDE = {"balancer": {"443:8443", "8080:8080", "9090:9090", "2679:2679/udp", "2680:2680/udp"}}


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("containers") / "cluster"
    _prepare(out)
    return out


def _prepare(out: Path) -> list[str]:
    mail = MailSection(smtp_host="smtp.example.com", smtp_from="a@example.com", operator_email="b@example.com")
    return prepare_container_files(ROOT / "deploy", out, "prices.example.com", mail, NOW)


def networks_of(service: Any) -> set[str]:
    return set(service.get("networks", ()))


def environment_of(compose: Any, name: str, **given: str) -> dict[str, str]:
    """As Compose fills it in: `${NAME:-default}`."""

    def fill(match: "re.Match[str]") -> str:
        return given.get(match[1], match[2])

    return {
        name: re.sub(r"\$\{(\w+):-([^}]*)\}", fill, str(text))
        for name, text in compose["services"][name]["environment"].items()
    }


def test_the_file_is_what_the_compose_specification_allows() -> None:
    """dclint has the specification's schema, and rules of its own."""
    folder = installed(Path(__file__).parent / "dclint")
    command = [folder / "node_modules/.bin/dclint", "--config", Path(__file__).parent / "dclint/.dclintrc.yaml"]
    read = subprocess.run([*command, "--max-warnings", "0", ROOT / "compose.yaml"], capture_output=True, text=True)
    assert read.returncode == 0, read.stdout + read.stderr


def test_only_the_load_balancer_can_be_reached_from_other_machines(compose: Any) -> None:
    """Whatever else has a port has it on loopback, for who sits at the machine."""
    for name, service in compose["services"].items():
        open_to_all = {port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")}
        assert {port.removeprefix("0.0.0.0:") for port in open_to_all} == OUTSIDE.get(name, set())
        assert "network_mode" not in service or service["network_mode"] == "none"


def test_networks_are_the_security_groups(compose: Any) -> None:
    """Clients reach nginx, nginx the nodes, the nodes alone their stores, and these nobody outside."""
    on = {name: networks_of(service) for name, service in compose["services"].items()}
    assert {name for name in on if "stores" in on[name]} == {*NODES, "push-1", "database", "cache"}
    assert on["database"] == on["cache"] == {"stores"}
    assert {name for name in on if "front" in on[name]} == {"balancer"}
    assert "front" not in on["watcher"] | on["grafana"]
    assert compose["networks"]["stores"]["internal"] is True
    for name in (*NODES, "push-1"):
        assert on[name] == {"nodes", "stores"}


def test_every_container_has_a_read_only_root_and_no_capability(compose: Any) -> None:
    """Nor gets one later; and what it logs is bounded."""
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in service, name
        assert not service.get("privileged"), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


def test_secrets_are_files_and_no_environment_has_one(compose: Any) -> None:
    """Each names its file, which the container is given."""
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    for name in (*NODES, "push-1"):
        environment = environment_of(compose, name)
        assert not {"DATABASE_URL", "CACHE_URL", "ADMIN_KEY"} & environment.keys()
        for variable in (variable for variable in environment if variable.endswith(("_URL_FILE", "_KEY_FILE"))):
            assert environment[variable].rpartition("/")[2] in compose["services"][name]["secrets"]
    text = (ROOT / "compose.yaml").read_text()
    assert not re.search(r"password: +[^\s/{]", text, re.IGNORECASE)


def test_what_is_mounted_is_what_the_command_writes(compose: Any, files: Path) -> None:
    """Nothing is missing, and no name between @ is left."""
    mounted = [entry["file"] for kind in ("configs", "secrets") for entry in compose[kind].values()]
    mounted += [
        volume["source"]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if isinstance(volume, dict)
    ]
    missing = [path for path in mounted if path.startswith("./cluster/") and not (files / path[10:]).exists()]
    assert missing == []
    assert not any("@" in line and re.search(r"@[A-Z_]+@", line) for line in _lines_of(files))


def _lines_of(files: Path) -> list[str]:
    return [line for file in files.rglob("*") if file.is_file() for line in file.read_text().splitlines()]


def test_addresses_are_those_of_the_files(compose: Any, files: Path) -> None:
    """nginx asks for a name once: it is given addresses, and a node believes that of nginx alone."""
    layout = ClusterLayout(files, NETWORK)
    services = compose["services"]
    assert compose["networks"]["nodes"]["ipam"]["config"][0]["subnet"] == str(NETWORK)
    addresses = {name: services[name]["networks"]["nodes"]["ipv4_address"] for name in (*NODES, "push-1", "balancer")}
    assert [addresses[name] for name in (*NODES, "push-1")] == [node.host for node in layout.nodes]
    assert addresses["balancer"] == layout.proxy_source
    assert layout.proxy_source in (files / "node.toml").read_text()
    watched = {word for word in services["watcher"]["command"] if word.startswith("--node=")}
    assert watched == {f"--node={name}={addresses[name]}" for name in NODES}
    assert services["simulator"]["networks"]["nodes"]["ipv4_address"] == layout.simulator
    assert f"443:{TLS_PORT}" in OUTSIDE["balancer"]
    assert {CACHE_HOST, DATABASE_HOST} <= services.keys()


@pytest.mark.parametrize("name", [*NODES, "push-1"])
def test_a_node_starts_with_the_settings_of_its_container(compose: Any, files: Path, name: str) -> None:
    """The configuration is read as in the container; what is a path there is one here."""
    environment = environment_of(compose, name)
    for variable, text in environment.items():
        of_secret = compose["secrets"].get(text.rpartition("/")[2]) if text.startswith("/run/secrets/") else None
        if of_secret is not None:
            environment[variable] = str(files / of_secret["file"].removeprefix("./cluster/"))
    config = load_config(environment, files / "node.toml")
    assert config.node.name == name
    assert config.node.server_type in SERVICES
    assert config.access.auth == "required"
    assert config.stores.cache_url is not None
    assert config.stores.cache_url.startswith("valkeys://")
    assert config.feeds.simulated is False


def test_the_demo_asks_simulated_exchanges_and_says_so(compose: Any, files: Path) -> None:
    """All six, of the service that the profile adds."""
    lines = [line for line in (ROOT / "deploy" / "demo.env").read_text().splitlines() if not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    assert compose["services"]["simulator"]["profiles"] == given["COMPOSE_PROFILES"].split(",") == ["demo"]
    names = ("FEEDS_SIMULATED", "WS_BASE_URLS", "REST_BASE_URLS")
    feeds = load_config({name: environment_of(compose, "node-1", **given)[name] for name in names}).feeds
    assert feeds.simulated is True
    exchanges = set(load_catalog(DEFAULT_PATH).exchanges)
    assert feeds.ws_base_urls.keys() == feeds.rest_base_urls.keys() == exchanges


def test_containers_of_ours_run_commands_that_exist(compose: Any) -> None:
    """By the table of commands."""
    commands = {command.name for command in COMMANDS}
    ours = {name: service for name, service in compose["services"].items() if service["image"].startswith("trinity:")}
    assert ours.keys() == {*NODES, "push-1", "watcher", "simulator", "files"}
    assert {service["command"][0] for service in ours.values() if "command" in service} <= commands


def test_the_certificate_of_the_cache_is_for_its_name(files: Path) -> None:
    """Which the nodes check; its key is the one beside it."""
    context = ssl.create_default_context(cafile=files / "certificates" / "authority.pem")
    context.load_cert_chain(files / "certificates" / "cache.pem", files / "certificates" / "cache.key")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", files / "certificates" / "cache.pem"],
        capture_output=True, text=True,
    )  # fmt: skip
    if shutil.which("openssl") is not None:
        assert f"DNS:{CACHE_HOST}" in shown.stdout


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_prometheus_and_alertmanager_take_their_files(files: Path) -> None:
    """By their own checkers; all four nodes are asked."""
    for command in (
        ["promtool", "check", "config", "--syntax-only", files / "prometheus" / "prometheus.yml"],
        ["amtool", "check-config", files / "alertmanager" / "alertmanager.yml"],
    ):
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    targets = (files / "prometheus" / "prometheus.yml").read_text()
    assert [f"172.30.79.{host}:8081" in targets for host in (11, 12, 13, 14)] == [True] * 4


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx")
def test_nginx_takes_its_file_as_it_is_mounted(files: Path, tmp_path: Path) -> None:
    """In a mount namespace in which everything is where the container has it."""
    if not _may_unshare():
        pytest.skip("needs the right to make a mount namespace")
    modules = Path("/usr/share/nginx/modules-available/mod-stream.conf")
    loads = f"cat {modules} /etc/nginx/nginx.conf" if modules.exists() else "cat /etc/nginx/nginx.conf"
    script = f"""
    set -e
    mount -t tmpfs none /var/cache
    mkdir -p /var/cache/nginx /var/cache/etc
    mount -t tmpfs none /mnt
    mkdir -p /mnt/lists
    for list in lookups reports lookups_udp reports_udp; do echo 'server 172.30.79.11:1;' >/mnt/lists/$list.conf; done
    cp {files}/nginx/nginx.conf /var/cache/etc/nginx.conf
    sed -i 's#/watcher/lists#/mnt/lists#; s#/certificates/#{files}/certificates/#' /var/cache/etc/nginx.conf
    {loads.replace("/etc/nginx/nginx.conf", "/var/cache/etc/nginx.conf")} >/var/cache/etc/whole.conf
    exec nginx -t -c /var/cache/etc/whole.conf
    """
    checked = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "test is successful" in checked.stderr


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def test_secrets_reach_neither_the_repository_nor_the_image() -> None:
    """The folder that `trinity cluster files` writes is passed over by git and by the builder."""
    assert "/cluster/" in (ROOT / ".gitignore").read_text().split()
    assert "cluster" in (ROOT / ".dockerignore").read_text().split()
