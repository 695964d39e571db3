"""The emulator: fetched and verified, started, used and ended, with AWS's real binary and toy handlers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from infra import processes, rie
from infra.emulator import AWSLAMBDARIC, EVENT_LIMIT, Emulator, EmulatorError

TOY = """
import os, time
print("toy loaded", flush=True)
calls = 0

def handler(event, context):
    global calls
    calls += 1
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "answer_bytes" in event:
        return "x" * (event["answer_bytes"] - 2)
    if "environ" in event:
        return dict(os.environ)
    milliseconds = context.get_remaining_time_in_millis()
    return {"echo": event, "calls": calls, "pid": os.getpid(), "cwd": os.getcwd(),
            "name": context.function_name, "milliseconds": milliseconds}
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "toy.py").write_text(TOY)
    return tmp_path


def call(emulator: Emulator, **event: Any) -> Any:
    return json.loads(emulator.invoke(event))


def is_alive(pid: int) -> bool:
    """False for a zombie too: it waits for its new parent only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: list[int], seconds: float = 5.0) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def test_function_is_imported_once_at_its_first_invocation(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        assert "toy loaded" not in emulator.log_text()
        first = call(emulator, question="grüße")
        second = json.loads(emulator.invoke(b'{"question": 2}'))
        log = emulator.log_text()
    assert (first["echo"], first["calls"]) == ({"question": "grüße"}, 1)
    assert (second["echo"], second["calls"]) == ({"question": 2}, 2)
    assert first["cwd"] == str(toy)
    assert first["name"] == "zeroserve"
    assert 29_000 < second["milliseconds"] <= 30_000
    assert log.count("toy loaded") == 1
    assert log.count("REPORT RequestId") == 2


def test_environment_is_lambdas_and_what_was_given(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAY_VARIABLE", "1")
    env = {"MODEL": "digits", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
    with Emulator("toy.handler", client=AWSLAMBDARIC, env=env, cwd=toy) as emulator:
        environ = call(emulator, environ=True)
    assert "STRAY_VARIABLE" not in environ
    assert environ["MODEL"] == "digits"
    assert environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environ["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert environ["LAMBDA_TASK_ROOT"] == str(toy)
    assert environ["_HANDLER"] == "toy.handler"


def test_threads_take_turns(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: call(emulator, n=n, sleep=0.002), range(40)))
    assert [answer["echo"]["n"] for answer in answers] == list(range(40))
    assert sorted(answer["calls"] for answer in answers) == list(range(1, 41))


def test_failures_of_the_function_are_answers_and_the_next_call_works(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        raised = call(emulator, **{"raise": "no luck"})
        assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", "no luck")
        assert call(emulator, exit=3)["errorType"] == "Runtime.ExitError"
        assert call(emulator)["calls"] == 1
        assert len(emulator.invoke({"answer_bytes": EVENT_LIMIT})) == EVENT_LIMIT
        assert call(emulator, answer_bytes=EVENT_LIMIT + 1)["errorType"] == "Function.ResponseSizeTooLarge"
        assert call(emulator)["calls"] == 1
    with Emulator("absent.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        assert call(emulator)["errorType"] == "Runtime.ImportModuleError"


def test_longest_event_arrives_whole_and_a_longer_one_is_refused(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        filling = "x" * (EVENT_LIMIT - len('{"raise":"","filling":""}'))
        event = json.dumps({"raise": "", "filling": filling}, separators=(",", ":")).encode()
        assert len(event) == EVENT_LIMIT
        assert json.loads(emulator.invoke(event))["errorType"] == "ValueError"
        with pytest.raises(EmulatorError, match=f"{EVENT_LIMIT + 1} bytes.*at most {EVENT_LIMIT}"):
            emulator.invoke(event + b" ")
        assert call(emulator, n=1)["echo"] == {"n": 1}


def test_time_limit_of_the_function(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy, env={"AWS_LAMBDA_FUNCTION_TIMEOUT": "5"}) as emulator:
        with pytest.raises(EmulatorError, match="AWS_LAMBDA_FUNCTION_TIMEOUT of 5 s"):
            emulator.invoke({"sleep": 60})
        assert call(emulator)["calls"] == 1


def test_time_limit_of_the_caller_ends_the_emulator(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        pids = [emulator.pid, call(emulator)["pid"]]
        with pytest.raises(EmulatorError, match=r"did not answer within 0\.2 s"):
            emulator.invoke({"sleep": 20}, timeout=0.2)
        assert wait_until_gone(pids) == []
        with pytest.raises(EmulatorError, match="RIE is gone"):
            emulator.invoke({})


def test_dead_emulator_is_reported_with_its_log_and_leaves_no_function(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        function = call(emulator)["pid"]
        killer = threading.Timer(0.3, os.kill, (emulator.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(EmulatorError, match=r"(?s)broke off.*exit code -9.*toy loaded"):
            emulator.invoke({"sleep": 20})
        killer.join()
        assert is_alive(function)  # busy, it has not noticed yet
        with pytest.raises(EmulatorError, match="RIE is gone"):
            emulator.invoke({})
    assert wait_until_gone([function]) == []


def test_end_leaves_no_process_and_frees_the_ports(toy: Path) -> None:
    with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
        function = call(emulator)["pid"]
        pids = emulator.pids()
        ports = processes.listening_ports(emulator.pid)
    assert sorted(pids) == sorted([emulator.pid, function])
    assert wait_until_gone(pids, 0) == []
    assert emulator.pids() == []
    assert len(ports) == 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_killed_parent_takes_the_emulator_along(toy: Path) -> None:
    code = (
        "import json, time; from pathlib import Path; from infra.emulator import Emulator\n"
        f"with Emulator('toy.handler', client=('-m', 'awslambdaric'), cwd=Path({str(toy)!r})) as emulator:\n"
        "    emulator.invoke({}); print(json.dumps(emulator.pids()), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=rie.ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pids = json.loads(parent.stdout.readline())
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        parent.kill()
    assert wait_until_gone(pids) == []


def test_two_emulators_side_by_side(toy: Path, tmp_path: Path) -> None:
    log = tmp_path / "rie.log"
    with (
        Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy, log=log) as one,
        Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as other,
    ):
        answers = [call(one), call(other), call(one)]
    assert answers[0]["pid"] == answers[2]["pid"] != answers[1]["pid"]
    assert [answer["calls"] for answer in answers] == [1, 1, 2]
    assert log.read_text().count("REPORT RequestId") == 2


@pytest.mark.parametrize("which", [0, 1])
def test_port_taken_meanwhile_is_given_up(toy: Path, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        ports = [processes.free_port() for _ in range(4)]
        ports[which] = taken
        monkeypatch.setattr(processes, "free_port", lambda: ports.pop(0))
        with Emulator("toy.handler", client=AWSLAMBDARIC, cwd=toy) as emulator:
            assert ports == []
            assert taken not in processes.listening_ports(emulator.pid)
            assert call(emulator)["calls"] == 1


def test_emulator_that_cannot_start(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = toy / "rie"
    broken.write_text("#!/bin/sh\necho out of order; exit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr(rie, "ensure", lambda: broken)
    with pytest.raises(EmulatorError, match=r"(?s)exit code 7.*out of order"), Emulator(cwd=toy):
        pass
    with pytest.raises(FileNotFoundError, match="nowhere"), Emulator(cwd=toy / "nowhere"):
        pass


def wheel_with(content: bytes, folder: Path) -> Path:
    wheel = folder / "aws_sam_cli-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for architecture in ("x86_64", "arm64"):
            archive.writestr(f"samcli/local/rapid/aws-lambda-rie-{architecture}", content)
    return wheel


def test_binary_is_fetched_once_and_again_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = []

    def download(folder: Path) -> Path:
        downloads.append(folder)
        return wheel_with(b"emulator", folder)

    pin = hashlib.sha256(b"emulator").hexdigest()
    monkeypatch.setattr(rie, "_SHA256", {"x86_64": pin, "arm64": pin})
    monkeypatch.setattr(rie, "_download", download)
    cache = tmp_path / "cache" / "rie"
    binary = rie.ensure(cache)
    assert binary.read_bytes() == b"emulator"
    assert binary.stat().st_mode & 0o777 == 0o755
    assert rie.ensure(cache) == binary
    assert len(downloads) == 1
    binary.write_bytes(b"emulatoR")
    assert rie.ensure(cache).read_bytes() == b"emulator"
    assert len(downloads) == 2
    assert list(cache.iterdir()) == [binary]

    monkeypatch.setattr(rie, "_download", lambda folder: wheel_with(b"another", folder))
    binary.unlink()
    with pytest.raises(rie.RieError, match=f"sha256 {hashlib.sha256(b'another').hexdigest()}, expected {pin}"):
        rie.ensure(cache)
    assert list(cache.iterdir()) == []


def test_real_download_has_both_pinned_binaries(tmp_path: Path) -> None:
    with zipfile.ZipFile(rie._download(tmp_path)) as wheel:
        for architecture, pin in rie._SHA256.items():
            content = wheel.read(f"samcli/local/rapid/aws-lambda-rie-{architecture}")
            assert hashlib.sha256(content).hexdigest() == pin


def test_failed_download_names_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(rie.RieError, match=r"(?s)aws-sam-cli.*type: .* -m infra\.rie"):
        rie.ensure(tmp_path)


@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("darwin", "arm64")])
def test_other_machines_are_told(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(rie.RieError, match=f"this is {system} {machine}"):
        rie.ensure()
