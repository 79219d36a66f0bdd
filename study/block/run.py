"""One block of one cell: config in, tidy rows, curves and weights out.

What needs a trained model is measured here, because an analysis only reads tables.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import torch

from study.block import measures
from study.block.setup import Setup, set_up
from study.config.cell import Cell
from study.core.files import write_whole
from study.core.training.train import Stage, State, Stopped, record_steps, train
from study.tables import blocks
from study.tables.measures import MEASURES

log = logging.getLogger("study")

CHECKPOINT_SECONDS = 20.0

ROLLED = ("rollouts", "error budget", "identifiability")  # parts in `rollout_seconds`

CURVE = "test_nmse_median"  # the metric of a training curve that a judge sees

Judge = Callable[[int, float], bool]
"""(rung, counted from 0, value there) -> whether training is worth going on with."""

Measured = TypeVar("Measured")


class Pruned(Exception):  # noqa: N818  not an error
    """Training was judged hopeless, after this share of its steps."""

    def __init__(self, share: float):
        super().__init__(share)
        self.share = share


@dataclasses.dataclass(frozen=True)
class BlockResult:
    """The results of a block, as they are written.

    - `rows`: of the table of results, one a replicate; `points`: of the curves.
    - `weights`: what `load_model` reads.
    """

    rows: Sequence[Mapping[str, Any]]
    points: pa.Table
    weights: dict[str, Any]

    @property
    def replicates(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(self.rows)

    @property
    def curves(self) -> pd.DataFrame:
        """The curves as a table."""
        return self.points.to_pandas()


def run_block(
    cell: Cell,
    block: int,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
    stop: Callable[[], bool] = lambda: False,
    rungs: Sequence[float] = (),
    judge: Judge = lambda rung, value: True,
) -> BlockResult:
    """Train, evaluate and roll out one block of replicates.

    **Arguments:**

    - `checkpoint`: a file to resume from if it is there; it is replaced now and then.
    - `progress`: called now and then with the fraction done, 0 to 1.
    - `stop`: called now and then; once it returns True, the checkpoint is written.
    - `rungs`: shares of the steps; at the record of the training curve next to each, `judge`
      decides whether training goes on.

    A replicate that diverges is a row, not an error.

    **Raises:** `Stopped` if `stop` returned True; `Pruned` if `judge` returned False; `DataError`
    for data that cannot be made; whatever else goes wrong.
    """
    torch.set_num_threads(1)
    clock = _Clock()
    setup = set_up(cell, block)
    state = _resume(checkpoint, setup)
    clock.lap("set-up")
    state = train(
        setup.model,
        setup.data,
        setup.stages,
        state,
        measure=measures.curve_measure(setup),
        save=lambda state: _save(checkpoint, setup, state),
        progress=lambda fraction: progress(0.9 * fraction),
        stop=stop,
        watch=_judged(judge, rungs, setup.stages),
        every_seconds=CHECKPOINT_SECONDS,
    )
    _save(checkpoint, setup, state)
    clock.lap("training")
    rows = measures.acceleration_rows(setup, state)
    clock.lap("accelerations")
    curves = [*measures.training_curves(setup, state)]
    for r, (measured, table) in enumerate(_until(stop, measures.rollouts(setup, state))):
        rows[r] |= measured
        curves += table
    clock.lap("rollouts")
    for row, columns in zip(rows, measures.budget_columns(setup, state), strict=True):
        row |= columns
    clock.lap("error budget")
    identified = _until(stop, measures.identifiability_columns(setup, state))
    for row, (measured, tables) in zip(rows, identified, strict=True):
        row |= measured
        curves += tables
    clock.lap("identifiability")
    seconds = sum(clock.seconds[part] for part in ROLLED) / len(rows)
    for row in rows:
        row["rollout_seconds"] = seconds
    progress(1.0)
    log.info("cell %s block %d: %s", cell.hash, block, clock)
    return BlockResult(rows, pa.concat_tables(curves), _weights(setup, state))


class _Clock:
    """Wall-clock seconds of one part after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()

    def lap(self, part: str) -> None:
        """Count the time since the last lap as this part's."""
        now = time.perf_counter()
        self.seconds[part], self._begun = now - self._begun, now

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.2f} s" for part, seconds in self.seconds.items())


def _judged(
    judge: Judge, rungs: Sequence[float], stages: Sequence[Stage]
) -> Callable[[State], None]:
    """A watch that shows a judge the training curve at each rung. **Raises:** `Pruned`."""
    steps = sum(stage.steps for stage in stages)
    places = rung_steps(rungs, stages)

    def watch(state: State) -> None:
        x = [record["x"] for record in state.records[-2:]]
        before, now = (-1, *x)[-2:]
        for rung, place in enumerate(places):
            if before < place <= now:
                value = float(statistics.median(state.records[-1][CURVE]))
                if not judge(rung, value):
                    raise Pruned(now / steps)

    return watch


def rung_steps(rungs: Sequence[float], stages: Sequence[Stage]) -> list[int]:
    """The step of each rung: that of the training curve's record next to it, in log.

    A record just after each rung would let hopeless trials train for half as long again.
    """
    records, begun = list[int](), 0
    for stage in stages:
        records += [begun + step for step in record_steps(stage.steps) if begun + step > 0]
        begun += stage.steps
    return [
        min(records, key=lambda step: (abs(math.log(step / (rung * begun))), step))
        for rung in rungs
    ]


def _until(stop: Callable[[], bool], measured: Iterable[Measured]) -> Iterator[Measured]:
    """Measure one replicate after another. **Raises:** `Stopped` if `stop` returns True."""
    for each in measured:
        if stop():
            raise Stopped
        yield each


def write_block(result: BlockResult, folder: Path) -> None:
    """Write a block's three files into an existing folder; whoever commits it syncs it to disk."""
    blocks.write(blocks.from_rows(result.rows), folder / "replicates.parquet")
    blocks.write(result.points, folder / "curves.parquet")
    weights = io.BytesIO()  # a file would be written to in pieces
    torch.save(result.weights, weights)
    (folder / "weights.pt").write_bytes(weights.getbuffer())


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median over a block's replicates of each measure, without NaN."""
    found = {}
    for name in MEASURES:
        values = [value for row in rows if _is_number(value := row.get(name, math.nan))]
        if values:
            found[name] = float(statistics.median(values))
    return found


def _is_number(value: Any) -> bool:
    """Whether it is a number other than NaN; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _resume(checkpoint: Path | None, setup: Setup) -> State:
    """The state of the checkpoint if it is whole and of this cell, or else a fresh one."""
    if checkpoint is not None and checkpoint.exists():
        try:
            saved = torch.load(checkpoint, weights_only=True, map_location=setup.cell.device)
            if saved.pop("cell") == setup.cell.hash:
                return State(**saved)
        except Exception as error:
            log.warning("checkpoint %s cannot be read, training starts anew: %s", checkpoint, error)
    return State.fresh(setup.initial_parameters())


def _save(checkpoint: Path | None, setup: Setup, state: State) -> None:
    if checkpoint is not None:
        saved = {"cell": setup.cell.hash, **vars(state)}
        write_whole(checkpoint, lambda file: torch.save(saved, file))


def _weights(setup: Setup, state: State) -> dict[str, Any]:
    return {
        "cell": setup.cell.hash,
        "replicates": setup.replicates,
        "angles": list(setup.system.angles),
        "model": dataclasses.asdict(setup.cell.model),
        "time": setup.units.time,
        "length": setup.units.length.tolist(),
        "origin": setup.units.origin.tolist(),
        "theta": state.theta.cpu(),
    }
