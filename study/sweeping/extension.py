"""More blocks for the cells that need them: what a worker does for `replicates=auto`.

Knows: finished blocks, the rule of `study/adaptive.py`, the decisions in `auto/`. Does not know:
how a block is claimed or run; what is asked for is found by `Survey`, and run like any other.

Whoever has nothing left to do decides. A decision is a file `auto/00007.json`, linked under the
number after those it rests on, which never overwrites: of two workers that decide at once one is
first and the other looks again, so that the budget is kept exactly, and what dies in between has
decided nothing. Decisions stand: the command given again goes on from the last of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from study.analysis.statistics.medians import Estimate
from study.config.adaptive import AutoConfig, Standing, estimate, half_width, next_cells
from study.core.files import temporary_name
from study.sweeping.claims import this_host
from study.sweeping.folder import Block, Orders, StudyFolder
from study.tables import blocks

KEYS = ("replicate", "data_seed")


class Extension:
    """What a worker remembers of the cells that may grow.

    **Arguments:**

    - `given_up`: whether a block has failed for good.
    """

    def __init__(self, folder: StudyFolder, orders: Orders, given_up: Callable[[Block], bool]):
        self._folder, self._orders, self._given_up = folder, orders, given_up
        self._settings = AutoConfig(**orders.auto) if orders.auto and orders.cells else None
        self._waiting = {cell: set(range(orders.n_blocks)) for cell in orders.cells}
        self._failed: set[str] = set()
        self._known: dict[str, tuple[int, Estimate]] = {}  # blocks, and what they say
        self._numbers: dict[str, set[int]] = {}  # of the blocks that are done
        self._decisions = self._spent = 0
        self._ended = self._settings is None

    def step(self) -> bool | None:
        """Ask for more blocks. False where others' are to be waited for; None where no cell is to
        have more.

        **Raises:** `OSError` where a decision cannot be written.
        """
        if self._settings is None:
            return None
        if self._take_decisions():
            return None if self._ended else True
        if self._ended:
            return None
        standings = {cell: self._standing(cell) for cell in self._orders.cells}
        budget = self._settings.budget
        left = None if budget is None else max(0, budget - self._spent)
        chosen = next_cells(standings, self._settings, left)
        if chosen:
            decision = {
                "left": None if left is None else left - len(chosen),
                "asked": {
                    cell: {"block": self._next_number(cell), **self._about(cell)} for cell in chosen
                },
            }
        elif any(each.waiting and not each.failed for each in standings.values()):
            return False
        else:
            decision = {
                "stopped": {
                    cell: {
                        "why": each.stopped(self._settings) or "budget spent",
                        **self._about(cell),
                    }
                    for cell, each in standings.items()
                }
            }
        return self._decide(decision)

    def _take_decisions(self) -> bool:
        """Heed what was decided since, here or elsewhere; whether anything was."""
        new = self._folder.decisions(self._decisions)
        self._decisions += len(new)
        for decision in new:
            self._ended = "stopped" in decision and decision.get("run") == self._orders.run
            for cell, about in decision.get("asked", {}).items():
                if cell in self._waiting:
                    self._spent += 1
                    self._waiting[cell].add(about["block"])
        return bool(new)

    def _standing(self, cell: str) -> Standing:
        """A cell as it is now; what is done stays done and is not looked at again."""
        for number in sorted(self._waiting[cell]):
            block = self._folder.block(cell, number)
            if block.done:
                self._waiting[cell].discard(number)
                self._known.pop(cell, None)
            elif self._given_up(block):
                self._waiting[cell].discard(number)
                self._failed.add(cell)
        if cell in self._failed:
            return Standing(0, np.inf, failed=True)
        if self._waiting[cell]:
            done = self._known[cell][0] if cell in self._known else 0
            return Standing(done + len(self._waiting[cell]), np.inf, waiting=True)
        if cell not in self._known:
            self._known[cell] = self._read(cell)
        n_blocks, known = self._known[cell]
        return Standing(n_blocks, half_width(known))

    def _read(self, cell: str) -> tuple[int, Estimate]:
        """How many blocks a cell has, and its median; what is damaged is left out, as on pages."""
        assert self._settings is not None
        measure = self._settings.measure
        numbers, rows = set(), []
        for folder in sorted(self._folder.cell(cell).glob("block-*")):
            number = folder.name.removeprefix("block-")
            if not (number.isdigit() and (folder / "replicates.parquet").exists()):
                continue
            numbers.add(int(number))
            found = blocks.read_columns(folder / "replicates.parquet", (*KEYS, measure))
            rows += zip(*found, strict=True) if found else ()
        self._numbers[cell] = numbers
        # a float for None: what no replicate has is no number
        table = np.array(sorted(rows, key=lambda row: row[0]), float).reshape(-1, 3)
        if not len(table):
            return len(numbers), Estimate(np.nan, 0.0, np.inf, 0)
        return len(numbers), estimate(table[:, 2], table[:, 1], measure)

    def _next_number(self, cell: str) -> int:
        return min(set(range(len(self._numbers[cell]) + 1)) - self._numbers[cell])

    def _about(self, cell: str) -> dict[str, Any]:
        """What a decision rests on, for the record; null for a half-width without an end."""
        if cell not in self._known:
            return {}
        n_blocks, known = self._known[cell]
        p = half_width(known)
        return {"blocks": n_blocks, "replicates": known.n, "precision": p if p < np.inf else None}

    def _decide(self, decision: dict[str, Any]) -> bool:
        """Put a decision on record, unless another was first. Returns whether it is this one."""
        about = {"run": self._orders.run, "host": this_host(), "pid": os.getpid()}
        path = self._folder.root / "auto" / f"{self._decisions + 1:05d}.json"
        path.parent.mkdir(exist_ok=True)
        temporary = temporary_name(path)
        try:
            with open(temporary, "w") as file:
                json.dump({**about, "time": time.time(), **decision}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, this never overwrites
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True
