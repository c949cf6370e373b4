"""The account that runs the embedded PostgreSQL, and its way to the files: PostgreSQL refuses to run as root.

    not root          the node's own account; nothing to do
    root, data there  the account that owns the data
    root, no data     the system account `trinity`; it is made when it is missing, and where it cannot be made
                      (no useradd, /etc read-only) `nobody` stands in, with a warning

Rules: root's folders are often closed (0700), and PostgreSQL must pass through them to its data and to its program.
They are not opened for everyone: an access control list (acl(5)) lets this one account pass, not list. Where the file
system has no such lists the error says what to do.
"""

import logging
import os
import pwd
import stat
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

from trinity.errors import StoreUnavailableError

_NAME = "trinity"
_STAND_IN = "nobody"
# Programs that change /etc/passwd lock it: two nodes that start together must not give up at once.
_MAKE_ATTEMPTS = 5
_ACL_ATTRIBUTE = "system.posix_acl_access"
# linux/posix_acl_xattr.h: a version, then entries of (tag, permissions, id), in the order of tag and id.
_ACL_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_EXECUTE = 1

AclEntry = tuple[int, int, int]


class OsAccount(NamedTuple):
    """Numbers of an account."""

    uid: int
    gid: int


def account_for(folder: Path, log: logging.Logger) -> OsAccount | None:
    """Who is to own and run what is in `folder`; None: the account of this process."""
    if os.geteuid() != 0:
        return None
    found = folder.stat()
    if found.st_uid != 0:
        return OsAccount(found.st_uid, found.st_gid)
    for _ in range(_MAKE_ATTEMPTS):
        entry = _find(_NAME)
        if entry is not None:
            return entry
        log.info("making the account", extra={"fields": {"account": _NAME}})
        _make()
    log.warning("the account could not be made", extra={"fields": {"wanted": _NAME, "used": _STAND_IN}})
    entry = _find(_STAND_IN)
    if entry is None:
        reason = f"PostgreSQL does not run as root and there is no account {_NAME}: start the node as another user"
        raise StoreUnavailableError(reason)
    return entry


def let_pass(target: Path, account: OsAccount) -> None:
    """Let the account pass through every folder above `target`."""
    for folder in reversed(target.parents):
        found = folder.stat()
        if found.st_mode & stat.S_IXOTH or found.st_uid == account.uid:
            continue
        try:
            _add_passage(folder, found.st_mode, account.uid)
        except OSError as error:
            name = pwd.getpwuid(account.uid).pw_name
            raise StoreUnavailableError(
                f"PostgreSQL does not run as root, and the account {name} cannot pass {folder} ({error.strerror}): "
                f"start the node as another user, or set TRINITY_DATA_DIR to a folder that {name} can reach"
            ) from None


def with_passage(entries: list[AclEntry], uid: int) -> list[AclEntry]:
    """The list with permission for `uid` to pass; what others may do does not change."""
    known = {(tag, identity): permissions for tag, permissions, identity in entries}
    known[_USER, uid] = known.get((_USER, uid), 0) | _EXECUTE
    mask = known.get((_MASK, _NO_ID), known[_GROUP_OBJ, _NO_ID])
    known[_MASK, _NO_ID] = mask | _EXECUTE
    return [(tag, permissions, identity) for (tag, identity), permissions in sorted(known.items())]


def _add_passage(folder: Path, mode: int, uid: int) -> None:
    try:
        raw = os.getxattr(folder, _ACL_ATTRIBUTE)
        entries = list(struct.iter_unpack("<HHI", raw[4:]))
    except OSError:  # there is no list yet: the mode is the whole truth
        entries = [
            (_USER_OBJ, mode >> 6 & 7, _NO_ID),
            (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    packed = b"".join(struct.pack("<HHI", *entry) for entry in with_passage(entries, uid))
    os.setxattr(folder, _ACL_ATTRIBUTE, struct.pack("<I", _ACL_VERSION) + packed)


def _find(name: str) -> OsAccount | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return OsAccount(entry.pw_uid, entry.pw_gid)


def _make() -> None:
    """Make the account; whether it worked shows when it is looked up."""
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]
    try:
        subprocess.run(["useradd", *options, _NAME], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return
