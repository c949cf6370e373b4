"""A real Prometheus over one node, with the rules of deploy/, in a hurry: minutes there are seconds here."""

import contextlib
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
# How long a condition must hold, over how long a rate is taken, and how far back a comparison looks.
_HURRY = ((r"\[5m\]", "[15s]"), (r"\[10m\]", "[60s]"), (r"offset 10m", "offset 60s"))


class Watched:
    """What a running Prometheus says of the node's alarms."""

    def __init__(self, port: int) -> None:
        self._port = port

    def firing(self) -> set[str]:
        """The names of the alarms that are raised now."""
        return {
            alert["labels"]["alertname"]
            for alert in self._get("/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def is_there(self) -> bool:
        """Whether it has asked the node, and the node answered."""
        try:
            return bool(self._get("/api/v1/query?query=" + urllib.parse.quote('up{job="trinity"} == 1'))["result"])
        except (OSError, urllib.error.URLError):
            return False

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as response:
            return json.loads(response.read())["data"]


@contextlib.contextmanager
def watching(program: str, folder: Path, node_port: int, port: int, marks: Mapping[str, str]) -> Iterator[Watched]:
    """A Prometheus that asks the node every second; `marks` are texts of the rules and what stands there instead."""
    folder.mkdir()
    (folder / "rules").mkdir()
    rules = (DEPLOY / "rules" / "trinity.yml").read_text()
    for pattern, instead in _HURRY:
        rules = re.sub(pattern, instead, rules)
    rules = re.sub(r"^( +for:) .*$", r"\1 1s", rules, flags=re.MULTILINE)
    for text, instead in marks.items():
        assert text in rules, text
        rules = rules.replace(text, instead)
    (folder / "rules" / "trinity.yml").write_text(rules)
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] == "trinity"]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{node_port}"]}]
    del config["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield Watched(port)
        finally:
            process.terminate()
            process.wait(30)
