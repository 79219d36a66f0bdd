"""The plain Lagrangian network and Adam in C++, for one core.

`lnn.hpp` is `mlp_acceleration.py` once more, in an order of work that stays in the processor's
caches; `adam.hpp` is the update of `adam.py`. `build.py` compiles them on the machine that runs
them, `calls.py` hands tensors over. The tensors' code is the reference that both are tested
against, and what runs where there is no compiler and on any device but the CPU.
"""
