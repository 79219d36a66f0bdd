"""The mechanical systems by name. A new one is one `System` more in the list it belongs to.

from study.core.systems import SYSTEMS
SYSTEMS["kepler"].acceleration(q, qdot)

`DRIVEN` are those that an input moves, `DRIVEN["driven_cart_pole"].acceleration(q, qdot, u)`; they
are no option of `system=`, because nothing says what the input is.
"""

from __future__ import annotations

from study.core.systems.mechanics import System
from study.core.systems.particles import PARTICLES
from study.core.systems.pendulums import DRIVEN as _DRIVEN
from study.core.systems.pendulums import PENDULUMS

__all__ = ["DRIVEN", "SYSTEMS", "System"]

SYSTEMS: dict[str, System] = {system.name: system for system in (*PENDULUMS, *PARTICLES)}
DRIVEN: dict[str, System] = {system.name: system for system in _DRIVEN}
