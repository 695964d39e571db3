"""Zip files whose bytes depend on nothing but the files in them."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)  # the oldest that the format knows
_MODE, _PROGRAM = 0o100644 << 16, 0o100755 << 16  # Lambda's user must be able to read them


def write_zip(target: Path, folder: Path) -> int:
    """Packs the files of `folder`, sorted by name; returns their size in bytes, unpacked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.part")
    size = 0
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(name, _TIME)
            content = (folder / name).read_bytes()
            mode = _PROGRAM if content.startswith(b"#!") else _MODE
            entry.external_attr, entry.compress_type, entry.create_system = mode, zipfile.ZIP_DEFLATED, 3
            size += len(content)
            archive.writestr(entry, content)
    temporary.replace(target)
    return size
