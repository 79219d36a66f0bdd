"""Whether a motion loses energy is told from simulated motion with and without friction."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from study.core.data.datasets import integrate
from study.core.data.derivatives import Method
from study.core.data.recording import Motion
from study.core.data.trajectory import Trajectory
from study.core.measures.conservation import MOST, remark, thinned
from study.core.systems import SYSTEMS

METHOD = Method("savgol", 11, 0.0)


def estimated(run):
    inner = slice(METHOD.margin, len(run) - METHOD.margin)
    return Motion(run.times[inner], *(x[inner] for x in METHOD(run.times, run.q)))


def said_of(name, noise, seed=0):
    system, rng = SYSTEMS[name], np.random.default_rng(seed)
    times = np.arange(0, 4, 0.02)
    states = integrate(system, system.initial_conditions(rng, 7, system.parameters), times)
    q = states[..., :2] + noise * rng.standard_normal((*states.shape[:2], 2))
    runs = [Trajectory(times, x) for x in q]
    return remark(runs[:5], [estimated(x) for x in runs[5:]], system.angles)


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_noise_is_no_friction(noise):
    assert said_of("double_pendulum", noise).startswith("the motion is conservative within its n")


@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_friction_is_seen_through_noise(noise):
    said = said_of("damped_double_pendulum", noise)
    if noise > 1e-3:  # no error shows it, but its coefficient does
        assert said.startswith("the motion loses energy: friction ")
        return
    assert said.startswith("the motion loses energy: friction lowers the error of held-out ")
    assert float(said.partition("-fold")[0].split()[-1]) > 3


def measured_pendulum(force):
    """Runs of a pendulum with all rates measured, and a force of (rate, time) on it."""
    times, runs = np.arange(0, 6, 0.02), []
    for k, start in enumerate((0.5, 0.9, 1.3, 1.7, 2.1, 2.4)):
        field = lambda t, y, k=k: (y[1], -9.8 * np.sin(y[0]) + force(y[1], t + 1.7 * k))  # noqa: E731
        y = solve_ivp(field, (0, 6), (start, 0.0), t_eval=times, rtol=1e-9, atol=1e-9).y
        a = np.array([field(t, state)[1] for t, state in zip(times, y.T, strict=True)])
        runs.append(Trajectory(times, y[:1].T, y[1:].T, a[:, None]))
    motions = [Motion(x.times, x.q, x.qdot, x.qddot) for x in runs[4:]]  # type: ignore[arg-type]
    return remark(runs[:4], motions, (True,))


def test_friction_gain_and_a_motor_are_told_apart():
    assert "conservative within" in measured_pendulum(lambda v, t: 0.0)
    assert "loses energy" in measured_pendulum(lambda v, t: -0.2 * v)
    assert "gains energy" in measured_pendulum(lambda v, t: 0.1 * v)
    assert "no Lagrangian explains" in measured_pendulum(lambda v, t: 20 * np.sin(7.3 * t))


def test_a_long_recording_is_thinned_and_a_short_one_says_nothing():
    times = np.arange(0, 40, 0.001)
    runs = [Trajectory(times, np.sin(3 * times)[:, None])] * 3
    motions = [Motion(times, *(f(3 * times)[:, None] for f in (np.sin, np.cos, np.sin)))]
    few = thinned(runs, motions)
    assert sum(map(len, few)) <= MOST
    assert few[0].times[-1] > 5  # periods of 2 s are still seen
    short = [Trajectory(x.times[:12], x.q[:12]) for x in runs]
    assert remark(short, motions, (False,)) == ""
