"""The textbook's double descent, by a Lagrangian that is linear in its parameters."""

import numpy as np
import pytest

from study.analysis.statistics.peaks import peak
from study.block.measures import curve_measure
from study.block.setup import set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.training.train import State, train

PENDULUM = """
import numpy as np
from study.core.systems import System

pendulum = System(
    name="pendulum",
    lagrangian=lambda q, v, c, xp: v[0] ** 2 / 2 + c.g * xp.cos(q[0]),
    coordinates=(("theta", "rad"),),
    angles=(True,),
    constants={"g": 9.8},
    initial_conditions=lambda rng, n, c: np.stack([rng.uniform(-2, 2, n), np.zeros(n)], axis=1),
    box=(np.pi, 6.0),
    horizon=10.0,
    energy_scale=lambda c: 2 * c.g,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("D", [1, 2, 3])
def test_minimum_norm_peaks_where_equations_are_as_many_as_unknowns(D, tmp_path, monkeypatch):
    """N D = P, not N = P; the gauge takes one unknown."""
    (tmp_path / "pendulum.py").write_text(PENDULUM)
    monkeypatch.chdir(tmp_path)
    register()
    system = {
        1: ("system=file", "system.path=pendulum.py", "data.sampler=uniform"),
        2: (),
        3: ("system=triple_pendulum",),
    }
    P, columns = 100, []
    replicates = 100 if D == 1 else 40  # with D = 1 the peak is lower
    ladder = [round(f * P / D) for f in (0.5, 0.7, 0.8, 0.9, 0.96, 1.0, 1.04, 1.1, 1.2, 1.4, 2.0)]
    for N in ladder:
        plain = compose([
            *system[D], "model=linear_lagrangian", "optimizer=least_squares", "optimizer.ridge=0",
            "model.features=random", f"model.width={P}", "model.scale=1", "data.noise=0.1",
            f"data.n_train={N}", f"replicates={replicates}", f"block_size={replicates}",
        ])  # fmt: skip
        setup = set_up(make_cell(plain, compile=True), 0)
        state = State.fresh(setup.initial_parameters())
        ended = train(setup.model, setup.data, setup.stages, state, measure=lambda theta: {})
        columns.append(curve_measure(setup)(ended.theta)["test_nmse_median"])
    found = peak(np.array(columns).T, np.array(ladder) * D / P)
    assert found is not None
    assert found.verdict == "yes"
    assert found.place.value == pytest.approx(1.0, abs=0.06)  # 5 %, and the rungs are whole points
