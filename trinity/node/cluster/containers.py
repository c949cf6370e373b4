"""The files that compose.yaml mounts: those of `deploy/`, filled in for containers, with secrets and certificates.

    secrets/        one line each: database_password, database_url, cache_url, admin_key, smtp_password,
                    grafana_password
    certificates/   authority.pem; cache.pem, cache.key; front.pem, front.key, which the operator replaces by his own
    nginx/ valkey/ prometheus/ alertmanager/ grafana/ node.toml    filled in

Addresses are those of compose.yaml's networks, so that nginx, which asks for a name once, never asks a wrong address.

Rules: a secret or a certificate that is there stays, all else is written anew. Folders with secrets are their owner's
alone, and the files in them readable: a container's user is another one, and sees the file that is mounted, not the
folder. Nothing here is started.
"""

import datetime
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from pathlib import Path

from trinity.config import MailSection
from trinity.errors import ConfigError
from trinity.files import Durability, write_whole
from trinity.limits import OPEN_FILES_WANTED
from trinity.node.cluster.certificates import AUTHORITY, CACHE, FRONT, make_certificates
from trinity.node.cluster.layout import CACHE_PORT, CACHE_USER, TLS_PORT, ClusterLayout, fill

# compose.yaml's network `nodes`: a test holds both to the same addresses.
NETWORK = ipaddress.IPv4Network("172.30.79.0/24")
# Names of services, which Docker's name server knows.
CACHE_HOST, DATABASE_HOST = "cache", "database"
MAXMEMORY = "1gb"
# Of an authority that signs two certificates once; who has none of his own renews them by removing the folder.
CERTIFICATE_DAYS = 825
_KEY_BYTES = 24
_READABLE = 0o444
# Who gets mails where nobody was named: Alertmanager wants an address, and a node's console shows its alarms as well.
_NOBODY = "operator@localhost"
_CACHE_HASH = "cache_password_sha256"

# Each file of `deploy/`, and what its names are inside of its container; in a folder all files.
_EVERYWHERE = {"PROXY": "0.0.0.0", "PROXY_BIND": "off", "UDP_BIND": "off", "TLS_PORT": str(TLS_PORT)}
_EVERYWHERE |= {"PROMETHEUS": "prometheus", "ALERTMANAGER": "alertmanager"}
WORDS: Mapping[str, Mapping[str, str]] = {
    "nginx/nginx.conf": {
        "MODULES": "", "NODES": "/watcher/lists", "FILES": str(OPEN_FILES_WANTED), "FOLDER": "/var/cache/nginx",
        "ERRORS": "/dev/stderr",
        "CERTIFICATES": "/certificates",
    },
    "nginx/nginx-reload.sh": {},
    "valkey/valkey.conf": {
        "CACHE": "0.0.0.0", "CERTIFICATES": "/certificates", "FOLDER": "/etc/valkey", "MAXMEMORY": MAXMEMORY,
    },
    "valkey/users.acl": {},
    "node.toml": {},
    "prometheus": {},
    "alertmanager": {"FOLDER": "/run/secrets"},
    "grafana": {},
}  # fmt: skip


def prepare_container_files(
    templates: Path, out: Path, host: str, mail: MailSection, now: datetime.datetime
) -> list[str]:
    """Write all of it into `out`, and return which secrets and certificates are new; ConfigError, MissingExtraError.

    `host` is the name that clients ask over HTTPS, `mail` the way of the alarms; without one they are seen in the
    browser only.
    """
    if not (templates / "nginx.conf").is_file():
        raise ConfigError("--templates", f"{templates} is not the folder deploy/ of a checkout")
    try:
        out.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = [*_make_secrets(out / "secrets"), *_make_certificates(out / "certificates", host, now)]
        words_of_all = {
            "CACHE_PASSWORD_SHA256": (out / "secrets" / _CACHE_HASH).read_text().strip(),
            "OPERATOR_EMAIL": mail.operator_email or _NOBODY,
            "SMTP_FROM": mail.smtp_from or _NOBODY,
            "SMTP_HOST": mail.smtp_host or "localhost",
        }
        for name, words in WORDS.items():
            _fill_in(templates, out, name, {**_EVERYWHERE, **words_of_all, **words})
    except OSError as error:
        raise ConfigError("--out", f"{error.filename or out}: {error.strerror}") from None
    return made


def _make_secrets(folder: Path) -> list[str]:
    folder.mkdir(mode=0o700, exist_ok=True)
    of_database, of_cache = secrets.token_urlsafe(_KEY_BYTES), secrets.token_urlsafe(_KEY_BYTES)
    groups: tuple[dict[str, str], ...] = (
        {
            "database_password": of_database,
            "database_url": f"postgresql://trinity:{of_database}@{DATABASE_HOST}:5432/trinity",
        },
        {
            "cache_url": f"valkeys://{CACHE_USER}:{of_cache}@{CACHE_HOST}:{CACHE_PORT}",
            _CACHE_HASH: hashlib.sha256(of_cache.encode()).hexdigest(),
        },
        {"admin_key": secrets.token_urlsafe(_KEY_BYTES)},
        {"smtp_password": ""},  # of the mail server, if it wants one: the operator writes it there
        {"grafana_password": secrets.token_urlsafe(_KEY_BYTES)},
    )
    made = []
    for group in groups:
        if not all((folder / name).exists() for name in group):
            for name, text in group.items():
                _write(folder / name, text + "\n")
            made += list(group)
    return made


def _make_certificates(folder: Path, host: str, now: datetime.datetime) -> list[str]:
    names = [AUTHORITY, *(f"{name}.{kind}" for name in (CACHE, FRONT) for kind in ("pem", "key"))]
    if all((folder / name).exists() for name in names):
        return []
    lifetime = datetime.timedelta(days=CERTIFICATE_DAYS)
    make_certificates(folder, {CACHE: CACHE_HOST, FRONT: host}, now, lifetime)
    for name in names:
        (folder / name).chmod(_READABLE)
    return names


def _fill_in(templates: Path, out: Path, name: str, words: Mapping[str, str]) -> None:
    """A file, or all files of a folder; the files of nginx and Valkey stand in `deploy/` itself."""
    source = templates / name if (templates / name).exists() else templates / Path(name).name
    layout = ClusterLayout(out, NETWORK)
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        target = out / name / file.relative_to(source) if source.is_dir() else out / name
        if file.is_dir():
            continue
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        text = file.read_text()
        _write(target, text if file.suffix in (".sh", ".json") else fill(text, layout, words))


def _write(path: Path, text: str) -> None:
    write_whole(path, [text.encode()], Durability.RENAMED, mode=_READABLE)
