"""trinity/process.py"""

import dataclasses

import pytest

from trinity.process import EXIT_BOOT_FAILURE, Seat


def test_a_seat_cannot_be_changed_by_the_process_that_sits_on_it() -> None:
    """What was made before the fork stays as it was."""
    fields = {field.name: None for field in dataclasses.fields(Seat)}
    seat = Seat(**fields)  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        seat.name = "other"  # type: ignore[misc]


def test_a_boot_failure_has_an_exit_code_of_its_own() -> None:
    """0 is drained, 1 an exception, 2 a wrong configuration; above 127 are signals."""
    assert 2 < EXIT_BOOT_FAILURE < 128
