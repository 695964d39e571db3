"""What goes into the zips: a rule for every package, libraries for the right CPU, the same bytes each day."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import pytest

from layer import bytecode, elf, package, rules, slim, stage, wheels
from layer.archive import write_zip

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def extension() -> Path:
    spec = importlib.util.find_spec("httptools.parser.parser")
    assert spec
    assert spec.origin
    return Path(spec.origin)


@pytest.mark.parametrize("lock", ["function.txt", "image.txt"])
def test_each_locked_package_has_a_rule_or_a_reason(lock: str) -> None:
    packages = set(wheels.locked(REQUIREMENTS / lock))
    table = rules.FUNCTION if lock == "function.txt" else rules.FUNCTION | rules.RUNTIME
    assert set(table) <= packages
    assert packages - set(table) <= set(rules.LEFT_OUT)


def test_the_image_has_the_versions_that_were_tested() -> None:
    def versions(lock: str) -> dict[str, str]:
        entries = wheels.locked(REQUIREMENTS / lock)
        return {name: text.partition("==")[2].split()[0] for name, text in entries.items()}

    development = versions("dev.txt")
    for lock in ("function.txt", "image.txt"):
        for name, version in versions(lock).items():
            assert (name, development[name]) == (name, version)


def test_a_package_without_a_rule_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("novelty==1.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(slim.RuleError, match=r"lock.txt has novelty: say in layer/rules.py"):
        slim.install(rules.FUNCTION, tmp_path / "lock.txt", "x86_64", HERE, tmp_path / "out")


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "pybase64-1.0-cp313-cp313-manylinux2014_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_rule_that_keeps_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = wheel(tmp_path, {"pybase64/__init__.py": b"", "pybase64/_fallback.py": b""})
    (tmp_path / "lock.txt").write_text("pybase64==1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(slim, "fetch", lambda *_: [found])
    with pytest.raises(slim.RuleError, match=r"has no pybase64/_pybase64\.\*\.so: layer/rules.py is older"):
        slim.install(rules.FUNCTION, tmp_path / "lock.txt", "x86_64", HERE, tmp_path / "out")


def test_a_library_of_another_cpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = bytearray(extension().read_bytes())
    here = elf.machine(bytes(library))
    other = "arm64" if here == "x86_64" else "x86_64"
    files = {"pybase64/__init__.py": b"", "pybase64/_a.py": b"", "pybase64/_pybase64.x.so": bytes(library)}
    (tmp_path / "lock.txt").write_text("pybase64==1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(slim, "fetch", lambda *_: [wheel(tmp_path, files)])
    with pytest.raises(slim.RuleError, match=f"is for {here}, not for {other}"):
        slim.install(rules.FUNCTION, tmp_path / "lock.txt", other, HERE, tmp_path / "out")


@pytest.mark.parametrize("architecture", wheels.ARCHITECTURES)
def test_layers_have_libraries_of_their_cpu_and_all_that_these_need(tmp_path: Path, architecture: str) -> None:
    stage.layer(tmp_path, architecture, HERE, None)
    libraries = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    names = {path.name for path in libraries}
    assert len(names) > 10
    needed = {name for path in libraries for name in elf.needed(path.read_bytes())}
    bundled = {path.name for path in (tmp_path / "pillow.libs").iterdir()}
    assert bundled <= needed
    system = ("libc.", "libm.", "libdl.", "libpthread.", "librt.", "libgcc_s.", "libstdc++.", "libz.", "ld-linux")
    assert [name for name in sorted(needed - names) if not name.startswith(system)] == []
    assert {elf.machine(path.read_bytes()) for path in libraries} == {architecture}
    assert (tmp_path / "onnxruntime" / "ThirdPartyNotices.txt").is_file()
    assert not list(tmp_path.rglob("*pybind11*"))


def test_a_library_without_its_sections_still_loads(tmp_path: Path) -> None:
    content = extension().read_bytes()
    slimmed = elf.without_sections(content)
    assert len(slimmed) < len(content) / 2
    assert elf.needed(slimmed) == elf.needed(content)
    assert "libc.so.6" in elf.needed(content)
    (tmp_path / "library.so").write_bytes(slimmed)
    assert ctypes.CDLL(str(tmp_path / "library.so")).PyInit_parser


def test_what_is_no_library_is_refused() -> None:
    with pytest.raises(elf.ElfError, match="64-bit little-endian ELF"):
        elf.machine(b"MZ")
    with pytest.raises(elf.ElfError, match="e_machine is 3"):
        elf.machine(b"\x7fELF\x02\x01" + bytes(12) + b"\x03\0")


def test_zips_depend_on_names_and_contents_alone(tmp_path: Path) -> None:
    for name, order in (("one", ("b.py", "a.py")), ("two", ("a.py", "b.py"))):
        for index, file in enumerate(order):
            path = tmp_path / name / "package" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {file}\n")
            path.chmod(0o600 if index else 0o755)
            os.utime(path, (10_000 * index, 10_000 * index))
    sizes = [write_zip(tmp_path / f"{name}.zip", tmp_path / name) for name in ("one", "two")]
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["package/a.py", "package/b.py"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
        assert sizes == [sum(entry.file_size for entry in archive.infolist())] * 2


def test_byte_code_is_the_same_each_time(tmp_path: Path) -> None:
    python = bytecode.find_python(HERE)
    assert python
    written = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "module.py").write_text('KINDS = {"a", "b", "c"}\ndef has(x): return x in {"d", "e", "f", "g"}\n')
        bytecode.compile_tree(folder, "/var/task", python)
        (compiled,) = folder.rglob("*.pyc")
        written.append(compiled.read_bytes())
    assert written[0] == written[1]
    assert b"/var/task/module.py" in written[0]
    (tmp_path / "one" / "module.py").write_text("def :")
    with pytest.raises(bytecode.BytecodeError, match="does not compile"):
        bytecode.compile_tree(tmp_path / "one", "/var/task", python)


def test_an_interpreter_of_a_version_that_nobody_has_is_not_found() -> None:
    assert bytecode.find_python("3.0") is None


def test_more_than_lambda_takes_is_refused() -> None:
    megabyte = 1024 * 1024
    package.check_size(190 * megabyte, {"layer-x86_64.zip": 60 * megabyte})
    with pytest.raises(package.SizeError, match=r"function.zip \(199.2 MB unzipped\) and layer-x86_64.zip \(62.9 MB\)"):
        package.check_size(190 * megabyte + 1, {"layer-arm64.zip": megabyte, "layer-x86_64.zip": 60 * megabyte})


def test_a_model_that_is_not_prepared_is_refused(tmp_path: Path, digits_prepared: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    for name in ("model.toml", "labels.txt"):
        (folder / name).write_bytes((digits_prepared / "digits" / name).read_bytes())
    with pytest.raises(stage.StageError, match=r"is not prepared; run: zeroserve prepare"):
        stage.function(tmp_path / "out", [str(folder)], None)
    (folder / "prepared").mkdir()
    (folder / "prepared" / "model.json").write_text('{"sha256": "00"}')
    with pytest.raises(stage.StageError, match=r"was made of another model.onnx; run:"):
        stage.function(tmp_path / "again", [str(folder)], None)


def test_a_package_without_the_json_reader_says_so(tmp_path: Path, digits_prepared: Path) -> None:
    stage.function(tmp_path, ["digits"], None)
    for library in (tmp_path / "function" / "native").glob("*.so"):
        library.unlink()
    (tmp_path / "function" / "native" / "json-aarch64.so").write_bytes(b"")
    (line,) = stage.missing_kernels(tmp_path)
    assert line.startswith("no JSON reader in C for x86_64: ")
    assert line.endswith("run: make kernels")
    assert stage.missing_kernels(tmp_path, ["arm64"]) == []


def test_the_function_goes_without_the_server_and_the_raw_model(tmp_path: Path, digits_prepared: Path) -> None:
    (line,) = stage.function(tmp_path, ["digits"], None)
    assert "portable" in line
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"function/handler.py", "function/__init__.py", "models/digits/prepared/model.json"} <= files
    assert not any(name.endswith(("asgi.py", ".md", "labels.txt", "model.toml")) for name in files)
    assert not any(name.startswith("function/server/") for name in files)
    assert "models/digits/model.onnx" not in files
