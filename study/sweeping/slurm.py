"""A study's workers as jobs of SLURM: submitted, watched, cancelled, requeued.

The queue is the only record of them: any head finds a study's jobs by their name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study.config.errors import ConfigError, first_line
from study.sweeping import slurm_limits
from study.sweeping.folder import StudyError, StudyFolder
from study.sweeping.local import Preempted
from study.sweeping.monitor import Monitor
from study.sweeping.plan import Plan
from study.sweeping.storage import LostError

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
PREEMPTED = 3  # a worker's status when it was asked to leave
PATIENCE = 60.0  # seconds for SLURM to answer
POLL = 1.0  # seconds between looks at the study
ASK = 10.0  # seconds between questions to SLURM, which serves many
_OURS = ("_target_", "submitit_folder", "max_num_timeout", "name", "nodes", "tasks_per_node")
_CLUSTERS = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")  # where SLURM is, and who asks
LEAVE = 30.0  # seconds for workers that are done, or told to leave, to be gone


@dataclasses.dataclass(frozen=True)
class Work:
    """What a job does: one worker, requeued if it is told to leave."""

    work: Callable[[str], object]  # runs a worker on a study's folder
    root: str  # that folder, which all nodes see under the same name
    environment: Mapping[str, str]  # variables of Hydra's `job.env_set`

    def __call__(self, number: int) -> None:
        os.environ.update(self.environment)
        try:
            self.work(self.root)
        except Preempted:
            # not RUNNING: SLURM itself requeues it, or its user has cancelled it, and to requeue it
            # would bring it back to life
            job = os.environ["SLURM_JOB_ID"]
            with contextlib.suppress(NoAnswer):
                states = _ask("squeue", "--noheader", f"--jobs={job}", "--format=%A %T")
                if f"{job} RUNNING" in states.splitlines():
                    _ask("scontrol", "requeue", job)
            sys.exit(PREEMPTED)
        except (StudyError, ConfigError, LostError) as error:
            sys.exit(f"error: {error}")

    def checkpoint(self, number: int) -> DelayedSubmission:
        """What submitit requeues if it hears a signal before the worker listens."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)


class NoAnswer(Exception):  # noqa: N818  it may answer the next time
    """SLURM does not answer; why, in its own words."""


class Job(NamedTuple):
    """A job in the queue, or a task of an array: `12_3`, `PENDING`, `Resources`."""

    id: str
    state: str
    reason: str

    def __str__(self) -> str:
        state = self.state.lower()
        return f"{state} ({self.reason})" if self.state == "PENDING" else state


class Queue:
    """The jobs of one study, by the `settings` of the launcher; for the rest see `Work`."""

    def __init__(
        self,
        folder: StudyFolder,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
        work: Callable[[str], object],
    ):
        self._folder, self._environment, self._work = folder, environment, work
        if shutil.which("sbatch") is None:
            raise ConfigError(
                "hydra/launcher=submitit_slurm: there is no sbatch here: run on a machine from "
                "which jobs are submitted, or leave the launcher out"
            )
        for key in ("nodes", "tasks_per_node"):
            if settings[key] != 1:
                raise ConfigError(
                    f"hydra.launcher.{key}={settings[key]}: a worker is one task on one node; "
                    "workers=N starts N of them"
                )
        self._settings = {key: value for key, value in settings.items() if key not in _OURS}
        self.logs = Path(settings["submitit_folder"]).absolute()
        if self.logs.is_relative_to(folder.root.absolute()):
            raise ConfigError(
                f"hydra.launcher.submitit_folder={settings['submitit_folder']} lies in the study, "
                "where nothing is unpickled, as submissions are: give a folder beside it"
            )

    @functools.cached_property
    def name(self) -> str:
        """What the study's jobs are called: its name, and what tells it from others of its name."""
        about = f"{self._folder.root} {self._folder.owner()}"
        return f"study-{self._folder.name}-{hashlib.sha256(about.encode()).hexdigest()[:8]}"

    def jobs(self) -> list[Job]:
        """Those that wait, run or end. **Raises:** `NoAnswer`."""
        listing = _ask(
            "squeue", "--noheader", "--array", "--me", f"--name={self.name}", "--format=%i|%T|%r"
        )
        return [Job(*line.strip().split("|", 2)) for line in listing.splitlines() if line.strip()]

    def submit(self, workers: int) -> str:
        """Submit workers as one array, and return its number. **Raises:** `ConfigError`."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        own = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb", "stderr_to_stdout")
        given = {key: value for key, value in self._settings.items() if value is not None}
        more = dict(given.get("additional_parameters", {}))
        without: dict[str, Any] = {}
        if more.pop("use_srun", True) is False:
            # the worker takes the place of the job's shell, and so hears the signals of the job
            without = {"slurm_python": f"exec {shlex.quote(sys.executable)}"}
            more |= {"signal": f"B:USR2@{given.get('signal_delay_s', 120)}"}
            given["use_srun"] = False
        given["additional_parameters"] = more
        parameters = {key if key in own else f"slurm_{key}": given[key] for key in given}
        try:
            executor = submitit.AutoExecutor(
                self.logs, cluster="slurm", slurm_max_num_timeout=sys.maxsize, **without
            )
            executor.update_parameters(name=self.name, **parameters)
            work = Work(self._work, str(self._folder.root), dict(self._environment))
            with _outside():
                jobs = executor.map_array(work, range(workers))
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            complaint, accepted = _complaint(error), ""
            names = {key: self._settings.get(key) for key in ("partition", "account")}
            with contextlib.suppress(NoAnswer):
                accepted = slurm_limits.remedy(complaint, _ask, **names)
            raise ConfigError(f"sbatch refuses the workers: {complaint}{accepted}") from None
        except (NameError, ValueError) as error:  # submitit's, for a setting it does not know
            raise ConfigError(f"hydra.launcher: submitit refuses: {first_line(error)}") from None
        except OSError as error:
            raise ConfigError(
                f"hydra.launcher.submitit_folder={self.logs} cannot be written to: "
                f"{error.strerror or error}"
            ) from None
        return jobs[0].job_id.partition("_")[0]

    def cancel(self, *options: str) -> None:
        """Cancel the study's jobs. **Raises:** `NoAnswer`."""
        _ask("scancel", "--me", f"--name={self.name}", *options)

    def last_words(self) -> str:
        """The last line that one of its jobs wrote."""
        logs = self.logs.parent.glob("*/*_log.out")
        newest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
        text = newest.read_text(errors="replace").strip() if newest else ""
        return text.rpartition("\n")[2].strip()


