"""The controls of the error budget against closed forms, scipy, and cases whose cause is known."""

import functools

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from study.core.data.datasets import TestSet, held_out, test_set
from study.core.measures import metrics
from study.core.measures.error_budget import error_budget, initial_offset, perturbed_motion
from study.core.measures.perturbations import encoded, smooth
from study.core.measures.rollout import rollout_field
from study.core.systems import SYSTEMS, System

TestSet.__test__ = False  # a class of the core, not a test
test_set.__test__ = False
EULER_GAMMA = 0.5772156649015329
OSCILLATOR = System(
    name="oscillator",
    lagrangian=lambda q, v, c, xp: c.m * v[0] ** 2 / 2 - c.k * q[0] ** 2 / 2,
    coordinates=(("x", "m"),),
    angles=(False,),
    constants={"m": 1.0, "k": 9.0},
    initial_conditions=lambda rng, n, c: rng.standard_normal((n, 2)) * [1.0, 3.0],
    box=(3.0, 9.0),
    horizon=20.0,
    energy_scale=lambda c: c.k / 2,
)


def budget(system, truth, test, predicted, **options):
    """The table's columns as arrays over replicates."""
    settings = {
        "units": test.units,
        "rtol": 1e-6,
        "max_steps": 2000,
        "seeds": [(0, r) for r in range(len(predicted))],
    }
    rows = error_budget(system, truth, test, predicted, **settings | options)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def rollout_error(states, truth, system, test):
    diverged = np.isnan(states[:, -1, 0])
    measured, _ = metrics.rollout_measures(states, diverged, truth, system, test.units)
    return measured["rollout_error"]


def rolled_out(system, truth, test, accelerations, rtol):
    """Rollouts of given physical accelerations of physical states, one function a replicate."""
    units = test.units

    def field(q, qdot):
        scaled = torch.cat([q, qdot], 1).mT.numpy()
        qddot = [f(units.to_physical(x)) for f, x in zip(accelerations, scaled, strict=True)]
        return torch.from_numpy(units.acceleration_to_scaled(np.stack(qddot))).mT

    start = np.concatenate(units.scale(*np.split(truth.states[:, 0], 2, axis=1)), axis=1)
    rolled = rollout_field(
        field,
        len(accelerations),
        torch.tensor(start),
        torch.tensor(truth.times / units.time),
        system.angles,
        rtol=rtol,
        max_steps=5000,
    )
    return units.to_physical(rolled.states.numpy())


def states_of(test):
    return np.concatenate([test.points.q, test.points.qdot], axis=1)


def noisy(test, R, size=1e-3):
    """Predictions that are wrong by a typical `size` standard deviations."""
    rng = np.random.default_rng(5)
    error = rng.standard_normal((R, *test.points.qddot.shape))
    return test.points.qddot + size * np.sqrt(test.variance) * error


# --- held-out cases: a true system plus an error that looks learned


def tanh_layer(rng, inputs, width=32):
    """Weights of a random layer that varies over about one unit, as the controls' fields do."""
    return rng.standard_normal((inputs, width)), 2 * rng.standard_normal(width)


def learned_error(system, test, rng):
    """A random tanh network of the encoded state: another form and another seed than `smooth`."""
    inputs = encoded(system, test.units, states_of(test)).shape[1]
    W, b = tanh_layer(rng, inputs)
    top = rng.standard_normal((len(b), system.n_dof))
    return lambda states: np.tanh(encoded(system, test.units, states) @ W + b) @ top


