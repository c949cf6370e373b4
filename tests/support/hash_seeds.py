"""Processes that are alike but for the order of their sets, which Python draws anew in each."""

import os
import subprocess
import sys


def printed_by_each(script: str) -> set[str]:
    """What three processes print; one text where no order of a set is in it."""
    return {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True,
            timeout=60, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