def attend(plan: Plan, monitor: Monitor, say: Callable[[str], None], *, queue: Queue) -> str:
    """See a study to its end by jobs, which Ctrl-C cancels; returns what went wrong last.

    Missing jobs are submitted at the beginning, and again when none is left and blocks are. If new
    ones bring nothing forward, they get `retries` more chances, one at least. With `detach` it
    returns when they are submitted.

    **Raises:** `ConfigError` if the first ones are refused, or SLURM does not answer at first.
    """
    try:
        return _attend(plan, monitor, say, queue)
    except KeyboardInterrupt:
        say(_cancel_all(queue))
        raise


def _attend(plan: Plan, monitor: Monitor, say: Callable[[str], None], queue: Queue) -> str:
    before, idle, described, trouble, looked = None, 0, Counter(), "", -math.inf
    while not (now := monitor.look()).finished:
        jobs = None
        if time.monotonic() - looked >= ASK:
            looked = time.monotonic()
            try:
                jobs = queue.jobs()
            except NoAnswer as error:
                if before is None:
                    raise ConfigError(f"SLURM does not answer: {error}") from None
        if jobs and described != (described := Counter(map(str, jobs))):
            counts = ", ".join(f"{n} {state}" for state, n in sorted(described.items()))
            say(f"SLURM: {counts}")  # 2 running, 2 pending (Resources)
            with contextlib.suppress(NoAnswer):
                if short := slurm_limits.shortage(jobs, _ask):
                    say(f"SLURM: {short}")
        if jobs == [] and before is not None:
            idle = 0 if now.moved_from(before) else idle + 1
            trouble = f"its jobs have left, and blocks are missing: {queue.last_words()}"
            if idle > max(1, plan.run.retries):
                return trouble
        if jobs is not None and (before is None or not jobs):
            wanted = min(plan.run.workers, now.room) - len(jobs)
            try:
                if wanted > 0:
                    number = queue.submit(wanted)
                    say(f"SLURM: {wanted} workers are job {number}; logs in {queue.logs.parent}")
            except ConfigError as error:
                if before is None:
                    raise
                trouble = str(error)
            before = now
            if plan.run.detach:
                return ""
        time.sleep(POLL)
    # whoever waits need not come, and whoever hangs need not stay
    with contextlib.suppress(NoAnswer):
        queue.cancel("--state=PENDING")
    if not _gone(queue):
        with contextlib.suppress(NoAnswer):
            queue.cancel()
    return trouble


def _cancel_all(queue: Queue) -> str:
    """Cancel the study's jobs and wait; returns what became of them."""
    try:
        jobs = queue.jobs()
        if not jobs:
            return "SLURM: there was no job to cancel"
        queue.cancel()
    except NoAnswer as error:
        by_hand = f"cancel them by: scancel --me --name={queue.name}"
        return f"SLURM does not answer ({error}), so its jobs may go on; {by_hand}"
    names = ", ".join(job.id for job in jobs)
    rest = "" if _gone(queue) else ", and not all of them have left yet"
    return f"SLURM: jobs {names} are cancelled{rest}"


def _gone(queue: Queue) -> bool:
    """Wait a while for the study's jobs to leave; returns whether they have."""
    end = time.monotonic() + LEAVE
    while time.monotonic() < end:
        with contextlib.suppress(NoAnswer):
            if not queue.jobs():
                return True
        time.sleep(POLL)
    return False


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """Hide the variables of the job that this process may run in (salloc, srun --pty): sbatch would
    take them for wishes, and its jobs inherit them."""
    inside = {k: v for k, v in os.environ.items() if k.startswith("SLURM_") and k not in _CLUSTERS}
    for name in inside:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inside)


def _complaint(error: Exception) -> str:
    """What sbatch wrote, without its own name."""
    lines = [line.strip() for line in str(error).splitlines() if "sbatch: error" in line]
    return "; ".join(line.partition("error: ")[2] for line in lines) or str(error).strip()


def _ask(*command: str) -> str:
    """What a command of SLURM's prints. **Raises:** `NoAnswer` if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except OSError as error:
        raise NoAnswer(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} said nothing for {PATIENCE:.0f} s") from None
    if done.returncode:
        raise NoAnswer(" ".join(done.stderr.split()) or f"{command[0]} left with {done.returncode}")
    return done.stdout
