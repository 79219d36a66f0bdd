"""One block of one cell: config in, tidy rows, curves and weights out."""

import dataclasses
import io
import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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

CURVE = "test_nmse_median"  # the metric of a training curve that a judge sees

Judge = Callable[[int, float], bool]
"""(rung, counted from 0, value there) -> whether training is worth going on with."""


class Pruned(Exception):  # noqa: N818  not an error
    """Training was judged hopeless, after this share of its steps."""

    def __init__(self, share: float):
        super().__init__(share)
        self.share = share


@dataclasses.dataclass(frozen=True)
class BlockResult:
    """The results of a block, as they are written."""

    rows: Sequence[Mapping[str, Any]]  # of the table of results, one a replicate
    points: pa.Table  # of the curves
    weights: dict[str, Any]  # what `load_model` reads

    @property
    def replicates(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    @property
    def curves(self) -> pd.DataFrame:
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
    """Train, evaluate and roll out one block of replicates; one that diverges is a row, no error.

    - `checkpoint`: a file to resume from if it is there; it is replaced now and then.
    - `progress`: called now and then with the fraction done, 0 to 1.
    - `stop`: called now and then; once it returns True, the checkpoint is written.
    - `rungs`: shares of the steps; at the record of the training curve next to each, `judge`
      decides whether training goes on.

    **Raises:** `Stopped` if `stop` returned True; `Pruned` if `judge` returned False; `DataError`
    for data that cannot be made; whatever else goes wrong.
    """
    torch.set_num_threads(1)
    begun, seconds = time.perf_counter(), dict[str, float]()

    def lap(part: str) -> None:
        seconds[part] = time.perf_counter() - begun - sum(seconds.values())

    setup = set_up(cell, block)
    state = _resume(checkpoint, setup)
    lap("set-up")
    state = train(
        setup.model,
        setup.data,
        setup.stages,
        state,
        validation=setup.validation,
        measure=measures.curve_measure(setup),
        save=lambda state: _save(checkpoint, setup, state),
        progress=lambda fraction: progress(0.9 * fraction),
        stop=stop,
        watch=_judged(judge, rungs, setup.stages),
        every_seconds=CHECKPOINT_SECONDS,
    )
    _save(checkpoint, setup, state)
    lap("training")
    rows = measures.acceleration_rows(setup, state)
    curves = measures.training_curves(setup, state)
    lap("accelerations")
    rolled = {
        "rollouts": measures.rollouts,
        "error budget": measures.budget_columns,
        "identifiability": measures.identifiability_columns,
    }
    for part, measure in rolled.items():
        for row, (columns, tables) in zip(rows, measure(setup, state), strict=True):
            if stop():
                raise Stopped
            row |= columns
            curves += tables
        lap(part)
    for row in rows:
        row["rollout_seconds"] = sum(seconds[part] for part in rolled) / len(rows)
    progress(1.0)
    spent = ", ".join(f"{part} {taken:.2f} s" for part, taken in seconds.items())
    log.info("cell %s block %d: %s", cell.hash, block, spent)
    return BlockResult(rows, pa.concat_tables(curves), _weights(setup, state))


def _judged(
    judge: Judge, rungs: Sequence[float], stages: Sequence[Stage]
) -> Callable[[State], None]:
    """A watch that shows a judge the training curve at each rung. **Raises:** `Pruned`."""
    steps = sum(stage.expected for stage in stages)
    places = rung_steps(rungs, stages)

    def watch(state: State) -> None:
        x = [record["x"] for record in state.records[-2:]]
        before, now = (-1, *x)[-2:]
        for rung, place in enumerate(places):
            if before < place <= now:
                value = float(statistics.median(state.records[-1][CURVE]))
                if not judge(rung, value):
                    raise Pruned(min(1.0, now / steps))

    return watch


def rung_steps(rungs: Sequence[float], stages: Sequence[Stage]) -> list[int]:
    """The step of each rung: that of the training curve's record next to it, in log.

    A record just after each rung would let hopeless trials train for half as long again.
    """
    records, begun = list[int](), 0
    for stage in stages:
        places = [step for step in record_steps(stage.steps) if step <= stage.expected]
        records += [begun + step for step in places if begun + step > 0]
        begun += stage.expected
    return [
        min(records, key=lambda step: (abs(math.log(step / (rung * begun))), step))
        for rung in rungs
    ]


def write_block(result: BlockResult, folder: Path) -> None:
    """Write a block's three files into an existing folder; whoever commits it syncs it to disk."""
    blocks.write(blocks.from_rows(result.rows), folder / "replicates.parquet")
    blocks.write(result.points, folder / "curves.parquet")
    weights = io.BytesIO()  # a file would be written to in pieces
    torch.save(result.weights, weights)
    (folder / "weights.pt").write_bytes(weights.getbuffer())


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median over a block's replicates of each measure, without NaN."""
    table = pd.DataFrame(rows)
    table = table[[name for name in MEASURES if name in table and table[name].dtype != bool]]
    return table.apply(pd.to_numeric, errors="coerce").median().dropna().to_dict()


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
        "system": dataclasses.asdict(setup.cell.system),
        "time": setup.units.time,
        "length": setup.units.length.tolist(),
        "origin": setup.units.origin.tolist(),
        "inputs": setup.units.inputs.tolist(),
        "theta": state.theta.cpu(),
    }
