"""models.pull against a real HTTP server on loopback: whole, cut, resumed, wrong, slow and concurrent."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models import manifest
from models.pull import ATTEMPTS, PullError, main, pull

ROOT = Path(__file__).parents[2]
DATA = random.Random(7).randbytes(600_000)  # more than two chunks
OTHER = bytes(byte ^ 1 for byte in DATA)  # the same size
Reply = Callable[[BaseHTTPRequestHandler], None]


class Source:
    """A server with one reply per path; a list of replies is used up in turn, its last one stays."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.stop = threading.Event()  # ends replies that hang
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.requests.append((self.path, self.headers["Range"]))
                replies = source.replies[self.path]
                try:
                    (replies.pop(0) if len(replies) > 1 else replies[0])(self)
                except OSError:  # the client has hung up
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def url(self, path: str, *replies: Reply) -> str:
        self.replies[path] = list(replies)
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    monkeypatch.setenv("no_proxy", "*")
    server = Source()
    yield server
    server.close()


def send(data: bytes, *, cut: int | None = None, ranges: bool = True) -> Reply:
    """The file as a web server sends it; `cut` closes the connection after so many bytes of the body."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers["Range"] if ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(data) > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:][:cut])

    return reply


def unannounced(data: bytes) -> Reply:
    """Without a Content-Length: the body ends where the connection does."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def chunked(data: bytes) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for start in range(0, len(data), 100_000):
            piece = data[start : start + 100_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return reply


def status(code: int) -> Reply:
    return lambda handler: handler.send_error(code)


def hanging(source: Source, data: bytes) -> Reply:
    """Announces the whole file, sends `data` and then nothing."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(data)
        source.stop.wait()

    return reply


def make_folder(folder: Path, *sources: str) -> Path:
    folder.mkdir()
    folder.joinpath("model.toml").write_text(
        f"""
name = "toy"
version = "1"
description = "bytes that only look like a model"
licence = "CC0-1.0"
source = "test_pull.py"

[file]
name = "toy.onnx"
bytes = {len(DATA)}
sha256 = "{hashlib.sha256(DATA).hexdigest()}"
sources = {list(sources)}
""",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "toy")


def part_of(folder: Path) -> Path:
    return folder / "toy.onnx.part"


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_pulled(folder: Path) -> None:
    assert (folder / "toy.onnx").read_bytes() == DATA
    assert files(folder) == {"model.toml", "toy.onnx"}


@pytest.mark.parametrize("reply", [send(DATA), chunked(DATA), unannounced(DATA)], ids=["length", "chunked", "close"])
def test_whole_download(source: Source, tmp_path: Path, reply: Reply) -> None:
    folder = make_folder(tmp_path / "toy", source.url("/a", reply))
    assert pull(folder) == folder / "toy.onnx"
    assert_pulled(folder)
    assert source.requests == [("/a", None)]


def test_missing_first_source_leads_to_the_second(source: Source, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "toy", source.url("/a", status(404)), source.url("/b", send(DATA)))
    pull(folder)
    assert_pulled(folder)
    assert [path for path, _ in source.requests] == ["/a", "/b"], "a 404 is not asked for again"


def test_given_sources_replace_the_pinned_ones(source: Source, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "toy", source.url("/pinned", send(DATA)))
    mirrors = ["--source", source.url("/a", status(404)), "--source", source.url("/b", send(DATA))]
    assert main([str(folder), *mirrors]) == 0
    assert_pulled(folder)
    assert [path for path, _ in source.requests] == ["/a", "/b"]


def test_redirect_is_followed(source: Source, folder: Path) -> None:
    target = source.url("/b", send(DATA))

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    part_of(folder).write_bytes(DATA[:1000])
    pull(folder, sources=[source.url("/a", redirect)])
    assert_pulled(folder)
    assert source.requests == [("/a", "bytes=1000-"), ("/b", "bytes=1000-")]


def test_busy_server_is_asked_again(source: Source, folder: Path) -> None:
    pull(folder, sources=[source.url("/a", status(503), status(503), send(DATA))], backoff=0.01)
    assert_pulled(folder)
    assert len(source.requests) == 3


def test_attempts_are_bounded_and_wait_longer_each_time(source: Source, folder: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(PullError, match="HTTP 503"):
        pull(folder, sources=[source.url("/a", status(503))], backoff=0.1)
    assert len(source.requests) == ATTEMPTS
    assert time.monotonic() - begin >= 0.1 + 0.2


def test_cut_connection_is_resumed(source: Source, folder: Path) -> None:
    url = source.url("/a", send(DATA, cut=350_001), send(DATA, cut=100_000), send(DATA))
    pull(folder, sources=[url], backoff=0.01)
    assert_pulled(folder)
    assert source.requests == [("/a", None), ("/a", "bytes=350001-"), ("/a", "bytes=450001-")]


def test_next_run_and_another_source_go_on(source: Source, folder: Path) -> None:
    with pytest.raises(PullError, match=r"connection ended after 350,003 of 600,000 bytes \(attempts: 3\)"):
        pull(folder, sources=[source.url("/a", send(DATA, cut=350_001), send(DATA, cut=1))], backoff=0.01)
    assert part_of(folder).read_bytes() == DATA[:350_003]
    source.requests.clear()
    pull(folder, sources=[source.url("/b", send(DATA))])
    assert_pulled(folder)
    assert source.requests == [("/b", "bytes=350003-")]


def test_server_without_range_starts_over(source: Source, folder: Path) -> None:
    url = source.url("/a", send(DATA, cut=350_001), send(DATA, ranges=False))
    pull(folder, sources=[url], backoff=0.01)
    assert_pulled(folder)
    assert source.requests == [("/a", None), ("/a", "bytes=350001-")]


def test_wrong_bytes_without_range_are_not_fetched_twice(source: Source, folder: Path) -> None:
    part_of(folder).write_bytes(DATA[:1000])
    with pytest.raises(PullError, match="sha256 is"):
        pull(folder, sources=[source.url("/a", send(OTHER, ranges=False))])
    assert source.requests == [("/a", "bytes=1000-")]


def test_another_range_than_asked_for_is_refused(source: Source, folder: Path) -> None:
    def confused(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA)

    part_of(folder).write_bytes(DATA[:1000])
    with pytest.raises(PullError, match=r"bytes 0-599999/600000 came where bytes from 1,000 on were asked for"):
        pull(folder, sources=[source.url("/a", confused)])
    assert part_of(folder).read_bytes() == DATA[:1000]


def test_wrong_bytes_of_the_right_size_are_refused(source: Source, folder: Path) -> None:
    url = source.url("/a", send(OTHER))
    with pytest.raises(PullError) as caught:
        pull(folder, sources=[url])
    assert files(folder) == {"model.toml"}
    message = str(caught.value)
    assert f"{url}: sha256 is {hashlib.sha256(OTHER).hexdigest()}, {hashlib.sha256(DATA).hexdigest()}" in message
    assert f"zeroserve pull {folder} --from-file PATH" in message
    assert source.requests == [("/a", None)], "the same wrong bytes are not fetched again"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA + b"x", "offers 600,001 bytes, 600,000 are pinned"),
        (DATA[:-1], "offers 599,999 bytes"),
        (b"", "offers 0"),
    ],
    ids=["long", "short", "empty"],
)
def test_announced_size_that_is_wrong_is_refused(source: Source, folder: Path, data: bytes, message: str) -> None:
    with pytest.raises(PullError, match=message):
        pull(folder, sources=[source.url("/a", send(data))])
    assert files(folder) == {"model.toml"}
    assert len(source.requests) == 1


def test_endless_body_is_stopped(source: Source, folder: Path) -> None:
    sent = 0
    hung_up = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            while not source.stop.is_set():
                sent += handler.wfile.write(DATA)
        except OSError:
            hung_up.set()

    with pytest.raises(PullError, match="sends more than the pinned 600,000 bytes"):
        pull(folder, sources=[source.url("/a", endless)])
    assert hung_up.wait(5)
    assert sent < 100 * len(DATA), "what the sockets hold, no more"
    assert files(folder) == {"model.toml"}


def test_short_body_without_an_announced_size(source: Source, folder: Path) -> None:
    url = source.url("/a", unannounced(DATA[:-1]))
    with pytest.raises(PullError, match=r"connection ended after 599,999 of 600,000 bytes \(attempts: 3\)"):
        pull(folder, sources=[url], backoff=0.01)
    assert not (folder / "toy.onnx").exists()


def test_damaged_part_is_thrown_away_and_fetched_once_more(source: Source, folder: Path) -> None:
    part_of(folder).write_bytes(OTHER[:1000])
    pull(folder, sources=[source.url("/a", send(DATA))])
    assert_pulled(folder)
    assert source.requests == [("/a", "bytes=1000-"), ("/a", None)]


def test_damaged_part_and_wrong_source_end(source: Source, folder: Path) -> None:
    part_of(folder).write_bytes(OTHER[:1000])
    with pytest.raises(PullError, match="sha256 is"):
        pull(folder, sources=[source.url("/a", send(OTHER[:1000] + DATA[1000:]))])
    assert source.requests == [("/a", "bytes=1000-"), ("/a", None)]
    assert files(folder) == {"model.toml"}


@pytest.mark.parametrize("part", [OTHER, DATA + b"x"], ids=["wrong", "long"])
def test_part_of_full_size_that_is_wrong_is_not_continued(source: Source, folder: Path, part: bytes) -> None:
    part_of(folder).write_bytes(part)
    pull(folder, sources=[source.url("/a", send(DATA))])
    assert_pulled(folder)
    assert source.requests == [("/a", None)]


def test_complete_part_needs_no_request(source: Source, folder: Path) -> None:
    part_of(folder).write_bytes(DATA)
    pull(folder, sources=[source.url("/a", send(DATA))])
    assert_pulled(folder)
    assert source.requests == []


def test_right_file_makes_no_request(source: Source, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "toy.onnx").write_bytes(DATA)
    assert main([str(folder), "--source", source.url("/a", send(DATA))]) == 0
    assert "is there already" in capsys.readouterr().out
    assert source.requests == []
    assert_pulled(folder)


def test_wrong_file_is_fetched_anew(source: Source, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "toy.onnx").write_bytes(OTHER)
    pull(folder, sources=[source.url("/a", send(DATA))])
    assert_pulled(folder)
    assert "is not the pinned file (its sha256 is" in capsys.readouterr().out


def test_hanging_server_times_out(source: Source, folder: Path) -> None:
    def answer_nothing(handler: BaseHTTPRequestHandler) -> None:
        source.stop.wait()

    silent = source.url("/a", answer_nothing)
    halfway = source.url("/b", hanging(source, DATA[:1000]))
    begin = time.monotonic()
    with pytest.raises(PullError, match=r"/a: no answer for 0.2 s \(attempts: 3\)\n .*/b: no answer for 0.2 s"):
        pull(folder, sources=[silent, halfway], timeout=0.2, backoff=0.01)
    assert time.monotonic() - begin < 5
    pull(folder, sources=[silent, source.url("/c", send(DATA))], timeout=0.2, backoff=0.01)
    assert_pulled(folder)
    assert source.requests[-1] == ("/c", "bytes=1000-")


def test_trickling_server_is_given_up(source: Source, folder: Path) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        while not source.stop.wait(0.05):
            handler.wfile.write(b"x")

    with pytest.raises(PullError, match="sends less than 1,024 bytes per second"):
        pull(folder, sources=[source.url("/a", trickle)], timeout=0.3, backoff=0.01)


def test_two_pulls_at_once_make_one_download(source: Source, folder: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        began.set()
        go_on.wait(5)
        send(DATA)(handler)

    url = source.url("/a", slow)
    with ThreadPoolExecutor(4) as pool:
        pulls = [pool.submit(pull, folder, sources=[url])]
        assert began.wait(5)
        pulls += [pool.submit(pull, folder, sources=[url]) for _ in range(3)]
        time.sleep(0.2)  # the others reach the lock
        assert not any(one.done() for one in pulls)
        go_on.set()
        assert {one.result(5) for one in pulls} == {folder / "toy.onnx"}
    assert_pulled(folder)
    assert source.requests == [("/a", None)]


def test_waiting_pull_goes_on_where_the_first_one_failed(source: Source, folder: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def failing(handler: BaseHTTPRequestHandler) -> None:
        began.set()
        go_on.wait(5)
        handler.send_error(404)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pull, folder, sources=[source.url("/a", failing)])
        assert began.wait(5)
        second = pool.submit(pull, folder, sources=[source.url("/b", send(DATA))])
        time.sleep(0.2)
        go_on.set()
        with pytest.raises(PullError, match="HTTP 404"):
            first.result(5)
        assert second.result(5).read_bytes() == DATA
    assert_pulled(folder)


def test_unreachable_and_unsupported_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port  # free again after this block
    with pytest.raises(PullError) as caught:
        pull(
            folder,
            sources=[f"http://127.0.0.1:{port}/a", f"file://{folder}/model.toml", "http://["],
            backoff=0.01,
        )
    refused, scheme, malformed = str(caught.value).splitlines()[1:4]
    assert "Connection refused" in refused
    assert "is not an http:// or https:// URL" in scheme
    assert "Invalid IPv6 URL" in malformed


def test_from_file(folder: Path, tmp_path: Path) -> None:
    brought = tmp_path / "brought.onnx"
    brought.write_bytes(DATA)
    part_of(folder).write_bytes(OTHER[:1000])
    assert main([str(folder), "--from-file", str(brought)]) == 0
    assert_pulled(folder)
    assert brought.read_bytes() == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OTHER, "its sha256 is"),
        (DATA[:-1], "it has 599,999 bytes, 600,000 are expected"),
        (None, "it cannot be read: No such file or directory"),
    ],
    ids=["wrong", "short", "missing"],
)
def test_from_file_that_is_not_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes | None, message: str
) -> None:
    brought = tmp_path / "brought.onnx"
    if data is not None:
        brought.write_bytes(data)
    assert main([str(folder), "--from-file", str(brought)]) == 1
    assert message in capsys.readouterr().err
    assert files(folder) == {"model.toml"}


def test_command_line_errors(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "neither a model here" in capsys.readouterr().err
    assert main([str(folder)]) == 1
    assert "names no [file] sources and no --source was given" in capsys.readouterr().err


def test_full_disk_keeps_the_part(source: Source, folder: Path) -> None:
    """A file size limit fails writes in the kernel as a full disk does; here one byte before the end."""
    url = source.url("/a", send(DATA))
    limited = (
        "import resource, sys; from models.pull import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (599_999, 599_999)); sys.exit(main(sys.argv[1:]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", limited, folder, "--source", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "cannot be written: [Errno 27] File too large" in ended.stderr
    assert f"kept in {part_of(folder)}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert part_of(folder).read_bytes() == DATA[:-1]
    pull(folder, sources=[url])
    assert_pulled(folder)
    assert source.requests == [("/a", None), ("/a", "bytes=599999-")]


@pytest.mark.usefixtures("interruptible")
def test_interrupted_command_goes_on(source: Source, folder: Path) -> None:
    url = source.url("/a", hanging(source, DATA[:300_000]), send(DATA))
    command = [sys.executable, "-m", "models.pull", str(folder), "--source", url]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not part_of(folder).exists() or part_of(folder).stat().st_size < 300_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0
    assert_pulled(folder)
    assert source.requests == [("/a", None), ("/a", "bytes=300000-")]


def test_killed_command_goes_on(source: Source, folder: Path) -> None:
    """kill -9: what came is kept, the lock is nobody's, and the same command fetches the rest alone."""
    url = source.url("/a", hanging(source, DATA[:300_000]), send(DATA))
    command = [sys.executable, "-m", "models.pull", str(folder), "--source", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not part_of(folder).exists() or part_of(folder).stat().st_size < 300_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert files(folder) == {"model.toml", "toy.onnx.part"}
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0
    assert_pulled(folder)
    assert source.requests == [("/a", None), ("/a", "bytes=300000-")]


def test_what_a_hostile_server_says_is_shown_escaped(
    source: Source, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(404, "gone\x1b[2J")
        handler.end_headers()

    assert main([str(folder), "--source", source.url("/a", reply)]) == 1
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert "HTTP 404 gone\\x1b[2J" in error


def test_mobilenetv2_manifest() -> None:
    model = manifest.read(manifest.folder_of("mobilenetv2"))
    assert len(model.file.sources) == 2
    assert all(url.startswith("https://") for url in model.file.sources)
    assert len(set(model.labels)) == model.outputs[0].shape[1] == 1000
    known = {0: "tench", 88: "macaw", 285: "Egyptian cat", 985: "daisy", 999: "toilet tissue"}
    assert {index: model.labels[index] for index in known} == known
