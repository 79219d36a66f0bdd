"""Training against torch's own Adam, and what must hold of resume, freezing and order."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from study.core import euler_lagrange
from study.core.mlp import MLP, lagrangian
from study.core.models import LNN
from study.core.training import Adam, Batches, State, TrainingData, record_steps, train, verdicts

MODEL = LNN(MLP((True, True), 6, 2, "softplus", 2.0, "trig", 1.0), "fan_in")
OPTIMIZER = Adam(steps=40, batch_size=8, lr=3e-3, schedule="cosine", clip=1.0)


def make_data(R=3, N=20, order="shuffled", dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(R, N, 6, generator=generator, dtype=torch.float64).to(dtype)
    along = np.stack([np.random.default_rng(r).permutation(N) for r in range(R)])
    return TrainingData(rows, along, order, list(range(R)))


def fresh(R=3, dtype=torch.float64):
    return State.fresh(MODEL.initialise(range(R), dtype))


def losses(theta):
    return {"train_nmse": [1.0] * len(theta)}


def run(data, optimizer=OPTIMIZER, state=None, **options):
    state = fresh(len(data.rows), data.rows.dtype) if state is None else state
    return train(MODEL, data, optimizer, state, measure=losses, **options)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_steps_are_those_of_torchs_adam_on_the_reference_gradient(schedule):
    optimizer = dataclasses.replace(OPTIMIZER, schedule=schedule, steps=12, clip=0.5)
    data = make_data(R=1)
    ours = run(data, optimizer).theta[0]
    theta = MODEL.initialise([0], torch.float64)[0].requires_grad_()
    adam = torch.optim.Adam([theta], lr=optimizer.lr)
    if schedule == "cosine":
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=optimizer.steps)
    batches = Batches(data, optimizer.batch_size)
    for step in range(optimizer.steps):
        q, qdot, target = data.rows[0, batches.indices(step)[0]].chunk(3, 1)
        qddot = euler_lagrange.acceleration(
            lambda x, v: lagrangian(MODEL.mlp, theta, x, v), q, qdot
        )
        adam.zero_grad()
        ((qddot - target) ** 2).mean().backward()
        torch.nn.utils.clip_grad_norm_([theta], optimizer.clip)
        adam.step()
        if schedule == "cosine":
            decay.step()
    torch.testing.assert_close(ours, theta.detach(), rtol=1e-7, atol=1e-9)


def test_a_resumed_run_is_bitwise_the_undisturbed_one():
    data = make_data(dtype=torch.float32)
    saved = []
    whole = run(data, every_seconds=0.0, save=lambda s: saved.append(copy.deepcopy(vars(s))))
    middle = State(**saved[len(saved) // 2])
    assert 0 < middle.step < OPTIMIZER.steps
    resumed = run(data, state=middle)
    assert torch.equal(resumed.theta, whole.theta)
    assert resumed.records == whole.records


def test_replicates_do_not_see_each_other():
    data = make_data()
    together = run(data).theta
    alone = TrainingData(data.rows[1:2], data.along[1:2], data.order, [1])
    state = State.fresh(MODEL.initialise([1], torch.float64))
    torch.testing.assert_close(run(alone, state=state).theta[0], together[1])


def test_a_diverged_replicate_is_frozen_and_its_siblings_go_on():
    data = make_data()
    broken = data.rows.clone()
    broken[1] = math.nan
    state = run(dataclasses.replace(data, rows=broken))
    healthy = run(data)
    assert state.alive.tolist() == [True, False, True]
    assert torch.equal(state.theta[1], fresh().theta[1])
    assert torch.equal(state.theta[[0, 2]], healthy.theta[[0, 2]])
    assert [reason for _, reason in verdicts(state, OPTIMIZER.steps)] == [
        "steps",
        "diverged",
        "steps",
    ]


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


def test_convergence_is_a_small_fall_in_the_last_tenth():
    state = fresh(4)
    state.records = [
        {"x": 36, "train_nmse": [1.0, 1.0, math.nan, math.inf]},
        {"x": 40, "train_nmse": [0.95, 0.5, math.nan, 5.0]},
    ]
    assert [c for c, _ in verdicts(state, 40)] == [True, False, False, False]
    assert {0, 36, 40} <= record_steps(40)


def test_training_lowers_the_loss_of_a_true_lagrangian():
    from study.core.datasets import Source
    from study.core.systems import SYSTEMS

    source = Source(SYSTEMS["magnetic_trap"], "trajectories", 400, 10)
    points, units = source.training_set(0, 200, 0.0).points, source.reference().units
    scaled = [*units.scale(points.q, points.qdot), units.acceleration_to_scaled(points.qddot)]
    rows = torch.from_numpy(np.concatenate(scaled, 1))[None]
    data = TrainingData(rows, np.arange(200)[None], "shuffled", [0])
    model = LNN(MLP((False, False), 16, 2, "softplus", 2.0, "raw", 1.0), "fan_in")
    start = model.initialise([0], torch.float64)
    optimizer = Adam(steps=400, batch_size=64, lr=5e-3, schedule="cosine", clip=1.0)

    def loss(theta):
        q, v, a = rows.mT.chunk(3, 1)
        return float(model.loss_and_gradient(theta, q, v, a)[0])

    trained = train(model, data, optimizer, State.fresh(start), measure=losses)
    assert loss(trained.theta) < 0.05 * loss(start)