def learned_potential_error(system, test, rng):
    """-M^-1 dU/dq of a random tanh network U(q), by automatic differentiation."""
    units, D = test.units, system.n_dof
    inputs = encoded(system, units, test.points.q).shape[1]
    W, b = map(torch.tensor, tanh_layer(rng, inputs))
    top = torch.tensor(rng.standard_normal(len(b)))

    def potential(q):
        scaled = q / torch.tensor(units.length)
        columns = [
            f(scaled[:, i])
            for i, angle in enumerate(system.angles)
            for f in ((torch.cos, torch.sin) if angle else (lambda x: x,))
        ]
        return torch.tanh(torch.stack(columns, 1) @ W + b) @ top

    def error(states):
        with torch.enable_grad():
            q = torch.tensor(states[:, :D], requires_grad=True)
            (slope,) = torch.autograd.grad(potential(q).sum(), q)
        mass = system.mass_matrix(states[:, :D], states[:, D:])
        return np.linalg.solve(mass, -slope.numpy()[..., None])[..., 0]

    return error


slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "make", "column", "factor"),
    [
        slow("double_pendulum", learned_error, "budget_smooth", 1.5),
        slow("magnetic_trap", learned_error, "budget_smooth", 1.5),
        ("kepler", learned_error, "budget_smooth", 1.5),
        slow("double_pendulum", learned_potential_error, "budget_conservative", 1.5),
        slow("magnetic_trap", learned_potential_error, "budget_conservative", 1.5),
        # an orbit averages out what varies over its size; the steps of a tanh reach further
        ("kepler", learned_potential_error, "budget_conservative", 1.7),
    ],
)
def test_the_matching_control_has_the_rollout_error_of_an_error_that_looks_learned(
    name, make, column, factor
):
    system, R = SYSTEMS[name], 6
    test = test_set(system)
    truth = held_out(system, 12, system.horizon, 100)
    states, true = states_of(test), test.points.qddot
    accelerations, predicted = [], []
    for r in range(R):
        error = make(system, test, np.random.default_rng((99, r)))
        size = 1e-3 / np.median((error(states) ** 2 / test.variance).mean(1)) ** 0.5

        def wrong(x, error=error, size=size):
            return system.rhs(x)[:, system.n_dof :] + size * error(x)

        accelerations.append(wrong)
        predicted.append(true + size * error(states))
    moved = rolled_out(system, truth, test, accelerations, rtol=1e-5)
    own = np.array([rollout_error(x, truth, system, test) for x in moved])
    control = budget(system, truth, test, np.stack(predicted), rtol=1e-5)
    off = np.log(control[column] / own)
    # single draws scatter by about 1.5; it is their centre that is held to the factor
    assert np.abs(off.mean()) < np.log(factor)
    assert off.std() < np.log(2.5)
    # and nothing else explains it
    for other in ("budget_integrator", "budget_reference"):
        assert control[other].max() < own.min() / 10


def test_a_models_own_error_along_the_truth_gives_its_rollout_error():
    system, R = SYSTEMS["double_pendulum"], 3
    test, truth = test_set(system), held_out(system, 6, 5.0, 100)
    accelerations, predicted, along = [], [], []
    for r in range(R):
        error = learned_error(system, test, np.random.default_rng((98, r)))

        def wrong(x, error=error):
            return system.rhs(x)[..., system.n_dof :] + 1e-3 * error(x)

        accelerations.append(wrong)
        predicted.append(wrong(states_of(test)))
        along.append(wrong(truth.states.reshape(-1, 4)).reshape(*truth.states.shape[:2], 2))
    moved = rolled_out(system, truth, test, accelerations, rtol=1e-8)
    true = np.array([rollout_error(x, truth, system, test) for x in moved])
    control = budget(system, truth, test, np.stack(predicted), along=np.stack(along))
    assert control["budget_own"] == pytest.approx(true, rel=0.03)


def textbook(states, g=9.8):
    """qddot of the double pendulum with unit masses and lengths, as textbooks write it out."""
    q1, q2, v1, v2 = states.T
    d = q1 - q2
    below = 3 - np.cos(2 * d)
    a1 = -3 * g * np.sin(q1) - g * np.sin(q1 - 2 * q2)
    a1 = a1 - 2 * np.sin(d) * (v2**2 + v1**2 * np.cos(d))
    a2 = 2 * np.sin(d) * (2 * v1**2 + 2 * g * np.cos(q1) + v2**2 * np.cos(d))
    return np.stack([a1, a2], axis=1) / below[:, None]


