"""A system that draws its own inputs: data, reference motion, a trained block, and refusals."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson, solve_ivp

import study
from study.block import run
from study.block.setup import set_up
from study.config import own_system, sampled
from study.config.errors import ConfigError
from study.core.data.datasets import Source, held_out
from study.core.learned import LearnedModel
from study.core.systems import SYSTEMS
from study.core.systems.lyapunov import finite_time_exponent
from tests.test_forces import FILE, LINEAR, SHORT, cell_of, pushed

__all__ = ["pushed"]  # a fixture

CART = SYSTEMS["driven_cart_pole"]


def shaken(rng, n, c):
    """A weight on a spring, shaken at a phase of its own."""
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    return lambda t: np.sin(1.7 * t + phase)[..., None]


SHAKEN = dataclasses.replace(
    SYSTEMS["oscillator"],
    name="shaken",
    forces=lambda q, v, u, c, xp: [u[0]],
    inputs=(("push", "N"),),
    drive=shaken,
)


@pytest.mark.parametrize("sampler", ["trajectories", "uniform"])
def test_a_pool_has_the_accelerations_of_its_inputs(sampler):
    points = Source(SHAKEN, sampler, 300, 3).training_set(0, 300, 0.0).points
    (q, v), u, c = (points.q, points.qdot), points.u, SHAKEN.parameters
    expected = (u - c.k * q - c.kappa * q**3) / c.m
    np.testing.assert_allclose(points.qddot, expected, atol=1e-12)
    assert v.shape == u.shape == (300, 1)
    assert np.abs(u).max() > 0.9


def test_a_pool_follows_the_motion_of_each_input():
    source = Source(SHAKEN, "trajectories", 90, 3)
    points = source.training_set(5, 90, 0.0)
    order = np.argsort(points.along)
    states, u = (x[order].reshape(3, 30, -1) for x in (points.points.states, points.points.u))
    times = np.linspace(0, SHAKEN.data_span, 30)
    signals = SHAKEN.signals(np.random.default_rng((7, 0, 5)), 3)
    np.testing.assert_array_equal(u, signals(np.tile(times, (3, 1))))
    c = SHAKEN.parameters
    for k in range(3):

        def field(t, y, k=k):
            push = signals(np.full((3, 1), t))[k, 0, 0]
            return [y[1], (push - c.k * y[0] - c.kappa * y[0] ** 3) / c.m]

        ends = solve_ivp(
            field, (0, times[-1]), states[k, 0], "LSODA", times, rtol=1e-10, atol=1e-10
        )
        np.testing.assert_allclose(ends.y.T, states[k], atol=1e-6)


def test_reference_motion_has_its_inputs_and_the_first_are_those_of_a_smaller_number():
    few, many = (held_out(SHAKEN, n, 5.0, 20) for n in (2, 4))
    np.testing.assert_allclose(few.states, many.states[:2], atol=1e-8)
    times = np.array([0.3, 2.0])
    two, four = few.inputs(np.tile(times, (2, 1))), many.inputs(np.tile(times, (4, 1)))
    np.testing.assert_array_equal(two, four[:2])
    assert np.abs(four[2] - four[3]).max() > 1e-3
    still = dataclasses.replace(SHAKEN, drive=None)
    assert np.abs(held_out(still, 2, 5.0, 20).states - few.states).max() > 0.1
    assert held_out(still, 2, 5.0, 20).inputs is None


def test_a_push_that_knows_no_state_bends_no_tangent_of_a_linear_motion():
    linear = SHAKEN.with_constants(kappa=0.0)
    start = np.concatenate(linear.starts(3), axis=1)
    signals = linear.signals(np.random.default_rng(0), 3)
    driven = finite_time_exponent(linear, start, 5.0, signals=signals)
    np.testing.assert_allclose(driven, finite_time_exponent(linear, start, 5.0), atol=1e-7)


def test_another_drive_is_another_dataset():
    def twice(*given):
        signals = shaken(*given)
        return lambda t: 2 * signals(t)

    louder = dataclasses.replace(SHAKEN, drive=twice)
    pools = [Source(s, "trajectories", 50, 5).training_set(0, 50, 0.0) for s in (SHAKEN, louder)]
    assert np.abs(pools[0].points.qddot - pools[1].points.qddot).max() > 0.1
    assert own_system.add(SHAKEN) != own_system.add(louder)


def pulse(size):
    """A push between two and three seconds, and none before."""
    return dataclasses.replace(
        SHAKEN, drive=lambda rng, n, c: lambda t: size * ((t > 2) & (t < 3))[..., None]
    )


def test_a_late_pulse_is_another_dataset_and_another_system():
    few, many = pulse(1.0), pulse(6.0)
    first, second = (Source(s, "trajectories", 60, 3).training_set(0, 60, 0.0) for s in (few, many))
    assert second.points.u.max() == 6 * first.points.u.max() > 0
    states = [held_out(s, 2, 4.0, 21).states[:, -1] for s in (few, many)]
    assert np.abs(states[0] - states[1]).max() > 0.1
    stronger = dataclasses.replace(few, forces=lambda q, v, u, c, xp: [6 * u[0]])
    digests = {own_system.add(s) for s in (few, many, stronger)}
    assert len(digests) == 3


def test_the_window_chosen_for_made_data_knows_what_drives_it():
    fast = dataclasses.replace(
        SHAKEN, drive=lambda rng, n, c: lambda t: 30 * np.sin(25 * t + 0 * rng.uniform())[..., None]
    )
    systems = dataclasses.replace(SHAKEN, drive=None), fast
    sources = (Source(system, "trajectories", 4 * 1001, 4, 1e-3) for system in systems)
    windows = [sampled._of_made(source, 0) for source in sources]
    assert windows[0] > windows[1]


def test_a_block_learns_what_the_force_does():
    short = ["rollout.horizon=2", "rollout.n_trajectories=3", "data.n_train=400"]
    pool = ["data.pool_size=1000", "data.n_trajectories=10"]
    cell = cell_of("system=driven_cart_pole", *LINEAR, "model.width=40", *short, *pool,
                   "model.friction=diagonal", "rollout.n_times=30")  # fmt: skip
    result = run.run_block(cell, 0)
    row, model = result.replicates.iloc[0], LearnedModel.from_saved(result.weights, 0)
    assert row["data.inputs"] == "force"
    assert row["test_nmse_median"] < 1e-8
    assert row["force_nmse"] < 1e-6
    assert row["power_balance"] < 1e-4
    assert row["valid_time"] == pytest.approx(2.0, rel=0.05)
    # where the energy goes: by the work of the true forces along the true motion
    curves = result.curves.set_index("metric")["value"]
    gained, lost, given = (
        curves.loc[f"power.{name}[0]"].to_numpy() for name in ("gained", "friction", "inputs")
    )
    truth, c = set_up(cell, 0).truth, CART.parameters
    x, rate = truth.states[0, :, 2], truth.states[0, :, 3]
    given_then = truth.inputs(np.tile(truth.times, (len(truth.states), 1)))[0, :, 0]
    powers = given_then * x, -c.b_cart * x**2 - c.b_joint * rate**2
    works = [cumulative_simpson(power, x=truth.times, initial=0) for power in powers]
    np.testing.assert_allclose(given / lost[-1], works[0] / works[1][-1], atol=2e-3)
    np.testing.assert_allclose(lost / lost[-1], works[1] / works[1][-1], atol=2e-3)
    np.testing.assert_allclose(gained, lost + given, atol=1e-4)
    still = cell_of("system=cart_pole", *LINEAR, "model.width=20", *short, *pool)
    assert still.n_driven == 0
    assert cell.n_driven == 1
    (q, v), u = CART.starts(4), np.array([[1.0], [0.0], [-2.0], [0.5]])
    learned = model.acceleration(q, v, u)
    np.testing.assert_allclose(learned, CART.acceleration(q, v, u), atol=1e-3)


def test_a_drive_may_give_lists_and_a_push_has_a_shape():
    lists = dataclasses.replace(
        SHAKEN, drive=lambda rng, n, c: lambda t: np.sin(t)[..., None].tolist()
    )
    own_system.add(lists)
    assert held_out(lists, 2, 1.0, 5).states.shape == (2, 5, 2)
    with pytest.raises(ValueError, match=re.escape("u(0) has the shape (2,): it should be (1,)")):
        SHAKEN.rollout(*SHAKEN.starts(1), [0.0, 1.0], lambda t: [1, 2])


def test_a_model_and_the_truth_under_the_same_push():
    overrides = [*SHORT[:1], "data.pool_size=1000", "data.n_trajectories=10"]
    model = study.fit(SHAKEN, n=300, friction="diagonal", overrides=overrides)
    t = np.linspace(0, 3, 20)
    q, qdot = SHAKEN.starts(1)

    def push(t):
        return [np.cos(2 * t)]

    true, learned = SHAKEN.rollout(q, qdot, t, push)[0], model.rollout(q, qdot, t, push)[0]
    np.testing.assert_allclose(learned, true, atol=1e-2)
    assert np.abs(SHAKEN.rollout(q, qdot, t)[0] - true).max() > 0.1


WRONG = {
    "drive(rng, 8, c) gives a function that makes of times": {
        "drive": lambda rng, n, c: lambda t: np.sin(t)
    },
    "drive(rng, n, c) gives other inputs with the same rng": {
        "drive": lambda rng, n, c: lambda t: rng.normal(size=(*t.shape, 1))
    },
    "drive(rng, n, c) gives other inputs": {
        "drive": lambda rng, n, c: (lambda p: lambda t: np.sin(t + p)[..., None])(
            np.random.default_rng().uniform()
        )
    },
    "drive raises ZeroDivisionError": {"drive": lambda rng, n, c: 1 / 0},
    "drive draws inputs: state what they are in inputs": {"forces": None},
    "drive takes (rng, n): it should take (rng, n, c)": {"drive": lambda rng, n: None},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_drive_is_told_in_one_sentence(sentence):
    with pytest.raises(ConfigError) as told:
        own_system.add(dataclasses.replace(SHAKEN, **WRONG[sentence]))
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([*FILE[:-2], FILE[-1], "system=driven_cart_pole"], "draws its own inputs, and data.path"),
        (
            ["system=driven_cart_pole", "optimizer.loss=rollout"],
            "between the samples, and system=driven_cart_pole (force) drives the motion",
        ),
        (
            ["system=driven_cart_pole", *LINEAR, "optimizer.loss=weak"],
            "fits no forces in a sweep, and system=driven_cart_pole (force) is one",
        ),
    ],
)
def test_what_a_driven_system_cannot_do(pushed, overrides, sentence):
    with pytest.raises(ConfigError) as told:
        cell_of(*overrides)
    assert sentence in str(told.value)
