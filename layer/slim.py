"""From wheels to the few files of them that are deployed."""

from __future__ import annotations

import zipfile
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from layer import elf
from layer.rules import FUNCTION, LEFT_OUT, LICENCES, POSTGRES, RUNTIME, TEXT, Rule
from layer.wheels import fetch, locked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORTH_IT = 65536  # bytes; a library with fewer to save stays as its wheel has it


class RuleError(Exception):
    """The rules and the wheels do not fit: a package without a rule, or a rule that keeps nothing."""


def install(rules: Mapping[str, Rule], lock: Path, architecture: str, python_version: str, target: Path) -> None:
    """Writes what `rules` keep of the packages in `lock` under `target`, as pip would lay them out.

    Raises layer.wheels.WheelError, and RuleError when the lock file has a package that no rule speaks of.
    """
    packages = locked(lock)
    if unknown := sorted(packages.keys() - (FUNCTION | RUNTIME | TEXT | POSTGRES | LEFT_OUT).keys()):
        raise RuleError(f"{lock.name} has {', '.join(unknown)}: say in layer/rules.py what of it is deployed, and why")
    wanted = [name for name in packages if name in rules]
    for wheel in fetch(wanted, lock, architecture, python_version):
        _extract(wheel, rules[wheel.name.partition("-")[0].replace("_", "-").lower()], architecture, target)
    _drop_unneeded(target)


def _extract(wheel: Path, rule: Rule, architecture: str, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        for pattern in rule.keep:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise RuleError(f"{wheel.name} has no {pattern}: layer/rules.py is older than this version")
        for name in names:
            if any(fnmatchcase(name, pattern) for pattern in (*rule.keep, *LICENCES)):
                content = archive.read(name)
                if content.startswith(b"\x7fELF"):
                    content = _native(name, content, architecture)
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def _native(name: str, content: bytes, architecture: str) -> bytes:
    if (found := elf.machine(content)) != architecture:
        raise RuleError(f"{name} is for {found}, not for {architecture}")
    slim = elf.without_sections(content)
    return slim if len(content) - len(slim) >= WORTH_IT else content


def _drop_unneeded(target: Path) -> None:
    """Removes each library of a *.libs folder that no extension needs, directly or by another library."""
    libraries = {path.name: path for path in target.glob("*.libs/*")}
    waiting = [path for path in target.rglob("*.so*") if path.name not in libraries]
    kept: set[str] = set()
    while waiting:
        names = set(elf.needed(waiting.pop().read_bytes())) & libraries.keys() - kept
        kept |= names
        waiting += [libraries[name] for name in names]
    for name in libraries.keys() - kept:
        libraries[name].unlink()
