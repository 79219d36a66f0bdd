"""`replicates=auto` from end to end, on a stand-in trial whose noise is known cell by cell.

Claims, decisions, commits, tables and page are real; of a block only the measures are made up.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study import results
from study.sweeping.folder import StudyFolder
from study.sweeping.monitor import Monitor
from study.tables import gather
from tests.sweeping.commands import HERE, TINY, run_here, start, wait_for

# the replicates of a cell scatter log-normally: the standard deviation of the logarithm, by N
NOISE = {20: 0.02, 21: 0.05, 23: 0.5, 42: 0.5}
# runs in each process that trains: one real block each, its errors replaced by draws of known noise
STAND_IN = f"""
import numpy, time
NOISE = {NOISE}
real, made = trial.run_block, []

def run_block(cell, block, **settings):
    if not made:
        made.append(real(cell, block, **settings))
    rows = made[0].replicates
    rows["cell"] = cell.hash
    for key, value in cell.factors().items():
        rows[key] = value
    seeds = cell.block_seeds(block)
    rows["replicate"], rows["data_seed"], rows["init_seed"] = zip(*seeds)
    for r, (replicate, data, _) in enumerate(seeds):
        draw = numpy.random.default_rng([data, cell.n_train]).normal()
        rows.loc[rows.index[r], "test_nmse_median"] = numpy.exp(NOISE[cell.n_train] * draw)
    time.sleep(0.05)
    return trial.BlockResult(rows.to_dict("records"), made[0].points[:0], made[0].weights)

