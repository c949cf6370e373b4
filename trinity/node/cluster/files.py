"""What a cluster on one machine has on the disk before anything runs: folders, secrets, and the files of `deploy/`.

    secrets/        database_url, cache_url, admin_key, api_key: one line each; the keys stay over restarts
    certificates/   of Valkey and of nginx, made anew at each start
    nodes/          the lists of nodes that nginx includes, and who is in them: state.json
    nginx/ valkey/ node.toml    the files of `deploy/`, filled in
    node-1/ ...     the nodes' data directories; machine code is one folder for all
    logs/           what each program printed
    parts.json      the parts' pids, for whoever wants to end one and see what happens

Rules: folders and secrets are their owner's alone.
"""

import datetime
import hashlib
import json
import resource
import secrets
from collections.abc import Mapping
from pathlib import Path

from trinity.balancer.lists import SERVICES, Place, ports_of, write_lists
from trinity.config import PortsSection
from trinity.errors import ConfigError
from trinity.files import Durability, write_whole
from trinity.limits import OPEN_FILES_WANTED
from trinity.node.cluster.certificates import CACHE, FRONT, make_certificates
from trinity.node.cluster.layout import ClusterLayout, fill
from trinity.node.cluster.monitoring import prepare_monitoring
from trinity.store.embedded import embedded_url

# A checkout's; a wheel has no configuration of other programs.
TEMPLATES = Path(__file__).resolve().parents[3] / "deploy"
MAXMEMORY = "256mb"
_PARTS = "parts.json"
_KEY_BYTES = 24


def prepare_files(layout: ClusterLayout, machine_code: Path, now: datetime.datetime, modules: str) -> None:
    """Write all of it; ConfigError where there is no room or no right, MissingExtraError without `cryptography`."""
    if not TEMPLATES.is_dir():
        raise ConfigError("deploy/", f"{TEMPLATES} is not there: run it in a checkout")
    try:
        _prepare(layout, machine_code, now, modules)
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{error.filename or layout.folder}: {error.strerror}") from None


def write_parts(layout: ClusterLayout, pids: Mapping[str, int]) -> None:
    """The pids of what was started."""
    _write(layout.folder / _PARTS, json.dumps(pids, indent=1) + "\n")


def read_secret(layout: ClusterLayout, name: str) -> str:
    """A secret, "" while there is none."""
    path = layout.secrets / name
    return path.read_text().strip() if path.exists() else ""


def write_secret(layout: ClusterLayout, name: str, text: str) -> None:
    _write(layout.secrets / name, text + "\n")


def _prepare(layout: ClusterLayout, machine_code: Path, now: datetime.datetime, modules: str) -> None:
    for folder in (layout.folder, layout.secrets, layout.folder / "logs", layout.lists, *_data_dirs(layout)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for node in layout.nodes:
        link = layout.data_dir(node.name) / "compiled"
        if not link.is_symlink() and not link.exists():
            link.symlink_to(machine_code)
    make_certificates(layout.certificates, {CACHE: layout.cache, FRONT: layout.proxy}, now)
    password = secrets.token_urlsafe(_KEY_BYTES)
    write_secret(layout, "database_url", embedded_url(layout.folder))
    write_secret(layout, "cache_url", layout.cache_url(password))
    if not read_secret(layout, "admin_key"):
        write_secret(layout, "admin_key", secrets.token_urlsafe(_KEY_BYTES))
    filled: Mapping[str, tuple[Path, Mapping[str, str]]] = {
        "nginx.conf": (
            layout.data_dir("nginx"),
            {
                "MODULES": modules,
                "NODES": str(layout.lists),
                "FILES": str(_open_files()),
                "ERRORS": str(layout.data_dir("nginx") / "error.log"),
            },
        ),
        "valkey.conf": (layout.data_dir("valkey"), {"MAXMEMORY": MAXMEMORY}),
        "users.acl": (
            layout.data_dir("valkey"),
            {"CACHE_PASSWORD_SHA256": hashlib.sha256(password.encode()).hexdigest()},
        ),
        "node.toml": (layout.folder, {}),
    }
    prepare_monitoring(layout, TEMPLATES)
    for name, text in first_lists(layout).items():
        _write(layout.lists / name, text)
    for name, (folder, words) in filled.items():
        text = fill((TEMPLATES / name).read_text(), layout, {"FOLDER": str(folder), **words})
        _write(folder / name, text)


def first_lists(layout: ClusterLayout) -> dict[str, str]:
    """All nodes that answer, in all lists: until the watcher knows better."""
    ports = ports_of(PortsSection())
    everybody = [Place(node.name, node.host) for node in layout.answering]
    return {
        name: text for service in SERVICES for name, text in write_lists(service, ports[service], everybody, []).items()
    }


def _open_files() -> int:
    """As many as this machine permits, up to what is wanted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)


def _data_dirs(layout: ClusterLayout) -> list[Path]:
    return [
        layout.data_dir(name)
        for name in ("nginx", "balancer", "valkey", "simulator", *(node.name for node in layout.nodes))
    ]


def _write(path: Path, text: str) -> None:
    write_whole(path, [text.encode()], Durability.RENAMED)
