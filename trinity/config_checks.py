"""What the types of the configuration cannot say: names, addresses, and what goes with what.

Rules: pure but for a look at names; a ConfigError names the setting as the environment calls it.
"""

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trinity.errors import ConfigError

if TYPE_CHECKING:
    from trinity.config import BackupSection, Config

SPARES = 1  # of each kind that serves in a pool: who begins before another one ends, while it is replaced
_RINGS_MAX = 128  # seven bits of a request id
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
# What can be sent as a key, and is not found by trying: 16 random letters and digits are 95 bits.
_ADMIN_KEY = re.compile(r"[!-~]{16,128}")
_MAIL_ADDRESS = re.compile(r"[^@\s<>,;:\"()]+@[^@\s<>,;:\"()]+")


def check(config: "Config", workers: int) -> None:
    """Names, addresses, and what goes with what; `workers` is how many are to be started."""
    if not _NODE_NAME.fullmatch(config.node.name):
        raise ConfigError("CLUSTER_NODE", f"{config.node.name!r} is not 1 to 40 of letters, digits, - and _")
    if not _NODE_NAME.fullmatch(config.node.environment):
        raise ConfigError("NODE_ENV", f"{config.node.environment!r} is not 1 to 40 of letters, digits, - and _")
    ports = {name.upper(): port for name, port in msgspec.to_builtins(config.ports).items()}
    ports["SIMULATOR_PORT"] = config.simulator.port
    tcp = [name for name in ports if not name.startswith("UDP")]
    for names in (tcp, [name for name in ports if name.startswith("UDP")]):
        for name in names:
            twin = next((other for other in names if other != name and ports[other] == ports[name]), None)
            if twin is not None:
                raise ConfigError(name, f"{ports[name]} is also {twin}")
    for name, texts in (
        ("TRUSTED_PROXIES", config.access.trusted_proxies),
        ("UDP_TRUSTED_NETWORKS", config.request.udp_trusted_networks),
    ):
        for text in texts:
            _check_network(name, text)
    if config.stores.admin_key is not None and not _ADMIN_KEY.fullmatch(config.stores.admin_key):
        raise ConfigError(
            "ADMIN_KEY", "it is not 16 to 128 printable ASCII characters without blanks: it opens everything"
        )
    _check_mail(config)
    _check_backup(config.backup)
    if workers + config.reports.processes + 2 * SPARES > _RINGS_MAX:
        reason = f"with REPORT_PROCESSES {config.reports.processes} and spares there are more than {_RINGS_MAX} rings"
        raise ConfigError("REQUEST_WORKERS", reason)
    if config.ledger.ring_records & (config.ledger.ring_records - 1):
        raise ConfigError("LEDGER_RING_RECORDS", f"{config.ledger.ring_records} is not a power of two")


def _check_network(name: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(name, str(error)) from None


def _check_mail(config: "Config") -> None:
    mail = config.mail
    for name, text in (("SMTP_FROM", mail.smtp_from), ("OPERATOR_EMAIL", mail.operator_email)):
        if text and not _MAIL_ADDRESS.fullmatch(text):
            raise ConfigError(name, f"{text!r} is not an address like prices@example.com")
    if mail.smtp_host and not mail.smtp_from:
        raise ConfigError("SMTP_FROM", "SMTP_HOST is set: say whose address the mails come from")
    if mail.smtp_user and mail.smtp_security == "none":
        raise ConfigError("SMTP_SECURITY", "SMTP_USER is set: a password is sent over starttls or tls alone")


def _check_backup(backup: "BackupSection") -> None:
    if backup.target and not backup.recipients:
        raise ConfigError("BACKUP_RECIPIENTS", "BACKUP_TARGET is set: say who can open them (age-keygen makes one)")
    if backup.drill_identity and not Path(backup.drill_identity).is_absolute():
        raise ConfigError("BACKUP_DRILL_IDENTITY", f"{backup.drill_identity!r} is not an absolute path")
    if backup.scratch and not Path(backup.scratch).is_absolute():
        raise ConfigError("BACKUP_SCRATCH", f"{backup.scratch!r} is not an absolute path")
