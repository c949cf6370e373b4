"""`trinity bench` hands its arguments on."""

import pytest

from trinity.__main__ import main


def test_the_benchmarks_read_their_own_arguments(capsys: pytest.CaptureFixture[str], trinity_json: object) -> None:
    """Also the wrong ones: exit code 2 with the benchmarks' usage."""
    with pytest.raises(SystemExit) as refused:
        main(["bench", "nothing"])
    assert refused.value.code == 2
    assert "usage" in capsys.readouterr().err
