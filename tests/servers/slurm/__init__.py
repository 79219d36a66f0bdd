"""A private SLURM of two nodes on this machine, from Debian's packages.

Knows: the daemons (munged, mariadbd, slurmdbd, slurmctld, a slurmd a node), all in the foreground
as children of this process, on ports of 127.0.0.1. Does not know: what is submitted.

Jobs of the partition `high` preempt those of `main`, which are requeued. No systemd and no cgroups:
memory and cores are counted, not enforced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.servers import SBIN, need

PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch")
PACKAGES = "slurm-wlm munge slurmdbd mariadb-server-core"
NODES = ("n1", "n2")
CPUS = 2  # a node; more than the machine has, if need be
PATIENCE = 60.0  # seconds for a daemon to come up


@dataclasses.dataclass
class Cluster:
    """A running cluster. `home` holds its configuration, data and logs."""

    home: Path
    ports: dict[str, int]
    daemons: dict[str, subprocess.Popen[bytes]] = dataclasses.field(default_factory=dict)

    @property
    def configuration(self) -> Path:
        return self.home / "slurm.conf"

    def environment(self) -> dict[str, str]:
        """What a command needs to find this cluster and no other."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        return {**plain, "SLURM_CONF": str(self.configuration), "PATH": SBIN}

    def run(self, *command: str) -> str:
        """A SLURM command's output. **Raises:** `AssertionError` with what it complained of."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def jobs(self, fields: str = "%i %T") -> list[str]:
        """What is in the queue, one line a job or array task."""
        return self.run("squeue", "--noheader", "--array", "--format", fields).splitlines()

    def start_node(self, name: str) -> None:
        self._start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name: str, *, with_jobs: bool) -> None:
        """Kill a node's daemon; `with_jobs` also all that runs there, as a loss of power would."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()
        if with_jobs:
            for process in self._on(name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def _on(self, node: str) -> list[psutil.Process]:
        """Step daemons (by their command) and whatever they started (by its environment)."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                steps = process.name() == "slurmstepd"
                here = process.environ()
                if here.get("SLURM_CONF") == str(self.configuration) and (
                    here.get("SLURMD_NODENAME") == node or (steps and f"{node}" in here.values())
                ):
                    found.append(process)
        return found

    def start(self) -> None:
        """All daemons, each when the one it needs is there."""
        self._start_munge()
        self._start_database()
        self._start("slurmdbd", "slurmdbd", "-D")
        self._wait("slurmdbd", lambda: self._works("sacctmgr", "--noheader", "show", "cluster"))
        self.run("sacctmgr", "--immediate", "add", "cluster", "study")
        self._start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            self.start_node(name)
        self._wait("the nodes", self.idle)

    def idle(self) -> bool:
        """Whether all nodes wait for work."""
        states = self._said("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t")
        return states.split() == ["idle"] * len(NODES)

    def stop(self) -> None:
        """End every job and daemon."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.run("scancel", "--full", "--user", getpass.getuser())
            self._until(lambda: not self.jobs(), 15.0)
        for node in NODES:
            for process in self._on(node):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        for daemon in reversed(self.daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()

    def _start_munge(self) -> None:
        key = self.home / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        places = {"key-file": key, "socket": self.home / "munge.sock"}
        places |= {"pid-file": self.home / "munge.pid", "log-file": self.home / "munge.log"}
        places |= {"seed-file": self.home / "munge.seed"}
        self._start("munged", "munged", "--foreground", *(f"--{k}={v}" for k, v in places.items()))
        self._wait("munged", (self.home / "munge.sock").exists)

    def _start_database(self) -> None:
        data, user = self.home / "data", getpass.getuser()
        data.mkdir(mode=0o700)
        password = secrets.token_hex()
        options = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
        # slurmdbd asks for these; small, since all of it is
        options += ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]
        scripts = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
        schema = ["CREATE DATABASE IF NOT EXISTS mysql;", "USE mysql;"]
        schema += [f'SET @auth_root_socket="{user}";']
        schema += [(Path("/usr/share/mysql") / name).read_text() for name in scripts]
        made = subprocess.run(
            ["mariadbd", *options, "--bootstrap"],
            input="\n".join(schema),
            capture_output=True,
            text=True,
            env=self.environment(),
        )
        assert made.returncode == 0, made.stderr
        account = data / "account.sql"
        account.write_text(
            f"CREATE DATABASE slurm;\nCREATE USER slurm@127.0.0.1 IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON slurm.* TO slurm@127.0.0.1;\n"
        )
        options += [f"--init-file={account}", f"--socket={self.home / 'db.sock'}"]
        options += [f"--port={self.ports['database']}", "--bind-address=127.0.0.1"]
        self._start("database", "mariadbd", *options, "--skip-name-resolve")
        self._wait("database", lambda: _answers(self.ports["database"]))
        self._configure(password)

    def _configure(self, password: str) -> None:
        home, host, user = self.home, socket.gethostname().partition(".")[0], getpass.getuser()
        database = self.home / "slurmdbd.conf"
        database.touch(mode=0o600)
        database.write_text(
            f"""
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={self.ports["slurmdbd"]}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
LogFile={home}/slurmdbd.log
PidFile={home}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self.ports["database"]}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""
        )
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.ports[name]} "
            f"CPUs={CPUS} RealMemory=8000"
            for name in NODES
        )
        # cred_expire is also how long a requeued job is held; two minutes by default
        self.configuration.write_text(
            f"""
ClusterName=study
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={self.ports["slurmctld"]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={home}/munge.sock,cred_expire=5
StateSaveLocation={home}/state
SlurmctldPidFile={home}/slurmctld.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdPidFile={home}/%n.pid
SlurmdLogFile={home}/%n.log
SlurmdSpoolDir={home}/spool.%n
SlurmdParameters=config_overrides
SlurmdTimeout=15
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
KillWait=20
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={self.ports["slurmdbd"]}
AccountingStoragePass={home}/munge.sock
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=INFINITE PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL State=UP MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""
        )

    def _start(self, name: str, *command: str) -> None:
        log = self.home / f"{name}.said"
        with open(log, "a") as file:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment(),
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def _said(self, *command: str) -> str:
        """A command's output; nothing where it fails."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=30
        )
        return done.stdout if done.returncode == 0 else ""

    def _works(self, *command: str) -> bool:
        done = subprocess.run(command, env=self.environment(), capture_output=True, timeout=30)
        return done.returncode == 0

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        if not self._until(ready, PATIENCE):
            logs = "\n".join(
                f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
                for path in (*self.home.glob("*.said"), *self.home.glob("*.log"))
            )
            raise AssertionError(f"SLURM did not start: {what}\n{logs}")

    def _until(self, ready: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ready():
                return True
            time.sleep(0.1)
        return False


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A new, idle cluster, gone afterwards."""
    need(PROGRAMS, PACKAGES)
    # munge wants no folder above its socket to be writable for others; a sticky one is fine
    home = Path(tempfile.mkdtemp(prefix="study-slurm-"))
    home.chmod(0o755)
    (home / "state").mkdir()
    for name in NODES:
        (home / f"spool.{name}").mkdir()
    names = ("database", "slurmdbd", "slurmctld", *NODES)
    made = Cluster(home, dict(zip(names, _free_ports(len(names)), strict=True)))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
