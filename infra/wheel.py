"""The installable package, as pip's build backend (PEP 517) and as `make release`: everything lies below zeroserve/.

python -m infra.wheel                 # dist/zeroserve-VERSION-py3-none-any.whl

Written by hand instead of by setuptools: nothing has to be fetched to build it, and `function`, `models` and the like
never become packages at the top of anybody's site-packages.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from models import places

ROOT = Path(__file__).resolve().parent.parent
CODE = ("function", "models", "infra", "layer")
REQUIREMENTS = ("function.txt", "image.txt", "text.txt", "postgres.txt", "rie.txt")
_KINDS = {".py", ".json", ".toml", ".txt", ".md", ".png", ".sh", ".so"}  # .so: the JSON reader, for each architecture
_WITHOUT_KIND = {
    "layer/zeroserve-bootstrap",  # a file of every layer
    "models/digits/model.onnx",
    "models/fraud/features.csv",
    "models/fraud/model.onnx",
}
_LEFT_OUT = {"prepared", "__pycache__"}
TAG = "py3-none-any"


def files() -> list[tuple[Path, str]]:
    """(file, its place in the package) for all that is installed, sorted by place."""
    found = [(ROOT / "zeroserve" / name, f"zeroserve/{name}") for name in ("__init__.py", "__main__.py")]
    found += [(ROOT / "requirements" / name, f"zeroserve/home/requirements/{name}") for name in REQUIREMENTS]
    for top in CODE:
        for path in (ROOT / top).rglob("*"):
            relative = path.relative_to(ROOT)
            if path.is_file() and _belongs(relative):
                found.append((path, f"zeroserve/home/{relative.as_posix()}"))
    return sorted(found, key=lambda pair: pair[1])


def _belongs(relative: Path) -> bool:
    parts = relative.parts
    if _LEFT_OUT & set(parts) or any(part.startswith(".") for part in parts):
        return False
    if parts[0] == "models" and len(parts) > 2 and parts[1] not in (*places.SHIPPED, "adding"):
        return False
    return relative.suffix in _KINDS or relative.as_posix() in _WITHOUT_KIND


def project() -> dict[str, Any]:
    """[project] of pyproject.toml, with the version that the code has."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = (ROOT / "function" / "settings.py").read_text(encoding="utf-8")
    version = re.search(r'^VERSION = "([^"]+)"', source, re.MULTILINE)
    if not version:
        raise SystemExit("error: function/settings.py has no VERSION")
    return table | {"version": version[1]}


def metadata() -> str:
    """The file METADATA (packaging.python.org, core metadata 2.4)."""
    table = project()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {table['name']}",
        f"Version: {table['version']}",
        f"Summary: {table['description']}",
        f"Requires-Python: {table['requires-python']}",
        f"License-Expression: {table['license']}",
        "License-File: LICENSE",
        "Description-Content-Type: text/markdown",
        *(f"Requires-Dist: {each}" for each in table["dependencies"]),
    ]
    for extra, packages in table["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {each} ; extra == "{extra}"' for each in packages)]
    readme: str = (ROOT / table["readme"]).read_text(encoding="utf-8")
    return "\n".join(lines) + "\n\n" + readme


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Writes the wheel, the same bytes from the same files, and returns its name."""
    del config_settings, metadata_directory
    from layer.archive import write_zip

    table = project()
    stem = f"{table['name']}-{table['version']}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, place in files():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / place)
        info = folder / f"{stem}.dist-info"
        (info / "licenses").mkdir(parents=True)
        shutil.copyfile(ROOT / "LICENSE", info / "licenses" / "LICENSE")
        scripts = "".join(f"{script} = {target}\n" for script, target in table["scripts"].items())
        (info / "METADATA").write_text(metadata(), encoding="utf-8")
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: infra.wheel\nRoot-Is-Purelib: true\nTag: {TAG}\n")
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{scripts}")
        record = [_recorded(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
        (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n", encoding="utf-8")
        wheel = f"{stem}-{TAG}.whl"
        write_zip(Path(wheel_directory, wheel), folder)
    return wheel


def _recorded(folder: Path, path: Path) -> str:
    content = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path.relative_to(folder).as_posix()},sha256={digest},{len(content)}"


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Writes what the wheel can be built from as a .tar.gz, and returns its name."""
    del config_settings
    table = project()
    stem = f"{table['name']}-{table['version']}"
    sources = [source for source, _ in files()] + [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    with (
        tempfile.NamedTemporaryFile("w", encoding="utf-8") as info,
        tarfile.open(Path(sdist_directory, f"{stem}.tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as archive,
    ):
        info.write(metadata())
        info.flush()
        archive.add(info.name, f"{stem}/PKG-INFO")
        for source in sources:
            archive.add(source, f"{stem}/{source.relative_to(ROOT).as_posix()}")
    return f"{stem}.tar.gz"


def main() -> int:
    """Writes the wheel into dist/, and says what it lacks and what to do with it."""
    from layer import stage

    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    wheel = target / build_wheel(str(target))
    print("".join(f"{line}, then build it again\n" for line in stage.missing_kernels(ROOT)), end="")
    print(f"{wheel} {wheel.stat().st_size / 1e6:.1f} MB\nnext: pip install {wheel}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
