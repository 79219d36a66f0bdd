"""The mechanical systems by name. A new one is one `System` more in the list it belongs to.

from study.core.systems import SYSTEMS
SYSTEMS["kepler"].acceleration(q, qdot)
"""

from __future__ import annotations

from study.core.systems.mechanics import System
from study.core.systems.particles import PARTICLES
from study.core.systems.pendulums import PENDULUMS

__all__ = ["SYSTEMS", "System"]

SYSTEMS: dict[str, System] = {system.name: system for system in (*PENDULUMS, *PARTICLES)}
