"""Where bodies are drawn is where they are: their kinetic energy is that of the Lagrangian."""

from __future__ import annotations

import numpy as np
import pytest

from study.core.systems import SYSTEMS

# the masses of the bodies, a pivot's is none
MASSES = {
    "double_pendulum": (0.0, 1.0, 2.0),
    "triple_pendulum": (0.0, 1.0, 2.0, 3.0),
    "spring_pendulum": (0.0, 2.0),
    "cart_pole": (3.0, 2.0),
    "kepler": (2.0,),
    "henon_heiles": (2.0,),
}
CONSTANTS = {
    "double_pendulum": {"m2": 2.0, "l2": 0.7},
    "triple_pendulum": {"m2": 2.0, "m3": 3.0, "l2": 0.7, "l3": 1.3},
    "spring_pendulum": {"m": 2.0},
    "cart_pole": {"M": 3.0, "m": 2.0, "l": 0.7},
    "kepler": {"m": 2.0},
    "henon_heiles": {"m": 2.0},
}


@pytest.mark.parametrize("name", MASSES)
def test_mass_matrix_is_that_of_the_bodies(name: str) -> None:
    """M = sum over bodies of m J^T J, J by complex steps (Goldstein, eq. 1-71)."""
    system = SYSTEMS[name].with_constants(**CONSTANTS[name])
    assert system.bodies is not None
    start = system.initial_conditions(np.random.default_rng(0), 5, system.parameters)
    q, v = np.split(start, 2, axis=1)
    steps = 1e-20j * np.eye(system.n_dof)
    J = np.stack([system.bodies(q + h, system.parameters).imag / 1e-20 for h in steps], axis=3)
    M = np.einsum("k,nkxi,nkxj->nij", MASSES[name], J, J)
    np.testing.assert_allclose(M, system.mass_matrix(q, v), atol=1e-12)


def test_what_hangs_hangs_down() -> None:
    for name in ("double_pendulum", "triple_pendulum", "cart_pole"):
        system = SYSTEMS[name]
        assert system.bodies is not None
        places = system.bodies(np.zeros((1, system.n_dof)), system.parameters)[0]
        assert (np.diff(places[:, 1]) < 0).all()
        assert (places[:, 0] == 0).all()
