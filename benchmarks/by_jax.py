"""The question's training step by JAX, as one who knows JAX writes it: one thread, float32.

Two forms of the loss's gradient, both by automatic differentiation alone:

- `plain`: `jax.linearize` of `jax.grad` of L at one state, applied to the D unit vectors of qdot
  and to (qdot, 0); vmap over states; `jax.nn.softplus`.
- `tuned`: L of a whole batch, feature-major; `jax.vjp` of its gradient, pulled back along the D
  unit vectors; softplus with its derivative stated, so that no logaddexp is differentiated thrice;
  256 states at a time by `lax.scan`, because they stay in the cache.

Slower when it was chosen, in us a sample, `tuned` at 2.8. With the same softplus: all 1024 states
at once (3.5), row-major (4.2), vmap over states of the vjp (3.9) and of linearize (5.7), 8 networks
x 128 by `lax.map` (3.2) and by vmap (3.9), `jax.checkpoint` (3.8), the gradient by implicit
differentiation, without a third derivative (2.9). With `jax.nn.softplus`: linearize of the batch
(4.8), jvp of grad (9.1), jvp of jvp (15), `jax.hessian` (22). XLA's oneDNN, XNNPACK and YNNPACK,
512-bit vectors and fast math gained nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

# before the import, which reads them
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 "
    + os.environ.get("XLA_FLAGS", "")
)

import jax  # type: ignore
import jax.numpy as jnp  # type: ignore
import numpy as np

jax.config.update("jax_cpu_enable_async_dispatch", False)

D, BETA, CHUNK = 2, 0.5, 256
UNIT = np.eye(2 * D, dtype=np.float32)[D:]  # the directions of qdot

Layers = list[tuple[Any, Any]]  # (W: (out, in), b: (out,)), the output last
Gradient = Callable[[Layers, Any, Any], tuple[Any, Layers]]  # of states (B, 2 D), targets (B, D)


@jax.custom_jvp
def softplus(x: Any) -> Any:
    """log(1 + exp(BETA x)) / BETA."""
    x = BETA * x
    return (jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))) / BETA


@softplus.defjvp  # type: ignore
def _(primals: tuple, tangents: tuple) -> tuple:
    (x,), (tangent,) = primals, tangents
    return softplus(x), (0.5 + 0.5 * jnp.tanh(0.5 * BETA * x)) * tangent


def solve(mass: Any, force: Any) -> Any:
    """M^-1 f of 2 x 2 matrices in closed form; entries first."""
    (a, b), (c, d) = mass
    return jnp.stack([d * force[0] - b * force[1], a * force[1] - c * force[0]]) / (a * d - b * c)


def plain(layers: Layers, x: Any, target: Any) -> tuple[Any, Layers]:
    """Loss and gradient, from one state."""

    def lagrangian(layers: Layers, state: Any) -> Any:
        *hidden, (W, b) = layers
        for V, c in hidden:
            state = jax.nn.softplus(BETA * (V @ state + c)) / BETA
        return (W @ state + b)[0]

    def acceleration(layers: Layers, state: Any) -> Any:
        J, push = jax.linearize(partial(jax.grad(lagrangian, 1), layers), state)
        mass = jnp.stack([push(unit)[D:] for unit in UNIT])
        return solve(mass, J[:D] - push(jnp.concatenate([state[D:], jnp.zeros(D)]))[D:])

    def loss(layers: Layers) -> Any:
        return ((jax.vmap(acceleration, (None, 0))(layers, x) - target) ** 2).mean()

    return jax.value_and_grad(loss)(layers)


def tuned(layers: Layers, x: Any, target: Any) -> tuple[Any, Layers]:
    """Loss and gradient, from `CHUNK` states at a time."""

    def lagrangian(layers: Layers, states: Any) -> Any:
        *hidden, (W, b) = layers
        for V, c in hidden:
            states = softplus(V @ states + c[:, None])
        return (W @ states + b[:, None]).sum()

    def loss(layers: Layers, x: Any, target: Any) -> Any:
        J, pull = jax.vjp(partial(jax.grad(lagrangian, 1), layers), x)
        units = jnp.broadcast_to(UNIT[:, :, None], (D, *x.shape))
        rows = [pull(unit)[0] for unit in units]
        force = J[:D] - jnp.stack([(row[:D] * x[D:]).sum(0) for row in rows])
        return ((solve([row[D:] for row in rows], force) - target) ** 2).mean()

    def add(total: tuple, chunk: tuple) -> tuple:
        found = jax.value_and_grad(loss)(layers, *(rows.T for rows in chunk))
        return jax.tree.map(lambda a, b: a + b / n, total, found), None

    n = max(1, len(x) // CHUNK)
    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, layers))
    return jax.lax.scan(add, zero, (x.reshape(n, -1, 2 * D), target.reshape(n, -1, D)))[0]


def adam(gradient: Gradient, state: tuple, batch: tuple) -> tuple[tuple, Any]:
    """One step of Adam (Kingma and Ba 2015) from (layers, two moments, number of steps)."""
    layers, mean, square, n = state
    loss, slope = gradient(layers, *batch)
    n = n + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, slope)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, slope)
    rate, correction = 1e-4 / (1 - 0.9**n), 1 / (1 - 0.999**n)
    layers = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v * correction) + 1e-8), layers, mean, square
    )
    return (layers, mean, square, n), loss


def layers_of(theta: np.ndarray, sizes: list[tuple[int, int]]) -> Layers:
    """W and b of each layer from parameters (P)."""
    layers, at = [], 0
    for n_in, n_out in sizes:
        W = theta[at : at + n_in * n_out].reshape(n_out, n_in)
        b = theta[at + W.size : at + W.size + n_out]
        layers.append((jnp.array(W), jnp.array(b)))
        at += W.size + n_out
    return layers


def flat_gradient(gradient: Gradient, layers: Layers, x: np.ndarray, target: np.ndarray) -> Any:
    """The gradient (P)."""
    _, slope = jax.jit(gradient)(layers, x, target)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(slope)])


def training_step(
    gradient: Gradient, layers: Layers, x: np.ndarray, target: np.ndarray, steps: int
) -> Callable[[], None]:
    """A function that does so many steps of Adam, without a return to Python between them."""

    def run(state: tuple, batches: tuple) -> tuple:
        return jax.lax.scan(partial(adam, gradient), state, batches)[0]

    compiled = jax.jit(run, donate_argnums=0)
    batches = tuple(jnp.array(np.broadcast_to(rows, (steps, *rows.shape))) for rows in (x, target))
    zeros = [jax.tree.map(jnp.zeros_like, layers) for _ in range(2)]
    state = (jax.tree.map(jnp.array, layers), *zeros, jnp.zeros(()))

    def step() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, batches))

    return step
