"""`trinity doctor`: what of this machine would keep a node from working; exit code 1 when something would."""

import argparse

from trinity.config import Config
from trinity.terminal import print_result

EXIT_FOUND_WRONG = 1


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Examine, and print the findings."""
    from rich.console import Console

    from trinity.cli.examination import print_findings
    from trinity.node.composition import examine

    findings = examine(config)
    is_wrong = any(finding.level == "fail" for finding in findings)
    if parsed.as_json:
        print_result({"ok": not is_wrong, "findings": [finding._asdict() for finding in findings]}, [], as_json=True)
    else:
        print_findings(findings, Console())
    return EXIT_FOUND_WRONG if is_wrong else 0
