"""What a cluster allows: how many jobs it would accept, and what its nodes have.

SLURM's own words say that a limit is passed, or that jobs wait for resources, but not which.
`ask` runs one of its commands and returns what that prints.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

# reasons for which a job may wait for ever; the others (Priority, Dependency) end by themselves
STUCK = (
    "Resources",
    "BadConstraints",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "ReqNodeNotAvail",
    "Nodes required",
)
_ARRAY = "Invalid job array specification"
_SUBMIT = re.compile(r"(Assoc|QOS)\w*Submit\w*Limit|job submit limit", re.IGNORECASE)
_NODES = "Requested node configuration is not available"


class _Job(Protocol):
    """A line of the queue."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...


def remedy(
    complaint: str, ask: Callable[..., str], *, partition: str | None, account: str | None
) -> str:
    """The tail of the sentence for what sbatch refuses: what it would accept; "" if unknown.

    **Raises:** what `ask` raises.
    """
    if _ARRAY in complaint:
        most = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.M)
        return f": an array has {most[1]} jobs at most, give workers={most[1]}" if most else ""
    if limit := _SUBMIT.search(complaint):
        kinds = {"assoc": ["assoc"], "qos": ["qos"]}.get(str(limit[1]).lower(), ["assoc", "qos"])
        limits = (n for kind in kinds for n in _limits(kind, ask, account))
        most = min(limits, default=None)
        if most is None:
            return ""
        there = len(ask("squeue", "--noheader", "--array", "--me", "--format=%i").split())
        room = max(0, most - there)
        jobs = f": you may have {most} jobs at a time, and {there} are there"
        return f"{jobs}: give workers={room}" if room else f"{jobs}: wait until some have left"
    if _NODES in complaint and (nodes := nodes_of(partition, ask)):
        return f": {nodes}: ask for less by hydra.launcher.mem_gb, cpus_per_task or gpus_per_node"
    return ""


def shortage(jobs: Collection[_Job], ask: Callable[..., str]) -> str:
    """What jobs that may wait for ever ask for, and what their partition has; "" if none may.

    **Raises:** what `ask` raises.
    """
    waiting = [job for job in jobs if job.state == "PENDING" and job.reason.startswith(STUCK)]
    if not waiting or len(waiting) < len(jobs):  # some run: the others have their turn
        return ""
    about = ask("scontrol", "--oneliner", "show", "job", waiting[0].id.partition("_")[0])
    wanted = re.search(r"\b(?:Req)?TRES=([^\s(]+)", about)
    partition = re.search(r"\bPartition=(\S+)", about)
    if not wanted:
        return ""
    tres = [word for word in wanted[1].split(",") if not word.startswith(("billing", "node="))]
    memory = re.search(r"\bMinMemory(?:Node|CPU)=([1-9]\S*)", about)
    if memory and "mem=" not in wanted[1]:  # as if cores alone are counted
        tres.append(f"mem={memory[1]}")
    nodes = nodes_of(partition[1] if partition else None, ask)
    return f"a worker asks for {', '.join(tres)}" + (f"; {nodes}" if nodes else "")


def nodes_of(partition: str | None, ask: Callable[..., str]) -> str:
    """The nodes of a partition, the default one if it is None, in words: number, size, state."""
    fields = "--format=%P|%D|%c|%m|%G|%T"
    lines = [line.strip().split("|") for line in ask("sinfo", "--noheader", fields).splitlines()]
    nodes = []
    name = ""
    for line in (line for line in lines if len(line) == 6):
        if line[0].rstrip("*") != partition and not (partition is None and line[0].endswith("*")):
            continue
        name, count, cores, memory, gpus = line[0].rstrip("*"), *line[1:5]
        more = "" if gpus in ("(null)", "") else f", {gpus}"
        nodes.append(f"{count} nodes ({line[5]}) of {cores} cores and {memory} MB{more}")
    return f"partition {name} has {', '.join(nodes)}" if nodes else ""


def _limits(kind: str, ask: Callable[..., str], account: str | None) -> Iterable[int]:
    """How many jobs a user may have submitted by that kind of limit, as far as it is set."""
    show = ("sacctmgr", "--noheader", "--parsable2", "show")
    about = ask(
        *show, "assoc", f"user={getpass.getuser()}", "format=Account,MaxSubmitJobs,DefaultQOS,QOS"
    )
    associations = [line.split("|") for line in about.splitlines() if line.count("|") == 3]
    own = [a for a in associations if a[0] == account] or associations
    if kind == "assoc":
        return [int(a[1]) for a in own if a[1].isdigit()]
    names = {name for a in own for name in (a[2] or a[3]).split(",")}
    listed = ask(*show, "qos", "format=Name,MaxSubmitJobsPerUser").splitlines()
    limits = dict(line.split("|") for line in listed if line.count("|") == 1)
    return [int(limits[name]) for name in names if limits.get(name, "").isdigit()]
