"""Lagrangians and forces from measured motion, against the systems that moved."""

import dataclasses

import numpy as np
import pytest
import scipy

from study.core.data.datasets import integrate, integrate_with_work
from study.core.data.trajectory import FEW, Trajectory, split
from study.core.systems import SYSTEMS
from study.core.systems.mechanics import DataError
from study.core.training import lagrangian_fit, lagrangian_forms
from study.core.training.lagrangian_fit import fit_strong, fit_weak

PENDULUM, DAMPED = SYSTEMS["double_pendulum"], SYSTEMS["damped_double_pendulum"]
CART = SYSTEMS["driven_cart_pole"]
NAMES = ("q", "qdot", "qddot")
JOINTS = np.array([[1.0, 0.0], [-1.0, 1.0]])  # rates of the joints from those of the angles
PUSH = np.array([[1.0], [0.0]])


def record(system, n, seconds, noise=0.0, seed=0, hz=100):
    """Trajectories with exact derivatives, or positions with noise and nothing else."""
    rng, times = np.random.default_rng(seed), np.arange(0, seconds, 1 / hz)
    starts, u = system.initial_conditions(rng, n, system.parameters), None
    if system.inputs:  # the same for all

        def drive(t):
            return (np.sin(np.multiply([1.3, 3.1, 5.0], t[..., None]) + seed) @ [4, 3, 2])[
                ..., None
            ]

        u = drive(times)
    else:
        drive = None
    tracks = []
    for states in integrate_with_work(system, starts, times, 1e-10, signals=drive)[0]:
        q, qdot = np.split(states, 2, axis=1)
        if noise:
            tracks.append(Trajectory(times, q + noise * rng.standard_normal(q.shape), u=u))
        else:
            tracks.append(Trajectory(times, q, qdot, system.acceleration(q, qdot, u), u))
    return tracks


def error(fitted, system):
    """The median over held-out states of the normalised squared error of the acceleration."""
    test = record(system, 20, 5.0, seed=99, hz=10)
    q, qdot, qddot = (np.concatenate([getattr(x, name) for x in test]) for name in NAMES)
    u = np.concatenate([x.u for x in test]) if system.inputs else None
    off = (fitted.acceleration(q, qdot, u) - qddot) / qddot.std(0)
    return float(np.median(np.square(off).mean(1)))


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "most"), [(1e-3, 2e-5), (1e-2, 1e-3)])
def test_positions_alone_give_the_double_pendulum(noise, most):
    """10 trajectories of 10 s at 100 Hz; the goals are 5e-5 and 3e-3."""
    fitted = fit_weak(record(PENDULUM, 10, 10.0, noise), PENDULUM.angles)
    assert error(fitted, PENDULUM) < most
    np.testing.assert_allclose(fitted.noise, noise, rtol=0.1)
    assert fitted.choices.form == "weak"


