"""The solver in tensors against torchode's, which is the same method, and against scipy's."""

import numpy as np
import torch
import torchode
from scipy.integrate import solve_ivp

from study.core.measures import tsitouras

TIMES = torch.linspace(0.5, 10.5, 201, dtype=torch.float64)


def field(t, y):
    """Two driven pendulums, coupled."""
    q, p = y.chunk(2, 1)
    return torch.cat([p, -9.8 * torch.sin(q) + torch.cos(3 * q.flip(1)) + t[:, None].cos()], 1)


def start(n):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_torchode(n, max_steps):
    term = torchode.ODETerm(field)
    controller = torchode.IntegralController(atol=1e-6, rtol=1e-6, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Tsit5(term=term), controller, max_steps=max_steps)
    problem = torchode.InitialValueProblem(y0=start(n), t_eval=TIMES.expand(n, -1))
    with torch.no_grad():
        return solver.solve(problem)


def test_it_takes_the_steps_that_torchode_takes():
    states, reached, steps = tsitouras.solve(
        field, start(20), TIMES, tolerance=1e-6, max_steps=5000
    )
    expected = by_torchode(20, 5000)
    assert torch.equal(steps, expected.stats["n_steps"])
    assert (reached == len(TIMES)).all()
    torch.testing.assert_close(states, expected.ys, rtol=1e-8, atol=1e-8)


def test_where_the_steps_run_out():
    states, reached, steps = tsitouras.solve(field, start(20), TIMES, tolerance=1e-6, max_steps=40)
    expected = by_torchode(20, 40)
    assert (steps == 40).all()
    assert torch.equal(reached, expected.stats["n_initialized"])
    assert (reached < len(TIMES)).all()
    for ours, theirs, n in zip(states, expected.ys, reached, strict=True):
        torch.testing.assert_close(ours[:n], theirs[:n], rtol=1e-8, atol=1e-8)


def test_it_follows_scipy():
    states, _, _ = tsitouras.solve(field, start(2), TIMES, tolerance=1e-10, max_steps=50_000)
    for y0, found in zip(start(2), states, strict=True):
        exact = solve_ivp(
            lambda t, y: field(torch.tensor([t]), torch.tensor(y)[None])[0].numpy(),
            (0.5, 10.5),
            y0.numpy(),
            "DOP853",
            TIMES.numpy(),
            rtol=1e-12,
            atol=1e-12,
        )
        np.testing.assert_allclose(found.numpy(), exact.y.T, atol=1e-7)


def test_a_rate_that_is_no_number_makes_steps_smaller_until_they_run_out():
    _, reached, steps = tsitouras.solve(
        lambda t, y: torch.where(t[:, None] > 1, torch.nan, -y),
        start(3),
        TIMES,
        tolerance=1e-6,
        max_steps=100,
    )
    assert (steps == 100).all()
    assert (TIMES[reached - 1] <= 1).all()
