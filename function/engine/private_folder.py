"""Folders that nobody else can put anything into: what is read from them is what we wrote there."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MEND = "set MODEL_CACHE to a folder that this process can make and write to"


def check(paths: Iterable[str]) -> None:
    """Holds folders, each inside the one before, against what this process would have made; what is not there is fine.

    OSError with the mend for one that is a symbolic link or no folder, that another user owns or others can write to.
    Once the outer one is known to be ours, nobody else can exchange an inner one.
    """
    for path in paths:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OSError(f"{error}; {_MEND}") from error
        if stat.S_ISLNK(found.st_mode):
            wrong = "is a symbolic link"
        elif not stat.S_ISDIR(found.st_mode):
            wrong = "is not a folder"
        elif found.st_uid != os.geteuid():
            wrong = f"belongs to another user (uid {found.st_uid}, this process has {os.geteuid()})"
        elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            wrong = f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o}, at most 0755 is safe)"
        else:
            continue
        raise PermissionError(f"{path} {wrong}; remove it, or set MODEL_CACHE to a folder of your own")


def make(paths: Iterable[str]) -> None:
    """Makes those that are missing, for this user alone, and checks all; OSError as `check`, or with the mend."""
    made = list(paths)
    check(made)
    for path in made:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # another process has just made it; or somebody else did, which `check` will refuse
        except OSError as error:
            raise OSError(f"{error}; {_MEND}") from error
    check(made)