trial.run_block = run_block
"""
COMMAND = (
    *[s for s in TINY if not s.startswith("data.n_train")],
    "study=mine",
    "replicates=auto",
    "block_size=5",
    "optimizer.steps=5",
    "diagnostics.error_budget=false",
    "rollout.horizon=0.5",
    f"data.n_train={','.join(map(str, NOISE))}",
)
PRECISION = 0.25


def end(command: Any, status: int = 0) -> str:
    output, _ = command.communicate(timeout=300)
    assert command.returncode == status, output
    return output


def sweep(folder: Path, *arguments: str, change: str = STAND_IN, status: int = 0) -> str:
    shutil.rmtree(folder / "shim", ignore_errors=True)
    return end(start(folder, *COMMAND, *arguments, change=change), status)


def blocks_of(study: Path) -> dict[int, set[int]]:
    """The finished blocks of each N."""
    found: dict[int, set[int]] = {}
    for folder in gather.block_folders(study):
        rows = pd.read_parquet(folder / "replicates.parquet", columns=["data.n_train"])
        n_train = int(rows["data.n_train"].iloc[0])
        found.setdefault(n_train, set()).add(int(folder.name.removeprefix("block-")))
    return found


def counts(study: Path) -> dict[int, int]:
    found = blocks_of(study)
    for n_train, numbers in found.items():
        assert numbers == set(range(len(numbers))), f"a gap in the blocks of N = {n_train}"
    return {n_train: len(found[n_train]) for n_train in NOISE}


def decisions(study: Path) -> list[dict[str, Any]]:
    return StudyFolder(study).decisions()


def values(n_train: int, n_blocks: int) -> np.ndarray:
    """What the stand-in trial gives, made anew."""
    seeds = range(5 * n_blocks)
    draws = [np.random.default_rng([seed, n_train]).normal() for seed in seeds]
    return np.exp(NOISE[n_train] * np.array(draws))


def half_width(sample: np.ndarray, draws: int = 20_000) -> float:
    """Of the median's percentile bootstrap interval at 95 %, by other draws than the project's."""
    random = np.random.default_rng(7)
    medians = np.median(random.choice(sample, (draws, len(sample))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    middle = np.median(sample)
    return max(high / middle, middle / low) - 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a budget for some of what is wanted, by one worker whom nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep(folder, "auto.budget=5", "auto.most=12", "workers=1")
    return folder / "outputs" / "mine"


def test_noisy_cells_get_more_until_the_precision_is_met(tmp_path: Path) -> None:
    said = sweep(tmp_path, f"auto.precision={PRECISION}", "auto.most=30", "workers=2")
    study = tmp_path / "outputs" / "mine"
    found = counts(study)
    assert found[20] == found[21] == 1, "what one block tells is left alone"
    assert 1 < found[23] < found[42] < 30
    for n_train, n_blocks in found.items():
        # 5 %: the two intervals are of other draws
        assert half_width(values(n_train, n_blocks)) < 1.05 * PRECISION
        if n_blocks > 1:
            assert half_width(values(n_train, n_blocks - 1)) > 0.95 * PRECISION
    rows = results.load(study)
    for n_train, n_blocks in found.items():
        measured = rows.loc[rows["data.n_train"] == n_train, "test_nmse_median"]
        np.testing.assert_array_equal(measured, values(n_train, n_blocks))
    total = sum(found.values())
    assert f"{total} trained, 0 were done before" in said
    now = Monitor(study).look()
    assert now.finished
    assert (now.total, now.done, now.missing, now.added) == (total, total, 0, total - 4)
    assert now.stopped == {"precision reached": 4}


def test_a_budget_goes_to_the_widest_and_is_kept_exactly(undisturbed: Path) -> None:
    found = counts(undisturbed)
    assert sum(found.values()) == len(NOISE) + 5
    assert found[20] == found[21] == 1
    assert found[42] > found[23]
    last = decisions(undisturbed)[-1]["stopped"]
    why = {n_train: last[cell]["why"] for n_train, cell in cells(undisturbed).items()}
    assert why[20] == why[21] == "precision reached"
    assert why[42] == "budget spent"
    # each step asked for the widest of all, by widths found here
    n_of = {cell: n for n, cell in cells(undisturbed).items()}
    have = dict.fromkeys(NOISE, 1)
    for decision in decisions(undisturbed)[:-1]:
        widths = {n: half_width(values(n, k)) for n, k in have.items()}
        asked = [n_of[cell] for cell in decision["asked"]]
        assert max(widths, key=lambda n: widths[n]) in asked
        for n_train in asked:
            have[n_train] += 1
    assert have == found


def cells(study: Path) -> dict[int, str]:
    rows = results.load(study)
    return dict(zip(rows["data.n_train"], rows["cell"], strict=True))


def test_two_workers_do_the_same(undisturbed: Path, tmp_path: Path) -> None:
    sweep(tmp_path, "auto.budget=5", "auto.most=12", "workers=2")
    study = tmp_path / "outputs" / "mine"
    assert blocks_of(study) == blocks_of(undisturbed)
    assert [d.get("asked") for d in decisions(study)] == [
        d.get("asked") for d in decisions(undisturbed)
    ]


def test_killed_and_resumed_it_comes_to_the_same_blocks(undisturbed: Path, tmp_path: Path) -> None:
    study = tmp_path / "outputs" / "mine"
    slow = STAND_IN.replace("time.sleep(0.05)", "time.sleep(0.4)")
    for n_done in (2, 4, 6):
        shutil.rmtree(tmp_path / "shim", ignore_errors=True)
        head = start(tmp_path, *COMMAND, "auto.budget=5", "auto.most=12", "workers=2", change=slow)
        wait_for(lambda n=n_done: len(gather.block_folders(study)) >= n, head)
        head.send_signal(signal.SIGKILL)
        head.wait()
        wait_for(lambda: not Monitor(study).look().running)
        assert len(gather.block_folders(study)) < len(NOISE) + 5
    sweep(tmp_path, "auto.budget=5", "auto.most=12", "workers=2")
    assert blocks_of(study) == blocks_of(undisturbed)
    pd.testing.assert_frame_equal(
        errors(study), errors(undisturbed), check_exact=True, obj="after three kills"
    )


def errors(study: Path) -> pd.DataFrame:
    return results.load(study)[["cell", "replicate", "test_nmse_median"]]


def test_the_same_command_again_runs_nothing_and_a_larger_budget_what_is_new(
    undisturbed: Path, tmp_path: Path
) -> None:
    study = tmp_path / "outputs" / "mine"
    shutil.copytree(undisturbed, study)
    orders = (study / "study.yaml").read_bytes()
    again = sweep(tmp_path, "auto.budget=5", "auto.most=12", "workers=1")
    assert f"0 trained, {len(NOISE) + 5} were done before" in again
    assert (study / "study.yaml").read_bytes() == orders
    before = decisions(study)
    more = sweep(tmp_path, "auto.budget=7", "auto.most=12", "workers=2")
    assert f"2 trained, {len(NOISE) + 5} were done before" in more
    assert decisions(study)[: len(before)] == before
    assert sum(counts(study).values()) == len(NOISE) + 7
    fixed = sweep(tmp_path, "replicates=5", "workers=1")
    assert "0 trained, 4 were done before" in fixed
    assert len(results.load(study)) == 5 * (len(NOISE) + 7), "what is done stays in the tables"


def test_a_failing_cell_attracts_no_blocks(tmp_path: Path) -> None:
    fails = STAND_IN.replace(
        "    if not made:", "    if cell.n_train == 42 and block == 2: 1 / 0\n    if not made:"
    )
    said = sweep(tmp_path, "auto.most=6", "retries=1", "workers=2", change=fails, status=1)
    study = tmp_path / "outputs" / "mine"
    found = blocks_of(study)
    assert found[42] == {0, 1}
    assert len(found[23]) > 1
    assert "1 failed" in said
    why = {n: decisions(study)[-1]["stopped"][cell]["why"] for n, cell in cells(study).items()}
    assert why[42] == "a block failed"
    now = Monitor(study).look()
    assert now.finished
    assert [(f.block, f.attempts) for f in now.failed] == [(2, 2)]
    # mended, the command goes on where it stood
    sweep(tmp_path, "auto.most=6", "retries=1", "workers=2")
    assert counts(study)[42] == 6
    assert Monitor(study).look().stopped == {"precision reached": 4}


def test_a_diverged_cell_is_known_and_a_half_diverged_one_ends_at_its_most(
    tmp_path: Path,
) -> None:
    """All replicates without a number: no seed will tell more. Half of them: the limit holds."""
    infinite = STAND_IN.replace(
        "    time.sleep(0.05)",
        '    if cell.n_train == 20: rows["test_nmse_median"] = float("nan")\n'
        "    if cell.n_train == 21:\n"
        '        rows.loc[rows["replicate"] % 2 == 0, "test_nmse_median"] = float("inf")',
    )
    sweep(tmp_path, "auto.most=4", "workers=2", change=infinite)
    found = counts(tmp_path / "outputs" / "mine")
    assert (found[20], found[21]) == (1, 4)


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("replicates=autp", "replicates=autp is not known: did you mean auto?"),
        ("replicates=auto auto.precision=0", "auto.precision=0"),
        ("replicates=auto auto.precision=-1", "auto.precision=-1"),
        ("replicates=auto auto.budget=0", "auto.budget=0 is less than one block"),
        ("replicates=auto auto.budget=2.5", "auto.budget=2.5"),
        ("replicates=auto auto.most=1", "auto.most=1"),
        ("replicates=auto auto.mesure=valid_time", "did you mean auto.measure"),
        ("replicates=auto auto.measure=rolout_error", "did you mean rollout_error"),
        ("replicates=auto auto=3", "auto=3"),
        ("auto.precision=0.1", "give replicates=auto"),
        ("replicates=auto block_size=4 inits_per_data=3", "use block_size=6"),
        ("replicates=auto search.rerun=true optimizer.lr=interval(0.1,1)", "search.rerun=false"),
        ("replicates=auto auto.precision=0.1,0.2", "one value"),
    ],
)
def test_what_cannot_be_aimed_at_is_one_sentence(
    typed: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = str(run_here(monkeypatch, *TINY, *HERE, *typed.split()))
    assert said.startswith("error: ")
    assert named in said
    assert "\n" not in said
    assert not Path("outputs").exists()


def test_a_dry_run_says_what_may_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *COMMAND, *HERE, "auto.budget=5", "dry_run=true") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 cells of 5 replicates or more" in printed
    assert "4 blocks, 0 done, 4 to run" in printed
    assert (
        "test_nmse_median of each is known within a factor 1.25; 5 blocks more at most" in printed
    )
    assert not Path("outputs").exists()
