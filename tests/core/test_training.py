"""Stages after each other, resume, freezing, verdicts; Adam against torch's own."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from study.core.models import LNN
from study.core.models.mlp import MLP
from study.core.training import levenberg_marquardt
from study.core.training.adam import Adam, Batches
from study.core.training.lbfgs import LBFGS
from study.core.training.levenberg_marquardt import LevenbergMarquardt
from study.core.training.soap import Soap
from study.core.training.train import (
    CHUNK,
    CONVERGED,
    REASONS,
    State,
    record_steps,
    relative_gradient,
    train,
    verdicts,
)
from tests.core.problems import features, field, lnn, losses, make_data, run, targets

MODEL = LNN(MLP((True, True), 6, 2, "softplus", 2.0, "trig", 1.0), "fan_in")
ADAM = Adam(steps=40, batch_size=8, lr=3e-3, schedule="cosine", clip=1.0, dtype=torch.float64)
SINGLE = dataclasses.replace(ADAM, dtype=torch.float32)
SOAP = Soap(steps=40, batch_size=8, lr=3e-3, schedule="cosine", clip=1.0)


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_steps_are_those_of_torchs_adam_on_the_reference_gradient(schedule, loss):
    optimizer = dataclasses.replace(ADAM, schedule=schedule, loss=loss, steps=12, clip=0.5)
    data = make_data(R=1)
    ours = run(MODEL, data, optimizer).theta[0]
    theta = MODEL.initialise([0], torch.float64)[0].requires_grad_()
    adam = torch.optim.Adam([theta], lr=optimizer.lr)
    T = optimizer.steps
    rates = {
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=T),
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=T),
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(adam, 1.0),
    }[schedule]()
    batches = Batches(data, optimizer.batch_size)
    for step in range(T):
        index = batches.indices(step)[0]
        batch = dataclasses.replace(data, rows=data.rows[:, index], along=data.along[:, index])
        error = field(MODEL, theta, batch) - targets(batch)
        adam.zero_grad()
        (error.abs() if loss == "absolute" else error**2).mean().backward()
        torch.nn.utils.clip_grad_norm_([theta], optimizer.clip)
        adam.step()
        rates.step()
    torch.testing.assert_close(ours, theta.detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "stages",
    [
        [SINGLE],
        [SOAP],
        [dataclasses.replace(SOAP, compiled=True)],
        [LevenbergMarquardt(6)],
        [dataclasses.replace(SINGLE, steps=5), LevenbergMarquardt(6)],
        [dataclasses.replace(SINGLE, steps=5), LBFGS(3, 20)],
    ],
    ids=["adam", "soap", "soap_in_cpp", "lm", "adam_lm", "adam_lbfgs"],
)
def test_a_run_resumed_from_any_checkpoint_is_bitwise_the_undisturbed_one(stages, tmp_path):
    data, saved = make_data(), []
    whole = run(
        MODEL, data, *stages, every_seconds=0.0, save=lambda s: saved.append(copy.deepcopy(vars(s)))
    )
    assert {(s["stage"], s["step"]) for s in saved} >= {
        (number, step) for number in range(len(stages)) for step in (0, 2)
    }
    assert len(stages) == 1 or saved[5]["stage"] == 0  # one at the very end of a stage
    for state in saved:
        torch.save(state, tmp_path / "checkpoint.pt")
        loaded = State(**torch.load(tmp_path / "checkpoint.pt", weights_only=True))
        resumed = run(MODEL, data, *stages, state=loaded)
        assert torch.equal(resumed.theta, whole.theta)
        assert torch.equal(resumed.floored, whole.floored)
        assert resumed.reasons == whole.reasons
        np.testing.assert_equal(resumed.records, whole.records)
        assert resumed.seconds > state["seconds"]


@pytest.mark.parametrize(
    "stages",
    [[SINGLE], [LevenbergMarquardt(12)], [dataclasses.replace(SINGLE, steps=5), LBFGS(3, 20)]],
    ids=["adam", "lm", "adam_lbfgs"],
)
def test_what_is_left_has_the_least_error_on_held_out_points(stages):
    """Of all steps, each with its own error; and the same after a resume."""
    data, held_out = make_data(N=30), make_data(N=10, noise=3.0)
    seen, saved = [], []

    def look(state):
        seen.append(state.theta.double().clone())
        saved.append(copy.deepcopy(vars(state)))

    def errors(theta):
        return torch.stack(
            [(field(MODEL, theta[r], held_out, r) - targets(held_out, r)).square().mean()
             for r in range(3)]
        )  # fmt: skip

    given = {"validation": held_out, "every_seconds": 0.0}
    ended = run(MODEL, data, *stages, save=look, **given)
    least = torch.stack([errors(theta) for theta in seen]).amin(0)
    torch.testing.assert_close(errors(ended.theta.double()), least, rtol=1e-5, atol=1e-12)
    assert ended.theta.dtype == seen[-1].dtype or stages == [SINGLE]
    last = run(MODEL, data, *stages)
    assert not torch.equal(last.theta, ended.theta), "the last step was not the best"
    resumed = run(MODEL, data, *stages, state=State(**saved[len(saved) // 2]), **given)
    assert torch.equal(resumed.theta, ended.theta)


@pytest.mark.parametrize("N", [20, 60], ids=["P > N D", "P < N D"])
def test_steps_on_a_kept_factor_are_the_same_after_a_resume(N, monkeypatch):
    """A P that is large enough for them is slow here, so price and number are lowered."""
    monkeypatch.setattr(levenberg_marquardt, "COST", 1)
    monkeypatch.setattr(levenberg_marquardt, "MOST", 5)
    followed, follow = [], levenberg_marquardt._follow
    monkeypatch.setattr(
        levenberg_marquardt, "_follow", lambda *given: (followed.append(1), follow(*given))[1]
    )
    data, saved = make_data(N=N), []
    whole = run(
        MODEL, data, LevenbergMarquardt(6), every_seconds=0.0,
        save=lambda s: saved.append(copy.deepcopy(vars(s))),
    )  # fmt: skip
    assert followed
    assert (MODEL.n_params > 2 * N) == (N == 20)
    for state in saved:
        resumed = run(MODEL, data, LevenbergMarquardt(6), state=State(**state))
        assert torch.equal(resumed.theta, whole.theta)


def test_training_leaves_the_parameters_it_was_given_as_they_were():
    start = MODEL.initialise(range(3), torch.float64)
    kept = start.clone()
    for stage in (ADAM, SOAP, LevenbergMarquardt(3), LBFGS(3, 5)):
        trained = run(MODEL, make_data(), stage, state=State.fresh(start)).theta
        assert torch.equal(start, kept)
        assert not torch.equal(trained, kept)


@pytest.mark.parametrize("stage", [LevenbergMarquardt(8), LBFGS(3, 30)])
def test_a_second_order_stage_gives_a_replicate_the_same_bits_whoever_its_siblings_are(stage):
    data = make_data()
    together = run(MODEL, data, stage).theta
    alone = dataclasses.replace(data, rows=data.rows[1:2], along=data.along[1:2], seeds=[1])
    stage = dataclasses.replace(stage, steps=1) if isinstance(stage, LBFGS) else stage
    assert torch.equal(run(MODEL, alone, stage).theta[0], together[1])


@pytest.mark.parametrize("stage", [ADAM, dataclasses.replace(SOAP, dtype=torch.float64)])
def test_minibatches_give_a_replicate_the_same_up_to_rounding_whoever_its_siblings_are(stage):
    data = make_data()
    alone = dataclasses.replace(data, rows=data.rows[1:2], along=data.along[1:2], seeds=[1])
    together = run(MODEL, data, stage).theta[1]
    torch.testing.assert_close(run(MODEL, alone, stage).theta[0], together)


@pytest.mark.parametrize(
    "stages",
    [
        [ADAM],
        [dataclasses.replace(SOAP, dtype=torch.float64)],
        [dataclasses.replace(SOAP, dtype=torch.float64, compiled=True)],
        [LevenbergMarquardt(5)],
        [LBFGS(3, 20)],
        [ADAM, LevenbergMarquardt(5)],
        [ADAM, LBFGS(3, 20)],
    ],
    ids=["adam", "soap", "soap_in_cpp", "lm", "lbfgs", "adam_lm", "adam_lbfgs"],
)
def test_a_diverged_replicate_is_frozen_and_its_siblings_go_on(stages):
    data = make_data()
    broken = data.rows.clone()
    broken[1] = math.nan
    broken = dataclasses.replace(data, rows=broken)
    state = run(MODEL, broken, *stages)
    healthy = run(MODEL, data, *stages)
    assert torch.equal(state.theta[1], MODEL.initialise([1], torch.float64)[0])
    assert torch.equal(state.theta[[0, 2]], healthy.theta[[0, 2]])
    slopes = relative_gradient(MODEL, broken, state.theta)
    assert verdicts(state, slopes)[1] == (False, "diverged")
    assert "diverged" not in [healthy.reasons[0], healthy.reasons[2]]


@pytest.mark.parametrize("stage", [ADAM, dataclasses.replace(SOAP, dtype=torch.float64)])
def test_a_replicate_that_diverges_in_mid_training_stays_where_it_was_finite(stage):
    wild = dataclasses.replace(stage, lr=1e200, clip=None, schedule="constant")
    state = run(MODEL, make_data(), wild)
    assert state.reasons == ["diverged"] * 3
    assert torch.isfinite(state.theta).all()
    assert not torch.equal(state.theta, MODEL.initialise(range(3), torch.float64))


def test_every_point_is_seen_equally_often():
    data = make_data(N=20)
    batches = Batches(data, 8)
    seen = torch.cat([batches.indices(step) for step in range(15)], 1)  # 120 = 6 passes of 20
    for r in range(3):
        assert torch.bincount(seen[r], minlength=20).tolist() == [6] * 20
    assert not torch.equal(seen[0, :20], seen[0, 20:40])
    assert not torch.equal(seen[0, :20], seen[1, :20])


def test_sequential_batches_follow_the_curve():
    data = make_data(N=20, order="sequential")
    batches = Batches(data, 8)
    first = batches.indices(0)[2].numpy()
    assert data.along[2][first].tolist() == list(range(8))
    third = batches.indices(2)[2].numpy()  # from the end of the curve to its beginning
    assert data.along[2][third].tolist() == [16, 17, 18, 19, 0, 1, 2, 3]


def test_a_batch_larger_than_the_data_is_all_of_them():
    batches = Batches(make_data(N=5), 8)
    assert sorted(batches.indices(3)[0].tolist()) == list(range(5))


def test_records_are_of_all_stages_on_one_axis():
    state = run(MODEL, make_data(), ADAM, LevenbergMarquardt(5))
    x = [record["x"] for record in state.records]
    assert x == sorted(record_steps(40) | {40 + k for k in record_steps(5)})
    rates = {record["x"]: record["lr"] for record in state.records}
    assert rates[0] == [ADAM.lr] * 3
    assert math.isnan(rates[45][0])


@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_the_relative_gradient_is_that_of_automatic_differentiation(loss):
    data = make_data(R=2, N=CHUNK + 76)
    model = lnn(width=3, depth=1)
    theta = model.initialise(range(2), torch.float64)

    def log_loss(row, r):
        error = field(model, row, data, r) - targets(data, r)
        return torch.log((error.abs() if loss == "absolute" else error**2).mean())

    for r, slope in enumerate(relative_gradient(model, data, theta, loss)):
        expected = torch.func.grad(log_loss)(theta[r], r).norm() * theta[r].norm()
        torch.testing.assert_close(slope, expected, rtol=1e-9, atol=0)


def test_the_relative_gradient_vanishes_at_the_minimum_of_a_linear_model_and_has_no_units():
    data, model = make_data(), features(5)
    start = model.initialise(range(3), torch.float64)
    found = run(model, data, LevenbergMarquardt(50), state=State.fresh(start)).theta
    assert (relative_gradient(model, data, found) < 1e-6).all()
    away = found.clone()
    away[:, : model.n_params] *= 1.1
    slope = relative_gradient(model, data, away)
    assert (slope > 1e-3).all()
    larger, rows = away.clone(), data.rows.clone()
    larger[:, : model.n_params] *= 1e3
    rows[:, :, 4:] *= 1e3
    again = relative_gradient(model, dataclasses.replace(data, rows=rows), larger)
    torch.testing.assert_close(again, slope)


def test_who_has_converged():
    state = State.fresh(torch.zeros(6, 1))
    state.reasons = ["steps", "steps", "iterations", "diverged", "tolerance", "steps"]
    relative = torch.tensor([1e-3, 0.5, 1e-2, math.nan, 0.5, math.nan])
    assert verdicts(state, relative) == [
        (True, "gradient"),
        (False, "steps"),
        (True, "gradient"),
        (False, "diverged"),
        (True, "tolerance"),
        (False, "steps"),
    ]
    assert set(REASONS) - set(CONVERGED) == {"iterations", "steps", "time", "diverged"}


def test_adam_converges_or_runs_out_of_steps():
    model = features(4)
    data = make_data(N=30)
    long = Adam(3000, 30, 3e-2, "cosine", None, dtype=torch.float64)
    for stage, expected in ((long, (True, "gradient")), (ADAM, (False, "steps"))):
        state = run(model, data, stage)
        assert verdicts(state, relative_gradient(model, data, state.theta)) == [expected] * 3


def test_training_lowers_the_loss_of_a_true_lagrangian():
    from study.core.data.datasets import Source
    from study.core.systems import SYSTEMS
    from study.core.training.train import TrainingData

    source = Source(SYSTEMS["magnetic_trap"], "trajectories", 400, 10)
    points, units = source.training_set(0, 200, 0.0).points, source.reference().units
    scaled = [*units.scale(points.q, points.qdot), units.acceleration_to_scaled(points.qddot)]
    rows = torch.from_numpy(np.concatenate(scaled, 1))[None]
    data = TrainingData(rows, np.arange(200)[None], "shuffled", [0])
    model = LNN(MLP((False, False), 16, 2, "softplus", 2.0, "raw", 1.0), "fan_in")
    start = model.initialise([0], torch.float64)

    def loss(theta):
        return float(model.loss_and_gradient(theta, *data.states(slice(None), slice(None)))[0])

    adam = Adam(400, 64, 5e-3, "cosine", 1.0, dtype=torch.float64)
    trained = train(model, data, [adam], State.fresh(start), measure=losses)
    assert loss(trained.theta) < 0.05 * loss(start)
    polished = train(
        model, data, [LevenbergMarquardt(60)], State.fresh(trained.theta), measure=losses
    )
    assert loss(polished.theta) < 0.05 * loss(trained.theta)
