"""Prometheus and Alertmanager of a cluster on one machine, where they are installed: the files of `deploy/`, filled in.

Rules: a cluster without them is whole: what is missing is told, not refused. Both keep what they write in folders of
their own, for a day. Nobody is mailed from here: the address is this machine's own.
"""

import http
import os
import shutil
from pathlib import Path

from trinity.files import Durability, write_whole
from trinity.node.cluster.layout import ClusterLayout, fill
from trinity.node.cluster.parts import Program, get_status

PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093
# Debian calls it by both names.
_ALERTMANAGERS = ("alertmanager", "prometheus-alertmanager")
_KEPT = "1d"


def prepare_monitoring(layout: ClusterLayout, templates: Path) -> None:
    """Write what both read."""
    for name, template in (
        ("prometheus", templates / "prometheus" / "prometheus.yml"),
        ("alertmanager", templates / "alertmanager" / "alertmanager.yml"),
    ):
        folder = layout.data_dir(name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = {"FOLDER": str(folder), "OPERATOR_EMAIL": "operator@localhost", "SMTP_FROM": "trinity@localhost"}
        text = fill(template.read_text(), layout, words | {"SMTP_HOST": "localhost"})
        write_whole(folder / template.name, [text.encode()], Durability.RENAMED)
    (layout.data_dir("alertmanager") / "smtp_password").touch(mode=0o600)
    rules = layout.data_dir("prometheus") / "rules"
    rules.mkdir(mode=0o700, exist_ok=True)
    for rule in (templates / "prometheus" / "rules").glob("*.yml"):
        write_whole(rules / rule.name, [rule.read_bytes()], Durability.RENAMED)


def monitoring_parts(layout: ClusterLayout, path: str | None = None) -> list[Program]:
    """Who is installed; [] for nobody."""
    parts = []
    logs = layout.folder / "logs"
    folder = layout.data_dir("alertmanager")
    alertmanager = next((found for name in _ALERTMANAGERS if (found := shutil.which(name, path=path))), None)
    if alertmanager is not None:
        address = f"{layout.alertmanager}:{ALERTMANAGER_PORT}"
        command = (
            alertmanager,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        )
        parts.append(
            Program(
                "alertmanager",
                command,
                logs / "alertmanager.log",
                lambda: get_status(layout.alertmanager, ALERTMANAGER_PORT, "/-/ready") == http.HTTPStatus.OK,
                os.environ,
            )
        )
    prometheus = shutil.which("prometheus", path=path)
    if prometheus is not None:
        folder = layout.data_dir("prometheus")
        command = (
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={_KEPT}",
            f"--web.listen-address={layout.prometheus}:{PROMETHEUS_PORT}",
        )
        parts.append(
            Program(
                "prometheus",
                command,
                logs / "prometheus.log",
                lambda: get_status(layout.prometheus, PROMETHEUS_PORT, "/-/ready") == http.HTTPStatus.OK,
                os.environ,
            )
        )
    return parts
