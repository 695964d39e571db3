"""The JSON reader's library: by the machine's own compiler for this machine, by the ziglang package for others.

python -m native.build          for this machine
python -m native.build --all    for each architecture of Lambda, by ziglang: the same bytes wherever they are made
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = HERE.parent / "function" / "native"
ZIG = HERE.parent / ".cache" / "venvs" / "zig"
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC = "2.17"  # or newer is needed at run time; nothing but memcpy and its like is
FLAGS = ("-std=gnu11", "-O3", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-unused-value")


class BuildError(Exception):
    """No library was built; the message says why and what to do."""


def library_name(architecture: str) -> str:
    """The file's name, as function/native/json_kernel.py looks for it."""
    return f"json-{architecture}.so"


def build(target: Path, architecture: str, compiler: list[str]) -> None:
    """Compiles native/json.c to the file `target`, which is replaced whole. BuildError with the compiler's words."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "powers.h").write_text(powers())
        made = Path(name, "made.so")
        command = [*compiler, *FLAGS, f"-I{name}", str(HERE / "json.c"), "-s", "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{' '.join(compiler)} failed for {architecture}: {done.stderr.strip()[-2000:]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(made, beside)
        beside.replace(target)  # a process may have the old one mapped


def compiler_for(architecture: str) -> list[str]:
    """The command of a C compiler for that architecture; BuildError when there is none.

    This machine's own for itself, the ziglang package's for all others.
    """
    own = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if own and architecture == os.uname().machine:
        return [own]
    return zig(architecture)


def zig(architecture: str) -> list[str]:
    """The command of ziglang's C compiler, the same on every machine; BuildError when the package is missing."""
    for python in (ZIG / "bin" / "python", Path(sys.executable)):
        found = python.exists() and subprocess.run([python, "-c", "import ziglang"], capture_output=True, check=False)
        if found and found.returncode == 0:
            return [str(python), "-m", "ziglang", "cc", "-target", f"{architecture}-linux-gnu.{GLIBC}"]
    mend = "install one (Debian: apt-get install gcc), or the ziglang package: make kernels"
    raise BuildError(f"there is no C compiler for {architecture}; {mend}")


def powers() -> str:
    """powers.h: 5^q for q from -342 to 308, its 128 highest bits; cut off, but for -27 to -1, which are rounded up."""
    rows = []
    for q in range(-342, 309):
        power = 5 ** abs(q)
        if q >= 0:
            bits = (power << 128) >> power.bit_length()
        else:
            bits = (1 << (power - 1).bit_length() + 127) // power + (q >= -27)
        rows.append(f"    {{{bits >> 64:#x}, {bits & (1 << 64) - 1:#x}}},\n")
    return f"static const uint64_t POWERS_OF_FIVE[{len(rows)}][2] = {{\n{''.join(rows)}}};\n"


def main() -> int:
    """0, also where this machine has no compiler: JSON is read by Python then, as the message says. 1 for a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="for packages and images")
    every = parser.parse_args().all
    for architecture in ARCHITECTURES if every else (os.uname().machine,):
        try:
            compiler = zig(architecture) if every else compiler_for(architecture)
        except BuildError as error:
            print(f"{error}. Until then JSON is read by Python, which is many times slower", file=sys.stderr)
            return int(every)
        try:
            build(INSTALLED / library_name(architecture), architecture, compiler)
        except BuildError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
