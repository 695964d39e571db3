"""Pulls a model's raw ONNX file from the sources in its model.toml, and accepts only the pinned bytes.

    zeroserve pull mobilenetv2
    zeroserve pull mobilenetv2 --from-file downloads/mobilenetv2-12.onnx

A download that is cut off stays beside the target as a .part file, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shlex
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.download import CHUNK, SourceError, download, write_all
from models.manifest import HERE, Manifest, ManifestError, folder_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO

    from models.pinned import File

ATTEMPTS = 3  # per source


class PullError(Exception):
    """The file could not be had; the message says what each source answered and the next command to type."""


def pull(
    folder: Path,
    *,
    sources: Sequence[str] = (),
    from_file: Path | None = None,
    timeout: float = 30.0,
    backoff: float = 1.0,
) -> Path:
    """The path of the model's file, verified; fetched unless it is there already.

    `sources` replace those of model.toml, `from_file` replaces the network. `timeout` is in seconds without a
    byte; `backoff` in seconds before the second attempt at a source, doubled for each later one. Raises
    PullError, and ManifestError for a model.toml that cannot be used.
    """
    manifest = read(folder)
    file, target = manifest.file, manifest.path
    unfinished = target.with_name(target.name + ".part")
    try:
        if target.exists():
            problem = _problem(target, file)
            if problem is None:
                print(f"{target} is there already; its size and sha256 are right")
                return target
            print(f"{target} is not the pinned file ({problem}) and is fetched anew")
        with _exclusive(unfinished) as part:
            if not target.exists() or _problem(target, file):  # else another pull did it meanwhile
                if _problem(unfinished, file):  # else only the renaming was cut off
                    if from_file:
                        _copy(from_file, part, manifest)
                    else:
                        _download(part, manifest, sources or file.sources, timeout, backoff)
                os.fsync(part.fileno())
                unfinished.replace(target)  # never written in place: somebody may be reading it
    except OSError as error:
        kept = f" What has come so far is kept in {unfinished}." if unfinished.exists() else ""
        raise PullError(f"{target} cannot be written: {error}.{kept}\nOnce mended: {_command(manifest)}") from error
    print(f"{target}: {file.bytes:,} bytes, sha256 is right")
    return target


def _command(manifest: Manifest) -> str:
    folder = manifest.folder
    return f"zeroserve pull {folder.name if folder.parent == HERE else shlex.quote(str(folder))}"


def _problem(path: Path, file: File) -> str | None:
    """What is wrong with the bytes at `path`, None when they are the pinned ones."""
    if (size := path.stat().st_size) != file.bytes:
        return f"it has {size:,} bytes, {file.bytes:,} are expected"
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return None if digest == file.sha256 else f"its sha256 is {digest}, {file.sha256} is expected"


@contextmanager
def _exclusive(path: Path) -> Iterator[FileIO]:
    """The part file, locked, so that a second pull waits for the first; removed at the end if empty."""
    while True:
        with path.open("a+b", buffering=0) as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another pull that writes {path}")
                fcntl.flock(part, fcntl.LOCK_EX)
            mine = os.fstat(part.fileno())
            try:
                current = os.path.samestat(mine, path.stat())
            except FileNotFoundError:
                current = False
            if not current:  # renamed or removed by the pull that was waited for
                continue
            try:
                yield part
            finally:
                if os.fstat(part.fileno()).st_size == 0:
                    path.unlink(missing_ok=True)
            return


def _copy(source: Path, part: FileIO, manifest: Manifest) -> None:
    try:
        problem = _problem(source, manifest.file)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
    if problem:  # known before the part file is touched
        raise PullError(f"{source} is not the file that {manifest.folder / 'model.toml'} pins: {problem}")
    part.truncate(0)
    with source.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            write_all(part, chunk)


def _download(part: FileIO, manifest: Manifest, sources: Sequence[str], timeout: float, backoff: float) -> None:
    file = manifest.file
    failures = []
    for url in sources:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                download(url, part, file, timeout)
            except SourceError as error:
                if error.temporary and attempt < ATTEMPTS:
                    wait = backoff * 2 ** (attempt - 1)
                    print(f"{url}: {error}; trying again in {wait:g} s", file=sys.stderr)
                    time.sleep(wait)
                    continue
                failures.append(f"\n  {url}: {error} (attempts: {attempt})")
                break
            return
    why = "".join(failures) or " model.toml names no [file] sources and no --source was given"
    raise PullError(
        f"{manifest.path} could not be pulled:{why}\n"
        f"Get {file.name} ({file.bytes:,} bytes, sha256 {file.sha256}) in another way, then:\n"
        f"  {_command(manifest)} --from-file PATH"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 when the right file is there at the end, 1 when not."""
    parser = argparse.ArgumentParser(prog="zeroserve pull", description="Pull a model's ONNX file.")
    parser.add_argument("model", help="a model of this repository, or a folder with a model.toml")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--from-file", type=Path, help="take the file from here instead of the network")
    instead.add_argument("--source", action="append", default=[], help="a URL instead of those in model.toml")
    options = parser.parse_args(argv)
    try:
        pull(folder_of(options.model), sources=options.source, from_file=options.from_file)
    except (PullError, ManifestError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
