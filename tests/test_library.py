"""`study.fit`, `load` and `systems` against the exact systems, by autograd, and beside a trial."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import study
from study.block.run import run_block
from study.config import own_system
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.errors import ConfigError
from study.core import native
from study.core.systems.pendulums import at_rest
from study.tables.records import TableError

ROOT = Path(__file__).parents[1]
T = np.linspace(0, 10, 101)
QUICK = ["model.width=6", "optimizer.steps=20", "data.pool_size=500", "data.n_trajectories=20"]


def pendulum_of(**fields) -> study.System:
    """A pendulum made in this process."""
    plain = {
        "name": "own_pendulum",
        "lagrangian": lambda q, v, c, xp: c.l**2 * v[0] ** 2 / 2 + c.g * c.l * xp.cos(q[0]),
        "coordinates": (("theta", "rad"),),
        "angles": (True,),
        "constants": {"l": 0.7, "g": 9.8},
        "initial_conditions": at_rest(2.0),
        "box": (np.pi, 6.0),
        "horizon": 5.0,
        "energy_scale": lambda c: 2 * c.g * c.l,
    }
    return study.System(**plain | fields)


@pytest.fixture(scope="module")
def double():
    return study.fit("double_pendulum", n=256)


def test_the_import_loads_nothing() -> None:
    program = (
        "import sys, study\n"
        "assert not {'torch', 'numpy', 'pandas', 'hydra'} & set(sys.modules), sys.modules.keys()\n"
        "assert set(study.__all__) <= set(dir(study))\n"
        "before = study.fit\n"
        "import study.fit, study.results\n"
        "from study import fit\n"
        "assert before is study.fit is fit and callable(fit) and fit.__name__ == 'fit'\n"
        "import runpy\n"
        "sys.argv = ['study.fit']\n"
        "runpy.run_module('study.fit', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Fit the Lagrangian, and the friction, of a recording")
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        study.fitt  # noqa: B018


def test_a_double_pendulum_is_right_for_its_ten_seconds(double) -> None:
    """From starts like those of the training, and not those."""
    true = study.systems["double_pendulum"]
    q, qdot = true.starts(8, seed=1)
    learned, exact = double.rollout(q, qdot, T), true.rollout(q, qdot, T)
    assert learned[0].shape == (8, 101, 2)
    np.testing.assert_array_equal(learned[0][:, 0], q)
    for ours, theirs in zip(learned, exact, strict=True):
        assert np.abs(ours - theirs).max() < 1e-3
    q, qdot = exact
    error = double.acceleration(q, qdot) - true.acceleration(q, qdot)
    assert np.abs(error).max() < 1e-3
    # of L a factor and a constant are not seen
    factor = double.mass_matrix(q, qdot) / true.mass_matrix(q, qdot)
    assert np.ptp(factor) < 1e-3 * factor.mean()
    rest = double.energy(q, qdot) - factor.mean() * true.energy(q, qdot)
    assert np.ptp(rest) < 1e-4 * factor.mean() * np.ptp(true.energy(q, 0 * qdot))
    kinetic = np.einsum("...i,...ij,...j", qdot, double.mass_matrix(q, qdot), qdot) / 2
    L = double.lagrangian(q, qdot)
    np.testing.assert_allclose(L, 2 * kinetic - double.energy(q, qdot), atol=1e-9 * np.ptp(L))


def test_any_leading_shape_and_one_sentence_for_another_width(double) -> None:
    rng = np.random.default_rng(0)
    q, qdot = rng.normal(size=(2, 3, 4, 2))
    qddot, (rolled, _) = double.acceleration(q, qdot), double.rollout(q, qdot, T[:3])
    assert qddot.shape == (3, 4, 2)
    assert rolled.shape == (3, 4, 3, 2)
    assert double.mass_matrix(q, qdot).shape == (3, 4, 2, 2)
    assert double.energy(q[0, 0], qdot[0, 0]).shape == ()
    one = double.acceleration(list(q[1, 2]), list(qdot[1, 2]))
    np.testing.assert_allclose(one, qddot[1, 2], rtol=1e-9)
    alone = double.rollout(q[1, 2], qdot[1, 2], T[:3] + 7)[0]  # the clock is nothing to it
    np.testing.assert_allclose(alone, rolled[1, 2], rtol=1e-7)
    true = study.systems["double_pendulum"]
    wide = np.ones((4, 3))
    for call in (double.acceleration, double.energy, double.mass_matrix, double.lagrangian):
        with pytest.raises(ValueError, match=r"shape \(4, 3\) .* should be \(\.\.\., 2\)"):
            call(wide, wide)
    for model in (double, true):
        with pytest.raises(ValueError, match=r"should be \(\.\.\., 2\)"):
            model.rollout(wide, wide, T)
        for times in (T[::-1], 3.0, [0.0, np.nan]):
            with pytest.raises(ValueError, match="rising times in seconds"):
                model.rollout(q, qdot, times)
    with pytest.raises(ValueError, match=r"should be \(\.\.\., 2\)"):
        true.acceleration(wide, wide)
    with pytest.raises(ValueError, match=r"q has the shape \(2,\) and qdot \(1, 2\)"):
        double.acceleration(np.zeros(2), np.zeros((1, 2)))


def test_a_saved_model_is_the_same(double, tmp_path: Path) -> None:
    double.save(tmp_path / "double.pt")
    again = study.load(tmp_path / "double.pt")
    q, qdot = study.systems["double_pendulum"].starts(5)
    np.testing.assert_array_equal(again.acceleration(q, qdot), double.acceleration(q, qdot))
    np.testing.assert_array_equal(again.rollout(q, qdot, T), double.rollout(q, qdot, T))
    (tmp_path / "no.pt").write_text("nothing")
    torch.save({"a": 1}, tmp_path / "other.pt")
    np.savez(tmp_path / "other.npz", a=1)
    for name in ("no.pt", "gone.pt", "other.pt", "other.npz", "gone.npz"):
        with pytest.raises(TableError, match=name):
            study.load(tmp_path / name)


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("lnn", None),
        ("structured_lnn", None),
        ("linear_lagrangian", "structured"),
        ("linear_lagrangian", "random"),
        ("linear_lagrangian", "library"),
    ],
)
def test_torch_has_the_same_law_and_its_gradients(model: str, features: str | None) -> None:
    """The Lagrangian in physical units, by autograd, gives the accelerations, in every model."""
    terms = lambda q, v, c, xp: [v[0] ** 2, v[1] ** 2, v[0] * v[1], q[0] ** 2, xp.cos(q[1])]  # noqa: E731
    system = pendulum_of(
        name="two",
        lagrangian=lambda q, v, c, xp: v[0] ** 2 + v[1] ** 2 - q[0] ** 2 + xp.cos(q[1]) + 0 * c.g,
        coordinates=(("x", "m"), ("theta", "rad")),
        angles=(False, True),
        initial_conditions=at_rest(2.0, 2.0),
        box=(2.0, np.pi, 2.0, 2.0),
        library=terms,
    )
    chosen = [f"model.features={features}"] if features else ["optimizer.steps=20"]
    optimizer = None if features else "adam"
    given = [*QUICK[2:], *chosen] + ([] if features == "library" else ["model.width=6"])
    learned = study.fit(system, model=model, optimizer=optimizer, n=64, overrides=given)
    law = learned.to_torch()
    q, qdot = (torch.tensor(x) for x in np.random.default_rng(1).normal(size=(2, 7, 2)))
    np.testing.assert_allclose(
        law(q, qdot).detach().numpy(), learned.acceleration(q.numpy(), qdot.numpy())
    )

    def motion(x, v):
        L = lambda x, v: law.lagrangian(x[None], v[None])[0]  # noqa: E731
        g = torch.autograd.functional.jacobian(lambda x: L(x, v), x)
        H = torch.autograd.functional.hessian(L, (x, v))
        return H[1][1].detach(), torch.linalg.solve(H[1][1], g - H[1][0] @ v).detach()

    for k in range(len(q)):
        mass, qddot = motion(q[k], qdot[k])
        expected = learned.acceleration(q[k].numpy(), qdot[k].numpy())
        np.testing.assert_allclose(qddot.numpy(), expected, rtol=1e-6, atol=1e-7)
        by_hand = learned.mass_matrix(q[k].numpy(), qdot[k].numpy())
        np.testing.assert_allclose(mass.numpy(), by_hand, rtol=1e-7, atol=1e-9)


def test_it_is_the_network_of_a_trial() -> None:
    line = ["model=lnn", "optimizer=adam", "data.n_train=64", "seed=3", *QUICK]
    short = ["rollout.horizon=0.5", "rollout.n_times=5", "diagnostics.error_budget=false"]
    config = compose([*line, *short, "replicates=1", "block_size=1"])
    cell = make_cell(config, compile=native.trouble() is None)
    trial = run_block(cell, 0).weights["theta"].double()
    learned = study.fit("double_pendulum", model="lnn", optimizer="adam", n=64, seed=3,
                        overrides=QUICK)  # fmt: skip
    assert torch.equal(learned.theta, trial)
    other = study.fit("double_pendulum", model="lnn", optimizer="adam", n=64, seed=4, **{
        key: float(value) if "." in value else int(value)
        for key, value in (line.split("=") for line in QUICK)
    })  # fmt: skip
    assert other.theta.shape == trial.shape
    assert not torch.equal(other.theta, trial)


def test_other_constants_and_own_systems(tmp_path: Path) -> None:
    long = study.systems["oscillator"].with_constants(k=2.5)
    system, t = pendulum_of(), np.linspace(0, 5, 51)
    again = own_system.add(pendulum_of())
    assert own_system.add(system) == again  # by what it is, not which object
    assert own_system.add(pendulum_of(constants={"l": 0.8, "g": 9.8})) != again
    for true in (long, system):
        q, qdot = true.starts(4, seed=5)
        learned = study.fit(true, n=128, overrides=QUICK[2:])
        np.testing.assert_allclose(learned.rollout(q, qdot, t), true.rollout(q, qdot, t), atol=2e-3)
    path = tmp_path / "own.py"
    path.write_text(
        "from study.core.systems import SYSTEMS\n"
        "import dataclasses\n"
        "system = dataclasses.replace(SYSTEMS['oscillator'], name='mine')\n"
    )
    learned = study.fit(path, n=128, overrides=[*QUICK[2:], "system.k=2.5"])
    q, qdot = long.starts(4)
    np.testing.assert_allclose(learned.acceleration(q, qdot), long.acceleration(q, qdot), atol=1e-4)


def test_the_systems_by_name() -> None:
    assert set(study.systems) >= {"double_pendulum", "kepler"}
    assert study.systems["kepler"].constants == {"m": 1.0, "mu": 1.0}
    assert "double_pendulum" in repr(study.systems)
    with pytest.raises(KeyError, match="unknown system doble_pendulum: did you mean double"):
        study.systems["doble_pendulum"]
    q, qdot = study.systems["kepler"].starts(3)
    t = np.linspace(0, 3, 7)
    x, v = study.systems["kepler"].rollout(q, qdot, t)
    momentum = x[..., 0] * v[..., 1] - x[..., 1] * v[..., 0]
    np.testing.assert_allclose(momentum, momentum[:, :1] + 0 * t, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "more", "sentence"),
    [
        ("doble_pendulum", {}, "unknown system doble_pendulum: did you mean double_pendulum?"),
        (
            "double_pendulum",
            {"model": "lmm"},
            "unknown model lmm: known are acceleration_mlp, linear",
        ),
        ("double_pendulum", {"n": 0}, "data.n_train=0 is not allowed"),
        ("double_pendulum", {"width": 8}, "unknown key width: did you mean model.width?"),
        ("double_pendulum", {"inputs": ["u"]}, "inputs=['u'] are columns of a file"),
        ("double_pendulum", {"q": ["a"]}, "data.columns.q=[a] is a key of data=file"),
        ("gone.csv", {"q": "x", "units": "m"}, "data.path=gone.csv: there is no such file"),
        ("gone.csv", {"n": 5}, "n=5: a recording is fitted whole"),
        ("gone.py", {}, "system.path=gone.py: there is no such file"),
        ("double_pendulum", {"optimizer": "soap"}, "turns the layers of a network"),
    ],
)
def test_what_cannot_be_right(arguments, more, sentence) -> None:
    with pytest.raises(ConfigError) as raised:
        study.fit(arguments, **more)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_accelerations_alone_have_no_lagrangian() -> None:
    model = study.fit("double_pendulum", model="random_features", n=64, overrides=QUICK[2:])
    for call in (model.lagrangian, model.energy, model.mass_matrix):
        with pytest.raises(ValueError, match="learns accelerations and no Lagrangian"):
            call(np.zeros(2), np.zeros(2))
    assert model.rollout([0.1, 0.1], [0.0, 0.0], T[:3])[0].shape == (3, 2)
