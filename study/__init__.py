"""How many points does a Lagrangian neural network need, and what makes its trajectory wrong?

The folder listing is the map: `core/` is physics and learning, `config.py` the schema of
`conf/`, `trial.py` trains one block, `sweeping/` runs many, `results.py` is the table they make,
`analysis/` turns tables into answers and a page. `sweep`, `status` and `report` are the commands.
"""

import importlib.util
import sys

# pandas asks whether it is installed, and a study's folder of that name, where a command is given
# in `outputs/`, would be taken for it
_found = importlib.util.find_spec("bottleneck")
if _found is not None and _found.origin is None:
    sys.modules["bottleneck"] = None  # type: ignore[assignment]
