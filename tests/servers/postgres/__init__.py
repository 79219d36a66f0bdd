"""A private PostgreSQL, from Debian's package: its own folder, port and password.

Knows: initdb and pg_ctl. Does not know: what is stored. PostgreSQL refuses to run as root, so root
runs it as `nobody`. It serves on 127.0.0.1 only, and keeps its data when it is restarted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers import need

USER = "study"
DATABASE = "study"
PASSWORD = "Geheim-7c41{x}"  # braces: Optuna takes them for a template
PLACES = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)


@dataclasses.dataclass(frozen=True)
class Server:
    """A running server. `home` holds its data and its log."""

    programs: Path
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=on"
        )
        log = str(self.home / "server.log")
        self._control("start", "-w", "-l", log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: open connections are cut, and the next start recovers."""
        self._control("stop", "-w", "-m", mode)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _control(self, *arguments: str) -> None:
        _run(self.home, str(self.programs / "pg_ctl"), "-D", str(self.home / "data"), *arguments)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A new server with an empty database, gone afterwards."""
    path = os.pathsep.join((*PLACES, os.environ.get("PATH", "")))
    programs = shutil.which("initdb", path=path)
    if programs is None:
        need(["initdb"], "postgresql")
    home = Path(tempfile.mkdtemp(prefix="study-postgres-"))
    made = Server(Path(str(programs)).parent, home, _free_port())
    secret = home / "password"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (home, secret):
            os.chown(path, *_nobody())
    try:
        _run(
            home,
            *(str(programs), "-D", str(home / "data"), "-U", USER, "--pwfile", str(secret)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        )
        made.start()
        try:
            _make_database(made)
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_database(made: Server) -> None:
    import psycopg

    with psycopg.connect(made.url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{DATABASE}"')


def _run(home: Path, *command: str) -> None:
    """As a user who may run PostgreSQL. **Raises:** `AssertionError` with what it said."""
    identity = {}
    if os.geteuid() == 0:
        user, group = _nobody()
        identity = {"user": user, "group": group, "extra_groups": []}
    # to a file: the server it leaves behind would keep a pipe open
    said = home / "said"
    with open(said, "w") as file:
        done = subprocess.run(
            command, cwd=home, stdout=file, stderr=file, stdin=subprocess.DEVNULL, **identity
        )
    assert done.returncode == 0, f"{' '.join(command)}: {said.read_text()}"


def _nobody() -> tuple[int, int]:
    found = pwd.getpwnam("nobody")
    return found.pw_uid, found.pw_gid


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
