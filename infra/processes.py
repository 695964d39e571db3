"""Ports and processes of this machine, as the kernel shows them in /proc (Linux only, like the emulator)."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago; another process may take it next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening_ports(pid: int) -> set[int]:
    """Return the IPv4 TCP ports that a process listens on (proc_net_tcp.rst of Linux), none if it is gone."""
    try:
        sockets = {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
        rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:  # the process has ended, or closed a file meanwhile
        return set()
    ports = set()
    for row in rows:
        columns = row.split()
        if columns[3] == "0A" and f"socket:[{columns[9]}]" in sockets:
            ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports


def session_members(session: int) -> list[int]:
    """Return the processes of a session that have not ended (proc(5), /proc/pid/stat: state and session)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name may hold spaces and brackets; the columns start after the last one.
            columns = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(columns[3]) == session and columns[0] not in "ZX":
            members.append(int(stat.parent.name))
    return members


def kill(pid: int) -> None:
    """SIGKILL a process, unless it has ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