def test_right_accelerations_and_a_sloppy_solver_are_blamed_on_the_solver():
    system = SYSTEMS["double_pendulum"]
    test = test_set(system)
    truth = held_out(system, 8, system.horizon, 100)
    predicted = textbook(states_of(test))[None]
    for rtol in (1e-2, 1e-3):
        own = rollout_error(
            rolled_out(system, truth, test, [textbook], rtol)[0], truth, system, test
        )
        control = budget(system, truth, test, predicted, rtol=rtol)
        assert own > 1e-3
        assert control["budget_integrator"][0] == pytest.approx(own, rel=0.05)
        for other in ("white", "smooth", "conservative", "reference"):
            assert control[f"budget_{other}"][0] < 1e-6 * own


# --- closed forms


def test_an_offset_of_an_oscillator_stays_as_large_as_it_is():
    test, truth = test_set(OSCILLATOR), held_out(OSCILLATOR, 64, 20.0, 100)
    control = budget(OSCILLATOR, truth, test, noisy(test, 1))
    # in scaled units a circle, on which offset and state keep their lengths
    start = truth.states[:, 0] * [1, 1 / 3]
    offset = initial_offset(test.units, 64, 2) * [1, 1 / 3]
    lengths = [np.linalg.norm(x, axis=1) for x in (offset, start, start + offset)]
    expected = np.exp(np.log(lengths[0] / (lengths[1] + lengths[2])).mean())
    assert control["budget_initial"][0] == pytest.approx(expected, rel=0.01)
    assert (offset / test.units.length).std() == pytest.approx(1e-4, rel=0.2)


def test_white_noise_shakes_an_oscillator_as_a_random_walk():
    # the times are whole numbers of steps and of holds apart
    test, truth = test_set(OSCILLATOR), held_out(OSCILLATOR, 64, 20.0, 101)
    control = budget(OSCILLATOR, truth, test, noisy(test, 4, 1e-4))
    # scaled: x'' = -x + s w(t), w held for h: the offset is a complex Gaussian of variance s^2 h t,
    # the logarithm of whose square has the mean ln(s^2 h t) - gamma
    s = test.units.acceleration_to_scaled(1e-4 * np.sqrt(test.variance))[0]
    z = np.linalg.norm(truth.states[:, 0] * [1, 1 / 3], axis=1) / test.units.length
    t = truth.times[1:] / test.units.time
    log_offset = (np.log(s**2 * 0.1 * t) - EULER_GAMMA).mean() / 2
    expected = np.exp(log_offset - np.log(2 * z).mean())
    assert np.exp(np.log(control["budget_white"]).mean()) == pytest.approx(expected, rel=0.1)


def kepler_motion(start, times):
    """Ellipses (K, T, 4) with mu = 1, by Kepler's equation in the eccentric anomaly's change and
    Lagrange's f and g (Bate, Mueller and White 1971, Fundamentals of Astrodynamics, ch. 4)."""
    r, v = start[:, None, :2], start[:, None, 2:]
    r0 = np.linalg.norm(r, axis=-1)
    a = 1 / (2 / r0 - (v**2).sum(-1))
    n, sigma = a**-1.5, (r * v).sum(-1) / np.sqrt(a)
    E = n * times
    for _ in range(50):
        wrong = E - (1 - r0 / a) * np.sin(E) + sigma * (1 - np.cos(E)) - n * times
        E = E - wrong / (1 - (1 - r0 / a) * np.cos(E) + sigma * np.sin(E))
    f = 1 - a / r0 * (1 - np.cos(E))
    g = times - (E - np.sin(E)) / n
    position = f[..., None] * r + g[..., None] * v
    distance = np.linalg.norm(position, axis=-1)
    f_rate = -np.sqrt(a) / (distance * r0) * np.sin(E)
    g_rate = 1 - a / distance * (1 - np.cos(E))
    return np.concatenate([position, f_rate[..., None] * r + g_rate[..., None] * v], axis=-1)


