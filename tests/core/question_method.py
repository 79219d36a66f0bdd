"""The question's per-sample method, written plainly from its description: the outside reference.

`torch.autograd.functional` jacobian and hessian of a scalar network, a pseudo-inverse, one sample
at a time. It shares no formula with `study.core`.
"""

import torch
from torch.autograd.functional import hessian, jacobian


def network(theta, sizes, activation, encode):
    """L(x) of a network given as the flat row its layers were laid into, weights before biases."""
    layers, at = [], 0
    for fan_in, fan_out in sizes:
        weight = theta[at : at + fan_in * fan_out].reshape(fan_out, fan_in)
        at += fan_in * fan_out
        layers.append((weight, theta[at : at + fan_out]))
        at += fan_out

    def value(x):
        h = encode(x)
        for weight, bias in layers[:-1]:
            h = activation(weight @ h + bias)
        weight, bias = layers[-1]
        return (weight @ h + bias).squeeze()

    return value


def acceleration(lagrangian, x, create_graph=False):
    """qddot of one state x = (q, qdot) by jacobian, hessian and pinverse."""
    n = len(x) // 2
    A = hessian(lagrangian, x, create_graph=create_graph)
    B = jacobian(lagrangian, x, create_graph=create_graph)
    return torch.pinverse(A[n:, n:]) @ (B[:n] - A[n:, :n] @ x[n:])