@pytest.fixture(scope="module")
def few_choices():
    """One scale and number of features, so that a test takes seconds with every shape checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lagrangian_fit, "SCALES", (0.25,))
        patch.setattr(lagrangian_fit, "COUNTS", (60,))
        patch.setattr(lagrangian_forms, "HALF_WIDTHS", (1.2, 1.8))
        patch.setattr(lagrangian_forms, "LEAST_WINDOW", 0.7)
        yield


@pytest.fixture(scope="module")
def damped(few_choices):
    return fit_weak(record(DAMPED, 8, 5.0, 1e-3), DAMPED.angles, friction=JOINTS, non_negative=True)


def test_friction_of_both_joints_from_noisy_positions(damped):
    """Within 5 %; the trace of the true M is 3, and that of the fitted one 2."""
    true = np.array([DAMPED.constants["c1"], DAMPED.constants["c2"]])
    found = damped.friction
    np.testing.assert_allclose(1.5 * found.mean, true, rtol=0.05)
    assert (1.5 * found.error < 0.05 * true).all()
    low, high = found.interval(0.999)
    assert (low < true / 1.5).all()
    assert (true / 1.5 < high).all()
    q = np.concatenate([x.q for x in record(DAMPED, 8, 5.0, 1e-3)])
    mean = DAMPED.mass_matrix(q, 0 * q).mean(0)
    np.testing.assert_allclose(damped.mean_mass * 1.5, mean, rtol=0.02, atol=0.02)
    rates = np.linalg.solve(mean, JOINTS.T @ np.diag(true) @ JOINTS)
    assert np.abs(damped.rates.mean - rates).max() < 0.05 * np.abs(rates).max()
    assert np.trace(damped.mean_mass) == pytest.approx(2, rel=1e-3)


def test_the_fit_is_consistent_with_itself(damped):
    """Its energy changes by its power, and mass matrix and energy are those of its Lagrangian."""
    start, times = np.array([[0.8, -0.4, 0.5, 0.3]]), np.linspace(0, 3, 601)

    def field(_, state):
        q, v = np.split(state[None], 2, axis=1)
        return np.concatenate([v[0], damped.acceleration(q, v)[0]])

    tight = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-11}
    states = scipy.integrate.solve_ivp(field, (0, 3), start[0], t_eval=times, **tight).y.T
    q, v = np.split(states, 2, axis=1)
    energy, power = damped.energy(q, v), damped.power(v)
    work = scipy.integrate.cumulative_simpson(power, x=times, initial=0)
    assert np.abs(energy - energy[0] - work).max() < 1e-6 * np.abs(work).max()
    h, e = 1e-4, np.eye(2)
    for i in range(2):
        for j in range(2):
            four = [
                a * b * damped.lagrangian(q, v + h * (a * e[i] + b * e[j]))
                for a in (1, -1)
                for b in (1, -1)
            ]
            expected = sum(four) / (4 * h * h)
            np.testing.assert_allclose(damped.mass_matrix(q, v)[:, i, j], expected, atol=1e-5)
    true = integrate(DAMPED, start, times)[0]
    assert np.abs(states - true).max() < 0.05


@pytest.mark.usefixtures("few_choices")
@pytest.mark.parametrize("friction", [JOINTS, "matrix"], ids=["joints", "matrix"])
def test_friction_from_exact_accelerations(friction):
    fitted = fit_strong(record(DAMPED, 4, 3.0), DAMPED.angles, friction=friction)
    c1, c2 = DAMPED.constants["c1"], DAMPED.constants["c2"]
    true = [c1, c2] if isinstance(friction, np.ndarray) else [c1 + c2, -c2, c2]
    np.testing.assert_allclose(1.5 * fitted.friction.mean, true, rtol=1e-5)
    assert error(fitted, DAMPED) < 1e-12


@pytest.mark.usefixtures("few_choices")
@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("matrix", [PUSH, None], ids=["known", "fitted"])
def test_a_driven_cart_pole(noise, matrix):
    """Within 1 % from accelerations, within 5 % from positions; a known B fixes the scale."""
    tracks = record(CART, 6, 6.0, noise)
    fit = fit_weak if noise else fit_strong
    fitted = fit(tracks, CART.angles, friction="diagonal", input_matrix=matrix, non_negative=True)
    q = np.concatenate([x.q for x in tracks])
    mean = CART.mass_matrix(q, 0 * q).mean(0)
    scale = 1.0 if matrix is not None else mean[0, 0] / fitted.mean_mass[0, 0]
    assert fitted.absolute == (matrix is not None)
    true = [CART.constants["b_cart"], CART.constants["b_joint"]]
    close = {"rtol": 0.05 if noise else 0.01}
    np.testing.assert_allclose(scale * fitted.friction.mean, true, **close)
    np.testing.assert_allclose(scale * fitted.input_matrix, PUSH, **close, atol=0.02)
    np.testing.assert_allclose(scale * fitted.mean_mass[0, 0], mean[0, 0], **close)
    assert error(fitted, CART) < (1e-4 if noise else 1e-10)


@pytest.mark.usefixtures("few_choices")
def test_friction_that_is_not_there_is_small_and_never_negative_if_so_asked():
    tracks = record(PENDULUM, 6, 4.0, 1e-3)
    free = fit_weak(tracks, PENDULUM.angles, friction="diagonal").friction
    assert (np.abs(free.mean) < 4 * free.error).all()
    kept = fit_weak(tracks, PENDULUM.angles, friction="diagonal", non_negative=True).friction
    assert (kept.mean >= 0).all()
    assert (np.abs(kept.mean) < 4 * free.error + np.abs(free.mean)).all()


@pytest.mark.usefixtures("few_choices")
def test_a_library_gives_the_formula_from_uneven_noisy_positions():
    def terms(q, v, c, xp):
        yield from (v[0] ** 2, v[1] ** 2, v[0] * v[1] * xp.cos(q[0] - q[1]))
        yield from (xp.cos(q[0]), xp.cos(q[1]), xp.cos(q[0] - q[1]), q[0] ** 2)

    rng, times = np.random.default_rng(0), np.arange(0, 5, 0.01)
    times[1:-1] += rng.uniform(-0.002, 0.002, len(times) - 2)
    starts = PENDULUM.initial_conditions(rng, 6, PENDULUM.parameters)
    q = integrate(PENDULUM, starts, times, 1e-10)[:, :, :2]
    tracks = [Trajectory(times, x + 1e-3 * rng.standard_normal(x.shape)) for x in q]
    system = dataclasses.replace(PENDULUM, library=terms)
    fitted = fit_weak(tracks, PENDULUM.angles, features="library", system=system)
    true = np.array([1.0, 0.5, 1, 19.6, 9.8, 0, 0])
    np.testing.assert_allclose(1.5 * fitted.coefficients, true, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"friction": "some"}, "friction='some'"),
        ({"friction": "matrix", "non_negative": True}, "use 'diagonal', or the rates"),
        ({"friction": np.ones((2, 3))}, r"\(k, 2\) is needed"),
        ({"features": "many"}, "features='many' should be one of structured"),
        ({"input_matrix": PUSH}, r"\(2, 0\) is needed"),
    ],
)
def test_what_cannot_be_fitted_gets_one_sentence(options, sentence):
    with pytest.raises(DataError, match=sentence):
        fit_weak(record(PENDULUM, 1, 0.5), PENDULUM.angles, **options)


def test_motion_that_cannot_be_fitted_gets_one_sentence():
    tracks = record(PENDULUM, 1, 0.5)
    with pytest.raises(DataError, match="needs qddot"):
        fit_strong([Trajectory(tracks[0].times, tracks[0].q)], PENDULUM.angles)
    with pytest.raises(DataError, match="no trajectory has 28 samples"):
        fit_weak([tracks[0][:20]], PENDULUM.angles)
    with pytest.raises(DataError, match="not finite"):
        Trajectory(tracks[0].times, np.full_like(tracks[0].q, np.nan))
    with pytest.raises(DataError, match="ascend"):
        Trajectory(tracks[0].times[::-1].copy(), tracks[0].q)


def test_every_fifth_trajectory_or_the_last_fifth_of_each_is_held_out():
    tracks = record(PENDULUM, FEW, 0.5)
    fitted, held = split(tracks)
    assert [len(fitted), len(held)] == [12, 3]
    assert held[0] is tracks[4]
    fitted, held = split(tracks[:2])
    assert [len(x) for x in (*fitted, *held)] == [40, 40, 10, 10]
