"""Friction and recorded inputs, from a file or a damped system to a trained block that loads."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp

from study.block import run
from study.block.setup import set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.errors import ConfigError
from study.config.hydra import register
from study.core import native
from study.core.learned import LearnedModel
from study.core.measures.rollout import rollout
from study.core.systems import SYSTEMS
from tests.sweeping.commands import last_given

CART = SYSTEMS["driven_cart_pole"]
SHORT = ["budget=smoke", "replicates=1", "block_size=1", "diagnostics.error_budget=false"]
FILE = [
    "data=file", "data.path=pushed.csv", "data.columns.trajectory=run", "system=unknown",
    "data.columns.q=[x,theta]", "data.columns.qdot=[vx,omega]", "data.columns.qddot=[ax,alpha]",
    "data.columns.units=[m,rad]", "data.columns.inputs=[force]", "data.held_out=0.3",
]  # fmt: skip
LINEAR = ["model=linear_lagrangian", "optimizer=least_squares", "optimizer.ridge=auto"]


def cell_of(*overrides: str):
    register()
    return make_cell(compose(last_given([*SHORT, *overrides])), compile=native.trouble() is None)


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """Seven runs of a driven cart-pole with friction, each with a force of its own."""
    t, runs, k = np.arange(0, 3, 0.02), [], np.arange(7)
    starts = CART.initial_conditions(np.random.default_rng(0), 7, CART.parameters)

    def push(s):
        return 3 * np.sin((1 + 0.7 * k) * s) + np.cos(2.3 * s + k)

    def field(s, y):
        return CART.rhs(y.reshape(7, 4), push(s)[:, None]).ravel()

    motion = solve_ivp(field, (0, 3), starts.ravel(), t_eval=t, rtol=1e-9, atol=1e-9).y
    for run_, states in enumerate(motion.reshape(7, 4, -1)):
        (q, v), force = np.split(states.T, 2, axis=1), np.array([push(s)[run_] for s in t])
        qddot = CART.acceleration(q, v, force[:, None])
        table = pd.DataFrame(np.column_stack([q, v, qddot, force]))
        table.columns = ["x", "theta", "vx", "omega", "ax", "alpha", "force"]
        runs.append(table.assign(run=run_, t=t))
    pd.concat(runs).to_csv(tmp_path / "pushed.csv", index=False)
    monkeypatch.chdir(tmp_path)


def trained(cell):
    """The row of its only replicate, and the model that its weights hold."""
    result = run.run_block(cell, 0)
    return result.replicates.iloc[0], LearnedModel.from_saved(result.weights, 0)


MODELS = {
    "linear": [*LINEAR, "model.width=20"],
    "network": [
        "model=structured_lnn", "model.width=8", "model.depth=2", "model.activation=tanh",
        "optimizer=levenberg_marquardt", "optimizer.iterations=60", "data.n_train=400",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_inputs_of_a_recording(pushed, kind):
    cell = cell_of(*FILE, *MODELS[kind], "model.friction=diagonal")
    row, model = trained(cell)
    assert row["test_nmse_median"] < 1e-4
    assert row["data.inputs"] == "force"
    setup = set_up(cell, 0)
    points = setup.test.points
    learned = model.acceleration(points.q, points.qdot, points.u)
    error = (learned - points.qddot) ** 2 / points.qddot.var(0)
    assert np.median(error.mean(1)) == pytest.approx(row["test_nmse_median"], rel=1e-6)
    # what a newton and a unit of velocity do to the acceleration does not depend on the scale of L
    mass = CART.mass_matrix(points.q, points.qdot)
    own = model.mass_matrix(points.q, points.qdot)
    c = CART.parameters
    for matrix, true in (
        (model.input_matrix, [[1.0], [0.0]]),
        (model.friction, [[c.b_cart, 0], [0, c.b_joint]]),
    ):
        found, expected = np.linalg.solve(own, matrix), np.linalg.solve(mass, np.array(true))
        assert np.median(np.abs(found - expected)) < 0.02 * np.abs(expected).max()
    # rollouts follow the recorded force: without it they go elsewhere
    assert row["valid_time"] > 0.8 * setup.truth.times[-1]
    assert row["power_balance"] < 1e-3
    theta, angles = model.theta, setup.system.angles
    start = torch.tensor(setup.units.to_scaled(setup.truth.states[:, 0]))
    times = torch.tensor(setup.truth.times / setup.units.time)
    settings = {"rtol": 1e-6, "max_steps": 2000}
    with pytest.raises(ValueError, match="has 1 inputs: give them along the way"):
        rollout(setup.model, theta, start, times, angles, **settings)
    with pytest.raises(ValueError, match="has 1 inputs, and no u is given"):
        model.acceleration(points.q, points.qdot)
    still = rollout(
        setup.model,
        theta,
        start,
        times,
        angles,
        **settings,
        drive=lambda t: np.zeros((*t.shape, 1)),
    )
    apart = np.abs(setup.units.to_physical(still.states[0].numpy()) - setup.truth.states)
    assert np.nanmax(apart[:, -1, 0]) > 0.1


def test_the_controls_see_the_inputs_too(pushed):
    for model in ("acceleration_mlp", "random_features"):
        solved = ["optimizer=least_squares"] if model == "random_features" else []
        with_inputs = cell_of(*FILE, f"model={model}", "model.width=6", *solved)
        without = cell_of(*FILE[:-2], FILE[-1], f"model={model}", "model.width=6", *solved)
        assert with_inputs.hash != without.hash
        extra = 0 if solved else 6  # weights of one more input; of features they are drawn
        assert with_inputs.n_params == without.n_params + extra


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([*FILE, "system=cart_pole"], "data.columns.inputs drives the motion, and that of system="),
        (
            [*FILE, "model=lnn", "optimizer.loss=rollout"],
            "optimizer.loss=rollout knows no inputs between the samples",
        ),
        (
            ["model=linear_lagrangian", "model.scale=0.5", "model.width=9", "optimizer=adam",
             "model.friction=diagonal"],
            "model.friction=diagonal of model=linear_lagrangian is kept from being negative by "
            "optimizer=least_squares, and adam does not",
        ),
        (
            [*LINEAR, "model.friction=varying"],
            "model.friction=varying is not linear in what is fitted",
        ),
        (["model.friction=dry"], "model.friction=dry is not"),
    ],
)  # fmt: skip
def test_what_cannot_be(pushed, overrides, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        cell_of(*overrides)


def test_friction_keeps_the_hashes_and_is_no_factor_of_models_without_a_lagrangian():
    assert cell_of("model.friction=none").hash == cell_of().hash
    assert "model.friction" not in cell_of().factors()
    assert cell_of("model.friction=matrix").factors()["model.friction"] == "matrix"
    mlp = cell_of("model=acceleration_mlp", "model.friction=matrix")
    assert mlp.hash == cell_of("model=acceleration_mlp").hash


def rates(model, points):
    """M^-1 C (n, D, D)."""
    return np.linalg.solve(model.mass_matrix(points.q, points.qdot), model.friction)


def test_the_friction_of_both_joints_is_found():
    """c1 and c2 by the linear Lagrangian: C = [[c1 + c2, -c2], [-c2, c2]] is no diagonal matrix."""
    system = SYSTEMS["damped_double_pendulum"]
    size = ["data.n_train=512", *LINEAR, "rollout.n_trajectories=2", "rollout.horizon=1"]
    damped = ["system=damped_double_pendulum", *size]
    points = set_up(cell_of(*damped), 0).test.points
    c = system.parameters
    C = np.array([[c.c1 + c.c2, -c.c2], [-c.c2, c.c2]])
    true = np.linalg.solve(system.mass_matrix(points.q, points.qdot), C)
    rows = {
        kind: trained(cell_of(*damped, f"model.friction={kind}")) for kind in ("none", "matrix")
    }
    row, model = rows["matrix"]
    error = np.abs(rates(model, points) - true).max() / np.abs(true).max()
    assert error < 0.01
    assert row["test_nmse_median"] < 1e-3 * rows["none"][0]["test_nmse_median"]
    assert row["force_nmse"] < 1e-4 * rows["none"][0]["force_nmse"]
    undamped, free = trained(cell_of("system=double_pendulum", *size, "model.friction=matrix"))
    assert np.abs(rates(free, points)).max() < 1e-3 * np.abs(true).max()
    assert undamped["force_nmse"] < 1e-9


NETWORK = [
    "model=structured_lnn", "model.width=16", "model.depth=2", "data.n_train=1024",
    "optimizer=soap", "optimizer.steps=2000", "optimizer.lr=1e-2", "rollout.n_trajectories=2",
    "rollout.horizon=1",
]  # fmt: skip


def test_a_network_finds_the_friction_of_both_joints():
    """Within 3 % in two seconds of training; 300 times better than without friction; none where
    there is none."""
    system = SYSTEMS["damped_double_pendulum"]
    c, error = system.parameters, {}
    for name, kind in (
        ("damped_double_pendulum", "none"),
        ("damped_double_pendulum", "matrix"),
        ("double_pendulum", "matrix"),
    ):
        cell = cell_of("budget=laptop", f"system={name}", f"model.friction={kind}", *NETWORK)
        row, model = trained(cell)
        error[name, kind] = row["test_nmse_median"]
        points = set_up(cell, 0).test.points
        own, mass = (m.mass_matrix(points.q, points.qdot) for m in (model, system))
        C = model.friction * (mass**2).sum() / (own * mass).sum()  # in N m s
        if name == "double_pendulum":
            assert np.abs(C).max() < 0.02 * c.c1
        elif kind == "matrix":
            expected = [[c.c1 + c.c2, -c.c2], [-c.c2, c.c2]]
            np.testing.assert_allclose(C, expected, rtol=0.03)
            assert row["power_balance"] < 1e-4
    damped = (error["damped_double_pendulum", kind] for kind in ("none", "matrix"))
    assert next(damped) > 300 * next(damped)


def test_friction_that_depends_on_the_place():
    """What is odd in qdot is -M^-1 C(q) qdot, for all else of a structured Lagrangian is even."""
    small = ["model.width=6", "model.depth=1", "optimizer.steps=30", "data.n_train=64"]
    names = ["system=damped_double_pendulum", "model=structured_lnn", "model.friction=varying"]
    cell = cell_of(*names, *small, "optimizer=adam", "rollout.horizon=0.5")
    assert not cell.compile
    row, model = trained(cell)
    assert row["model.friction"] == "varying"
    assert row["power_balance"] < 1e-3
    q, v = SYSTEMS["damped_double_pendulum"].starts(5, seed=3)
    v += np.array([0.7, -0.4])
    C = model.friction_at(q)
    np.testing.assert_array_equal(model.friction_at(q[0]), C[0])
    assert np.ptp(C[:, 0, 0]) > 1e-4
    assert np.linalg.eigvalsh(C).min() > 0
    odd = (model.acceleration(q, v) - model.acceleration(q, -v)) / 2
    expected = -np.linalg.solve(model.mass_matrix(q, v), (C @ v[:, :, None]))[:, :, 0]
    np.testing.assert_allclose(odd, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="ask friction_at"):
        _ = model.friction
