"""What a node remembers of its backups over restarts: which target it used, and of which database."""

from pathlib import Path

import msgspec

from trinity.files import Durability, write_whole

_NAME = "state.json"


class BackupState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one address: another one is begun anew."""

    address: str
    target: str = ""  # the id of its mark
    system: str = ""  # the database


def load_state(scratch: Path, address: str) -> BackupState:
    """As it was kept; a damaged one is as good as none."""
    try:
        state = msgspec.json.decode((scratch / _NAME).read_bytes(), type=BackupState)
    except (OSError, msgspec.MsgspecError):
        return BackupState(address)
    return state if state.address == address else BackupState(address)


def keep_state(scratch: Path, state: BackupState) -> None:
    """Raises OSError."""
    write_whole(scratch / _NAME, [msgspec.json.encode(state)], Durability.NAMED)
