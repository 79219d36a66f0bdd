"""What SLURM's refusals and pending jobs are answered by, from what its commands printed."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from study.sweeping.slurm_limits import remedy, shortage

SINFO = """\
main*|2|2|4000|(null)|idle
high|2|2|4000|(null)|idle
gpu|1|64|512000|gpu:a100:4|mixed
gpu|1|64|512000|gpu:a100:4|down
"""
JOB = (
    "JobId=12 ArrayJobId=12 ArrayTaskId=0-3%256 JobName=study-mine UserId=me(1000) Priority=1 "
    "JobState=PENDING Reason=Resources Dependency=(null) Requeue=1 Partition=gpu "
    "AllocNode:Sid=login:7 NodeList=(null) NumNodes=1 NumCPUs=8 NumTasks=1 CPUs/Task=8 "
    "TRES=cpu=8,mem=900G,node=1,billing=8,gres/gpu=1 Socks/Node=* MinMemoryNode=900G\n"
)
SAID = {
    "sinfo": SINFO,
    "scontrol show config": "MaxArraySize            = 1001\nMaxJobCount = 10000\n",
    "scontrol --oneliner": JOB,
    "squeue": "3_0\n3_1\n4\n",
    "sacctmgr --noheader --parsable2 show assoc": "other|5||normal\nphysics|40|long|long,normal\n",
    "sacctmgr --noheader --parsable2 show qos": "normal|\nlong|20\n",
}


class Job(NamedTuple):
    id: str
    state: str
    reason: str


def ask(*command: str) -> str:
    (said,) = [text for start, text in SAID.items() if " ".join(command).startswith(start)]
    return said


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        (
            "Batch job submission failed: Invalid job array specification",
            ": an array has 1001 jobs at most, give workers=1001",
        ),
        (
            "AssocMaxSubmitJobLimit; Batch job submission failed: Job violates accounting/QOS "
            "policy (job submit limit, user's size and/or time limits)",
            ": you may have 40 jobs at a time, and 3 are there: give workers=37",
        ),
        (
            "QOSMaxSubmitJobPerUserLimit; Batch job submission failed: Job violates accounting/QOS "
            "policy (job submit limit, user's size and/or time limits)",
            ": you may have 20 jobs at a time, and 3 are there: give workers=17",
        ),
        (
            "Batch job submission failed: Requested node configuration is not available",
            ": partition main has 2 nodes (idle) of 2 cores and 4000 MB: ask for less by "
            "hydra.launcher.mem_gb, cpus_per_task or gpus_per_node",
        ),
        ("Batch job submission failed: Invalid account", ""),
    ],
)
def test_what_would_be_accepted(complaint: str, expected: str) -> None:
    assert remedy(complaint, ask, partition=None, account="physics") == expected


def test_no_room_at_all() -> None:
    said = remedy("AssocMaxSubmitJobLimit", ask, partition=None, account="other")
    assert said == ": you may have 5 jobs at a time, and 3 are there: give workers=2"
    few = {**SAID, "sacctmgr --noheader --parsable2 show assoc": "other|3||normal\n"}

    def ask_again(*command: str) -> str:
        return next(text for start, text in few.items() if " ".join(command).startswith(start))

    said = remedy("AssocMaxSubmitJobLimit", ask_again, partition=None, account=None)
    assert said == ": you may have 3 jobs at a time, and 3 are there: wait until some have left"


def test_what_waiting_jobs_ask_for() -> None:
    for reason in ("Resources", "ReqNodeNotAvail, UnavailableNodes:n1", "BadConstraints"):
        assert shortage([Job("12_[0-3]", "PENDING", reason)], ask) == (
            "a worker asks for cpu=8, mem=900G, gres/gpu=1; partition gpu has 1 nodes (mixed) of "
            "64 cores and 512000 MB, gpu:a100:4, 1 nodes (down) of 64 cores and 512000 MB, "
            "gpu:a100:4"
        )
    by_cores = JOB.replace("mem=900G,", "")
    said = shortage(
        [Job("12", "PENDING", "Resources")],
        lambda *command: by_cores if command[0] == "scontrol" else "",
    )
    assert said == "a worker asks for cpu=8, gres/gpu=1, mem=900G"
    assert shortage([Job("12_0", "PENDING", "Priority")], ask) == ""
    assert shortage([Job("1", "RUNNING", "None"), Job("2", "PENDING", "Resources")], ask) == ""
    assert shortage([], ask) == ""
