"""Run a Python Lambda function in AWS's runtime emulator (RIE) on this machine."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from infra import processes, rie

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

# RIE cuts a longer event without a word; it is also the longest answer that Lambda and RIE let through.
EVENT_LIMIT = 6 * 1024 * 1024 + 100

# Arguments of the interpreter that runs a handler: by our own runtime client, or by AWS's.
BOOTSTRAP = ("-S", "-c", "from function.bootstrap import main; main()")
AWSLAMBDARIC = ("-m", "awslambdaric")

_INVOKE_PATH = "/2015-03-31/functions/function/invocations"
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_ATTEMPTS = 5


class EmulatorError(RuntimeError):
    """The emulator did not start, broke, or was asked for something that it cannot do."""


class Emulator:
    """A Lambda function in the real runtime emulator, from `with` to the end of its block.

    The function is Python's `handler` under `client`, or with `command` any program that speaks the runtime API.

    As on Lambda, the function is imported at the first invocation. `env` is added to (and wins over)
    the small environment that Lambda gives a function; nothing else of this process's reaches it.
    `cwd` is where `handler` ("package.module.function") is imported from. `log` takes all that RIE and
    the function print; without it, a temporary file does until the end of the block.
    The constructor fetches RIE when it is missing, so that entering the block times only its start.
    Raises infra.rie.RieError, and EmulatorError when RIE does not start.
    """

    def __init__(  # noqa: PLR0913
        self,
        handler: str = "function.handler.handler",
        env: Mapping[str, str] = {},
        cwd: Path = rie.ROOT,
        python: str = sys.executable,
        log: Path | None = None,
        *,
        client: Sequence[str] = BOOTSTRAP,
        command: Sequence[str] = (),
    ) -> None:
        self._runtime = list(command) or [python, *client, handler]
        self._rie = rie.ensure()
        self._cwd = cwd
        self._env = _function_environment(cwd) | dict(env)
        if "-S" in client and not command:
            self._env["PYTHONPATH"] = python_path(self._env.get("PYTHONPATH", ""))
        self._log_path = log
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._log = self._log_path.open("w+b") if self._log_path else tempfile.TemporaryFile()
        try:
            self._start()
        except BaseException:
            self._log.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_processes()
        self._log.close()

    @property
    def pid(self) -> int:
        """The process id of RIE; the function runs in a child of it (see `pids`)."""
        return self._process.pid

    def pids(self) -> list[int]:
        """The living processes of this emulator: RIE, the function, and what the function started."""
        return processes.session_members(self._process.pid)

    def log_text(self) -> str:
        """All that RIE and the function have printed so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def invoke(self, event: bytes | Mapping[str, Any], timeout: float = 60.0) -> bytes:
        """Send one event (JSON bytes, or an object to encode) and return the function's answer, JSON bytes.

        A function that fails answers too: `{"errorMessage", "errorType", ...}`, as Lambda's Invoke does.
        Calls from several threads are done one after the other, for RIE dies of two at a time.
        `timeout` bounds the wait in seconds; when it passes, the emulator is ended.
        Raises EmulatorError: an event over EVENT_LIMIT bytes, no answer in time, or RIE is gone.
        """
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        if len(payload) > EVENT_LIMIT:
            raise EmulatorError(
                f"the event has {len(payload)} bytes, Lambda and its emulator take at most {EVENT_LIMIT}. "
                "Send a smaller body: binary tensors are shorter than JSON ones"
            )
        with self._lock:
            return self._exchange(payload, timeout)

    def _exchange(self, payload: bytes, timeout: float) -> bytes:
        if self._process.poll() is not None:
            raise EmulatorError(self._describe("RIE is gone"))
        # A kept connection costs 0.77 ms an invocation, a fresh one 1.07 ms.
        self._connection.timeout = timeout
        if self._connection.sock:
            self._connection.sock.settimeout(timeout)
        try:
            self._connection.request("POST", _INVOKE_PATH, payload)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except TimeoutError:
            # RIE still runs this invocation and would die of the next one.
            problem = self._describe(f"the function did not answer within {timeout} s, so its emulator was ended")
            self._end_processes()
            raise EmulatorError(problem) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            with suppress(subprocess.TimeoutExpired):  # so that the message has its exit code and last words
                self._process.wait(1)
            raise EmulatorError(self._describe(f"RIE broke off the invocation ({error!r})")) from error
        # RIE's own words, not JSON. The next invocation starts a new function process.
        if answer.startswith(b"Task timed out after "):
            limit = self._env["AWS_LAMBDA_FUNCTION_TIMEOUT"]
            raise EmulatorError(f"the function ran longer than its AWS_LAMBDA_FUNCTION_TIMEOUT of {limit} s")
        # 502 carries the error object of a function that could not be imported, exited or answered too much.
        if status not in (200, 502) or not answer:
            raise EmulatorError(self._describe(f"RIE answered HTTP {status} with {len(answer)} bytes"))
        return answer

    def _start(self) -> None:
        for _ in range(_ATTEMPTS):
            self._launch(processes.free_port(), processes.free_port())
            try:
                if self._wait_until_listening():
                    return
                problem = self._describe("RIE ended at its start")
            except BaseException:
                self._end_processes()
                raise
            self._end_processes()
            # Between our choice of a port and RIE's use of it another process can take it.
            if "address already in use" not in self.log_text():
                break
            self._log.truncate(0)
            self._log.seek(0)
        raise EmulatorError(problem)

    def _launch(self, port: int, runtime_api_port: int) -> None:
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
        addresses += ["--runtime-api-address", f"127.0.0.1:{runtime_api_port}"]
        self._ports = {port, runtime_api_port}
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        # A session of its own: RIE gives the function another process group, but leaves the session.
        self._process = subprocess.Popen(
            [str(self._rie), *addresses, *self._runtime],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Ends RIE when this process dies, however it dies: the pipe that `read` waits on is then closed.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read line; kill "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_listening(self) -> bool:
        """True when RIE itself listens on both ports, False when it has ended."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            # Not a trial connection: a stranger who took the port first would answer that one too.
            if self._ports <= processes.listening_ports(self._process.pid):
                return True
            time.sleep(0.001)
        raise EmulatorError(self._describe(f"RIE did not listen within {_START_SECONDS} s"))

    def _end_processes(self) -> None:
        """SIGTERM, on which RIE ends the function too, then SIGKILL for whoever is left. May be repeated."""
        self._connection.close()
        self._process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        # A function whose RIE has crashed lives on, so the whole session is searched.
        while (left := self.pids()) and time.monotonic() < deadline + _STOP_SECONDS:
            for pid in left:
                processes.kill(pid)
            time.sleep(0.001)
        self._process.wait()
        self._guard.kill()
        self._guard.communicate()

    def _describe(self, problem: str) -> str:
        code = self._process.poll()
        state = "" if code is None else f" (exit code {code})"
        tail = "\n".join(self.log_text().splitlines()[-20:])
        return f"{problem}{state}. The end of its log:\n{tail}"


def python_path(*folders: str) -> str:
    """PYTHONPATH with these folders, and with this environment's packages, which `site` would find."""
    packages = [path for path in sys.path if path.endswith("-packages")]
    return os.pathsep.join(filter(None, [*folders, *packages]))


def _function_environment(cwd: Path) -> dict[str, str]:
    """What Lambda gives every function, without credentials.

    RIE adds AWS_LAMBDA_RUNTIME_API, _HANDLER, the log group and stream, and empty AWS credentials.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": str(cwd),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "zeroserve",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        # One vCPU on Lambda.
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
        # Always set on Lambda, never by RIE.
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }
