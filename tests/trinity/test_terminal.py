"""Lines for people, objects for programs."""

import datetime
import subprocess
import sys

import pytest

from trinity.terminal import print_result


def test_a_result_is_lines_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys are sorted, times are ISO 8601."""
    content = {"b": 1, "a": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)}
    print_result(content, ["one", "two"], as_json=False)
    print_result(content, ["one", "two"], as_json=True)
    assert capsys.readouterr().out == 'one\ntwo\n{"a":"2026-01-02T00:00:00Z","b":1}\n'


def test_a_reader_that_left_is_no_error() -> None:
    """`trinity ... | head -1` ends without a traceback."""
    code = "from trinity.terminal import print_result; print_result({}, map(str, range(100000)), False)"
    run = subprocess.run(f"{sys.executable} -c '{code}' | head -1", shell=True, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("0\n", "")
