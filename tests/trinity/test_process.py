"""trinity/process.py"""

import dataclasses

import pytest

from trinity.process import EXIT_BOOT_FAILURE, ProcessContext


def test_a_context_cannot_be_changed_by_its_process() -> None:
    """What was made before the fork stays as it was."""
    fields = {field.name: None for field in dataclasses.fields(ProcessContext)}
    context = ProcessContext(**fields)  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.name = "other"  # type: ignore[misc]


def test_a_boot_failure_has_an_exit_code_of_its_own() -> None:
    """0 is drained, 1 an exception, 2 a wrong configuration; above 127 are signals."""
    assert 2 < EXIT_BOOT_FAILURE < 128
