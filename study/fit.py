"""`python -m study.fit`, the command, whose code is in `study/fit_command.py`.

Python makes an imported module an attribute of its package, so that `import study.fit` would put
this module in the place of the function `study.fit`. Therefore the function takes its place.
"""

import os
import sys

if __name__ == "__main__":
    # before numpy is loaded: with more threads than idle cores a fit takes ten times as long
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from study.fit_command import command

    command()
else:
    from study.library import fit

    fit.__spec__ = __spec__  # type: ignore[attr-defined]  # by which `study fit` finds the command
    sys.modules[__name__] = fit  # type: ignore[assignment]
