"""`trinity cluster files`: what compose.yaml mounts: the files of deploy/ filled in, secrets, certificates.

Where alarms are mailed to is told as to a node: OPERATOR_EMAIL, SMTP_HOST, SMTP_FROM. docs/install.md
has the command with the image, for which nothing else must be installed.
"""

import argparse
import datetime
from pathlib import Path

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.node.cluster.containers import prepare_container_files
from trinity.node.cluster.files import TEMPLATES
from trinity.terminal import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where to where."""
    parser.add_argument(
        "--templates", type=Path, default=TEMPLATES, metavar="FOLDER", help="files: deploy/ of a checkout"
    )
    parser.add_argument("--out", type=Path, default=Path("cluster"), metavar="FOLDER", help="files: where they go")
    parser.add_argument("--host", default="localhost", help="files: the name that clients ask over HTTPS")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Write them."""
    now = datetime.datetime.fromtimestamp(SystemClock().wall_ns() / NS_PER_SECOND, datetime.UTC)
    made = prepare_container_files(parsed.templates, parsed.out, parsed.host, config.mail, now)
    lines = [f"{parsed.out}: ready for `docker compose up`", *(f"  new: {name}" for name in made)]
    print_result({"folder": str(parsed.out), "made": made}, lines, parsed.as_json)
    return 0
