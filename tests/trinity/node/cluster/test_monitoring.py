"""trinity/node/cluster/monitoring.py; that both run is tests/node/test_cluster.py."""

import shutil
import subprocess
from pathlib import Path

import pytest

from trinity.node.cluster.files import TEMPLATES
from trinity.node.cluster.layout import ClusterLayout
from trinity.node.cluster.monitoring import monitoring_parts, prepare_monitoring


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_its_file_and_asks_every_node(tmp_path: Path) -> None:
    """With its own check, rules included."""
    layout = ClusterLayout(tmp_path)
    prepare_monitoring(layout, TEMPLATES)
    file = layout.data_dir("prometheus") / "prometheus.yml"
    checked = subprocess.run(["promtool", "check", "config", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert all(f"{node.host}:8081" in file.read_text() for node in layout.nodes)


@pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed")
def test_alertmanager_takes_its_file(tmp_path: Path) -> None:
    """With its own check."""
    layout = ClusterLayout(tmp_path)
    prepare_monitoring(layout, TEMPLATES)
    file = layout.data_dir("alertmanager") / "alertmanager.yml"
    checked = subprocess.run(["amtool", "check-config", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_machine_without_them_has_a_cluster_without_alarms(tmp_path: Path) -> None:
    """And one that has them both starts both."""
    assert monitoring_parts(ClusterLayout(tmp_path), str(tmp_path)) == []
    for name in ("prometheus", "prometheus-alertmanager"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    names = [part.name for part in monitoring_parts(ClusterLayout(tmp_path), str(tmp_path))]
    assert names == ["alertmanager", "prometheus"]
