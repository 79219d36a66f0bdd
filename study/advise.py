"""`python -m study.advise`, the command, whose code is in `study/advise_command.py`.

The function `study.advise` takes the place of this module, as `study.fit` does (`study/fit.py`).
"""

import os
import sys

if __name__ == "__main__":
    # before numpy is loaded, as for `study.fit`
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from study.advise_command import command

    command()
else:
    from study.advising import advise

    advise.__spec__ = __spec__  # type: ignore[attr-defined]  # by which `study advise` finds it
    sys.modules[__name__] = advise  # type: ignore[assignment]