def test_an_offset_of_kepler_orbits_grows_as_the_closed_form_says():
    system = SYSTEMS["kepler"]
    test, truth = test_set(system), held_out(system, 16, system.horizon, 100)
    np.testing.assert_allclose(
        kepler_motion(truth.states[:, 0], truth.times), truth.states, 0, 1e-8
    )
    moved = kepler_motion(truth.states[:, 0] + initial_offset(test.units, 16, 4), truth.times)
    control = budget(system, truth, test, noisy(test, 1))
    expected = rollout_error(moved, truth, system, test)
    assert control["budget_initial"][0] == pytest.approx(expected, rel=0.02)


# --- how perturbed motion is integrated


def test_perturbed_motion_is_what_a_tight_solver_gives_however_small_the_perturbation():
    system = SYSTEMS["double_pendulum"]
    test, truth = test_set(system), held_out(system, 2, 5.0, 40)
    perturbation = smooth(system, test, noisy(test, 1, 1e-8), [(3,)], 2)
    nowhere = np.zeros((2, 4))

    def field(time, flat):
        states = flat.reshape(2, 4)
        change = system.rhs(states)
        mass = system.mass_matrix(*np.split(states, 2, axis=1))
        change[:, 2:] += perturbation(states[None], time, mass[None])[0]
        return change.ravel()

    solved = solve_ivp(
        field,
        (0, 5.0),
        truth.states[:, 0].ravel(),
        method="DOP853",
        t_eval=truth.times,
        rtol=1e-11,
        atol=1e-11,
    )
    exact = solved.y.T.reshape(-1, 2, 4).transpose(1, 0, 2) - truth.states
    assert np.abs(exact).max() < 1e-5  # a step's own error would hide it, did it not drop out
    for step, tolerance in ((0.1, 0.1), (0.02, 0.001)):  # the control's step, and a finer one
        kinds = {"it": perturbation}
        moved = perturbed_motion(system, truth, test.units, kinds, 1, nowhere, step)
        difference = moved["it"][0] - truth.states
        np.testing.assert_allclose(difference, exact, atol=tolerance * np.abs(exact).max())


# --- blocks, and errors without measure


def test_a_replicate_depends_on_its_own_seed_and_error_alone():
    system = SYSTEMS["magnetic_trap"]
    test, truth = test_set(system), held_out(system, 4, 5.0, 20)
    predicted, seeds = noisy(test, 3), [(7, 0), (7, 1), (7, 2)]
    together = budget(system, truth, test, predicted, seeds=seeds)
    alone = budget(system, truth, test, predicted[2:], seeds=seeds[2:])
    for name, values in together.items():
        assert alone[name][0] == values[2]
    drawn = together["budget_smooth"]
    assert len(set(drawn)) == 3


def test_no_error_and_endless_error_are_told_beside_others():
    system = SYSTEMS["double_pendulum"]
    test, truth = test_set(system), held_out(system, 4, 2.0, 20)
    predicted = noisy(test, 4)
    usual = budget(system, truth, test, predicted)
    predicted[0] = test.points.qddot
    predicted[1] = np.nan
    predicted[2] = 1e200
    control = budget(system, truth, test, predicted)
    for kind in ("white", "smooth", "conservative"):
        values = control[f"budget_{kind}"]
        assert values[:3].tolist() == [pytest.approx(1e-12), 1.0, 1.0]
        assert values[3] == usual[f"budget_{kind}"][3]


def test_a_rollout_that_runs_out_of_steps_is_wrong_from_there_on():
    system = SYSTEMS["double_pendulum"]
    test, truth = test_set(system), held_out(system, 4, 2.0, 20)
    enough, few = (
        budget(system, truth, test, noisy(test, 1), max_steps=n)["budget_integrator"][0]
        for n in (2000, 5)
    )
    assert enough < 1e-4
    assert few > 0.1
