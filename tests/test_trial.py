"""A block end to end: rows of the schema, the same bits again, resume, weights that load."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from study import results, trial
from study.compose import compose, register
from study.config import make_cell
from study.core import training
from study.core.systems import SYSTEMS
from study.preparation import set_up

SMALL = [
    "budget=smoke",
    "model.width=6",
    "model.depth=2",
    "data.n_train=40",
    "optimizer.steps=60",
    "rollout.n_trajectories=3",
    "rollout.n_times=20",
]
TIMES = ["train_seconds", "rollout_seconds"]


def small_cell(*overrides):
    register()
    return make_cell(compose([*SMALL, *overrides]), compile=False)


@pytest.fixture(scope="module")
def block():
    return trial.run_block(small_cell(), 0)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        a.drop(columns=TIMES, errors="ignore"),
        b.drop(columns=TIMES, errors="ignore"),
        check_exact=True,
    )


def test_rows_and_curves_are_of_the_schema(block):
    rows = block.replicates.copy()
    rows.insert(0, "study", "x")
    checked = results.RESULTS.validate(rows)
    assert checked.replicate.tolist() == [0, 1]
    assert checked.n_equations.tolist() == [80, 80]
    results.CURVES.validate(block.curves)
    assert set(block.curves.curve) == {"training", "rollout"}


@pytest.mark.parametrize("name", sorted(SYSTEMS))
@pytest.mark.parametrize("sampler", ["trajectories", "uniform"])
def test_every_system_runs_through(name, sampler):
    rows = trial.run_block(small_cell(f"system={name}", f"data={sampler}"), 0).replicates
    assert np.isfinite(rows.test_nmse_median).all()
    assert rows.rollout_error.between(0, 1).all()


def test_the_same_block_has_the_same_bits(block):
    again = trial.run_block(small_cell(), 0)
    same(again.replicates, block.replicates)
    same(again.curves, block.curves)
    assert torch.equal(again.weights["theta"], block.weights["theta"])


def test_other_blocks_are_other_replicates(block):
    other = trial.run_block(small_cell(), 1).replicates
    assert other.replicate.tolist() == [2, 3]
    assert not set(other.test_nmse) & set(block.replicates.test_nmse)


def test_a_killed_block_resumes_to_the_same_bits(block, tmp_path, monkeypatch):
    """Killed in mid-training, right after a checkpoint: the rest gives the undisturbed result."""
    checkpoint = tmp_path / "checkpoint.pt"

    class KilledError(Exception):
        pass

    undisturbed = training.adam_step
    calls = 0

    def dying(*arguments):
        nonlocal calls
        calls += 1
        if calls > 35:
            raise KilledError
        return undisturbed(*arguments)

    monkeypatch.setattr(training, "adam_step", dying)
    monkeypatch.setattr(trial, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KilledError):
        trial.run_block(small_cell(), 0, checkpoint=checkpoint)
    calls = -(10**9)
    resumed_from = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < resumed_from < 60
    result = trial.run_block(small_cell(), 0, checkpoint=checkpoint)
    assert calls + 10**9 == 60 - resumed_from
    same(result.replicates, block.replicates)
    same(result.curves, block.curves)


def test_errors_are_measured_in_the_same_units_whatever_a_model_was_trained_in():
    scaled, physical = (set_up(small_cell(f"data.units={u}"), 0) for u in ("scaled", "physical"))
    assert scaled.test.units.time == physical.test.units.time
    assert scaled.units.time == scaled.test.units.time
    assert physical.units.time == 1.0


def test_a_torn_checkpoint_or_anothers_is_not_used(block, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(b"torn")
    same(trial.run_block(small_cell(), 0, checkpoint=checkpoint).replicates, block.replicates)
    foreign = tmp_path / "foreign.pt"
    trial.run_block(small_cell("seed=1"), 0, checkpoint=foreign)
    same(trial.run_block(small_cell(), 0, checkpoint=foreign).replicates, block.replicates)


def test_a_diverging_replicate_is_a_row(monkeypatch):
    cell = small_cell("optimizer.lr=1e30", "optimizer.clip=null", "optimizer.schedule=constant")
    rows = trial.run_block(cell, 0).replicates
    assert set(rows.stop_reason) == {"diverged"}
    assert not rows.converged.any()
    assert rows.test_nmse.notna().all()


def test_weights_load_and_answer_in_physical_units(block, tmp_path):
    cell = small_cell()
    folder = tmp_path / "cells" / cell.hash / "block-000"
    folder.mkdir(parents=True)
    trial.write_block(block, folder)
    model = results.load_model(tmp_path, cell.hash, 1)
    setup = set_up(cell, 0)
    points = setup.test.points
    predicted = model.acceleration(points.q, points.qdot)
    error = ((predicted - points.qddot) ** 2 / setup.test.variance).mean(1)
    assert np.median(error) == pytest.approx(block.replicates.test_nmse_median[1], rel=1e-6)
    with pytest.raises(results.TableError, match="replicate 7"):
        results.load_model(tmp_path, cell.hash, 7)


def test_the_command_prints_the_measures_of_one_cell(tmp_path):
    command = [sys.executable, "-m", "study.trial", *SMALL]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "test_nmse_median" in first.stdout
    block = next(tmp_path.glob("outputs/scratch/cells/*/block-000"))
    before = (block / "replicates.parquet").stat().st_mtime_ns
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == first.stdout
    assert (block / "replicates.parquet").stat().st_mtime_ns == before
    wrong = subprocess.run(
        [*command, "modle.width=3"], cwd=tmp_path, capture_output=True, text=True
    )
    assert wrong.returncode != 0
    assert wrong.stderr.strip() == "error: unknown key modle.width: did you mean model.width?"


COMPILED = """
import sys, torch
from study.core.mlp import MLP
from study.core.models import LNN
torch.set_num_threads(1)
def ask(width, R, B):
    model = LNN(MLP((True, False), width, 1, "tanh", 2.0, "trig", 1.0), "fan_in")
    theta = model.initialise(range(R), torch.float64)
    batch = torch.randn(R, 6, B, generator=torch.Generator().manual_seed(1)).double()
    q, v, a = batch.chunk(3, 1)
    eager, fast = (model.loss_and_gradient(theta, q, v, a, compiled=c)[1] for c in (False, True))
    assert float((eager - fast).norm() / eager.norm()) < 1e-9
    return fast
for sizes in eval(sys.argv[1]):
    last = ask(*sizes)
ensembles = {R for _, R, _ in eval(sys.argv[1])}
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == len(ensembles)  # never anew
print(last.numpy().tobytes().hex())
"""


def test_compiled_gradients_are_the_same_and_do_not_depend_on_what_came_before():
    def run(sizes):
        done = subprocess.run(
            [sys.executable, "-c", COMPILED, repr(sizes)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
        return done.stdout

    assert run([(16, 5, 128)]) == run([(7, 3, 33), (40, 5, 500), (16, 5, 128)])
