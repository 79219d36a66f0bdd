"""Which factors vary in a table, and which cells may be compared because all else is equal.

Knows: factor columns. Does not know: measures, statistics, figures.

- A *ladder* is a curve along N (same model) or along P (same N), everything else equal.
- A *bundle* is a set of factors that always change together (the question's own settings against
  the good defaults, say): they cannot be told apart and are compared as one. An optimiser's or a
  model's name takes with it the settings that it fixes.
- A *comparison* sets the levels of one bundle side by side in groups where all else is equal.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.naming import HEADS, bundle_name, count, heads, level_name
from study.analysis.roles import TUNED, tuned_keys
from study.tables.measures import Measure
from study.tables.schema import RESULTS

_COLUMNS = list(RESULTS.columns)
_KNOWN = _COLUMNS[_COLUMNS.index("system") : _COLUMNS.index("precision") + 1]
POINTS, WIDTH = "data.n_train", "model.width"

CONTROL = "random_features"  # the model whose double descent is known


@dataclass(frozen=True)
class Ladder:
    """Cells that differ in N alone, or in P alone, ascending.

    - `axis`: 'N' or 'P'.
    - `n_points`, `n_params`, `n_equations`, `widths`: of each cell.
    - `label`: what sets this ladder apart from the others of the study.
    - `noise`: standard deviation of the label noise over that of the accelerations.
    - `model`: by name.
    """

    axis: str
    label: str
    cells: tuple[str, ...]
    n_points: np.ndarray
    n_params: np.ndarray
    n_equations: np.ndarray
    widths: np.ndarray
    noise: float
    model: str

    @property
    def control(self) -> bool:
        """Whether it is a positive control and not a network in question."""
        return self.model == CONTROL

    @property
    def steps(self) -> np.ndarray:
        """What the ladder goes along: N or P of each cell."""
        return self.n_points if self.axis == "N" else self.n_params

    @property
    def n_over_p(self) -> np.ndarray:
        return self.n_points / self.n_params

    @property
    def equations_per_param(self) -> np.ndarray:
        return self.n_equations / self.n_params

    @property
    def dof(self) -> int:
        """D, degrees of freedom."""
        return round(float(self.n_equations[0] / self.n_points[0]))


@dataclass(frozen=True)
class Comparison:
    """Levels of one bundle of factors, in groups of cells with all else equal.

    - `factors`: the bundle.
    - `name`: for a question ('order').
    - `levels`: labels, in the order of the table.
    - `groups`: label of the group -> cell of each level.
    """

    factors: tuple[str, ...]
    name: str
    levels: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(cell for group in self.groups.values() for cell in group)


class Design:
    """The cells of a table by their factors.

    `cells`: one row a cell, index the hash; `varying`: the factors with more than one value.
    `alike`: how many cells agree in every factor with another, and so differ in a setting that the
    table does not hold; they are kept apart by the column `setting`.
    """

    def __init__(self, rows: pd.DataFrame):
        known = [name for name in _KNOWN if name in rows]
        later = [name for name in rows if "." in name and name not in _KNOWN]
        self.factors = known + later
        derived = ["n_params", "n_equations", "n_over_p", "equations_per_param"]
        derived += ["coordinates"] if "coordinates" in rows else []
        first = rows.drop_duplicates("cell").set_index("cell")
        cells = first.loc[:, [*self.factors, *derived]]
        for name in self.factors:
            plain = ["none" if pd.isna(value) else value for value in cells[name]]
            cells[name] = pd.Series(plain, index=cells.index, dtype=object)
        if "role" in first:  # each at its own best is what such cells have in common
            for cell, row in first.loc[first["role"] == "rerun"].iterrows():
                cells.loc[cell, [key for key in tuned_keys(row) if key in cells]] = TUNED
        same = list(zip(*(cells[name] for name in self.factors), strict=True))
        seen = Counter(same)
        self.alike = sum(n for n in seen.values() if n > 1)
        if self.alike:
            order = sorted(range(len(cells)), key=lambda k: cells.index[k], reverse=True)
            setting = [0] * len(cells)
            for k in order:  # numbered by hash, so that the numbers do not hang on the table
                setting[k] = seen[same[k]]
                seen[same[k]] -= 1
            cells["setting"] = pd.Series(setting, index=cells.index, dtype=object)
            self.factors = [*self.factors, "setting"]
        self.cells = cells
        self.varying = [name for name in self.factors if len(set(cells[name])) > 1]

    def bundles(self) -> list[tuple[str, ...]]:
        """The varying factors, those that always change together as one."""
        return self._bundles

    @functools.cached_property
    def _bundles(self) -> list[tuple[str, ...]]:
        partitions: dict[tuple[int, ...], list[str]] = {}
        for name in self.varying:
            codes = tuple(pd.factorize(self.cells[name])[0])
            partitions.setdefault(codes, []).append(name)
        found = list(partitions.values())
        for head, settings in HEADS.items():
            if head not in self.varying:
                continue
            home = next(names for names in found if head in names)
            for names in found:
                if names is not home:
                    taken = [n for n in names if n.startswith(settings) and self._fixed(n, head)]
                    home += taken
                    names[:] = [name for name in names if name not in taken]
        return [tuple(names) for names in found if names]

    def _fixed(self, name: str, head: str) -> bool:
        """Whether each level of `head` has one level of `name`."""
        return len(self.cells[[head, name]].drop_duplicates()) == len(set(self.cells[head]))

    def ladders(self, axis: str) -> list[Ladder]:
        """All ladders of at least two cells; `axis` 'N' (same model) or 'P' (same N)."""
        along, column = (POINTS, POINTS) if axis == "N" else (WIDTH, "n_params")
        found = []
        for _, group in self._equal_but((along,)):
            if len(set(group[along])) > 1:
                found.append(group.iloc[np.argsort(group[column].to_numpy(float), kind="stable")])
        found.sort(key=lambda group: self._place(group.iloc[0], (along,)))
        apart = self._apart([group.iloc[0] for group in found], skip=(along,), axis=axis)
        return [
            Ladder(
                axis=axis,
                label=label,
                cells=tuple(group.index),
                n_points=group[POINTS].to_numpy(float),
                n_params=group["n_params"].to_numpy(float),
                n_equations=group["n_equations"].to_numpy(float),
                widths=group[WIDTH].to_numpy(float),
                noise=float(group["data.noise"].iloc[0]),
                model=str(group["model"].iloc[0]),
            )
            for group, label in zip(found, apart, strict=True)
        ]

    def comparisons(self) -> list[Comparison]:
        """One for each bundle but N, the width and the system, which have answers of their own."""
        alone = {(POINTS,), (WIDTH,), ("setting",)}
        bundles = [b for b in self.bundles() if b not in alone and "system" not in b]
        found = [self.compare(bundle) for bundle in bundles]
        return [comparison for comparison in found if comparison is not None]

    def compare(self, factors: tuple[str, ...]) -> Comparison | None:
        """The groups that hold the same levels of these factors; None if no group holds two."""
        groups = []
        for _, group in self._equal_but(factors):
            by_level = {tuple(row[f] for f in factors): row.name for _, row in group.iterrows()}
            if len(by_level) > 1:
                groups.append((group.iloc[0], by_level))
        if not groups:
            return None
        groups.sort(key=lambda group: self._place(group[0], factors))
        sets = [frozenset(by_level) for _, by_level in groups]
        wanted = max(sets, key=lambda s: (len(s) * sum(s <= other for other in sets), len(s)))
        groups = [(row, by_level) for row, by_level in groups if wanted <= set(by_level)]
        levels = sorted(wanted, key=_order)
        names = self._apart([row for row, _ in groups], skip=factors, axis="")
        return Comparison(
            factors=factors,
            name=bundle_name(factors, levels),
            levels=tuple(level_name(factors, level) for level in levels),
            groups={
                name: tuple(by_level[level] for level in levels)
                for name, (_, by_level) in zip(names, groups, strict=True)
            },
        )

    def label(self, cell: str) -> str:
        """One cell, by the factors that vary in the study."""
        return self._apart_one(self.cells.loc[cell], self.varying, "")

    def _place(self, row: pd.Series, skip: Sequence[str]) -> tuple:
        return _order(tuple(row[name] for name in self.factors if name not in skip))

    def _equal_but(self, factors: Sequence[str]):
        others = [name for name in self.factors if name not in factors]
        # groups in the order of the table; object columns keep the levels' own types
        return self.cells.groupby(others, sort=False)

    def _apart(self, rows: list[pd.Series], skip: Sequence[str], axis: str) -> list[str]:
        vary = [
            name
            for name in self.factors
            if name not in skip and len({_key(row[name]) for row in rows}) > 1
        ]
        return [self._apart_one(row, vary, axis) for row in rows]

    def _apart_one(self, row: pd.Series, vary: Sequence[str], axis: str) -> str:
        parts = []
        sizes = set() if axis == "P" else {WIDTH, "model.depth"}  # said by P alone
        bundled = set()
        for bundle in self.bundles():
            named = set(heads(bundle))
            if named:  # what else is in it may be the same for all that are told apart here
                whole = named <= set(vary)
            else:
                whole = set(bundle) <= set(vary) and not sizes & set(bundle)
            if len(bundle) > 1 and whole:
                parts.append(level_name(bundle, tuple(row[f] for f in bundle)))
                bundled |= set(bundle) - sizes
        vary = [name for name in vary if name not in bundled]
        if sizes & set(vary) or (axis == "N" and not vary and not parts):
            parts.insert(0, f"P = {count(row['n_params'])}")
        if axis == "P" or POINTS in vary:
            parts.insert(0, f"N = {count(row[POINTS])}")
        parts += [
            level_name((name,), (row[name],)) for name in vary if name not in {*sizes, POINTS}
        ]
        return ", ".join(parts)


def replicate_table(rows: pd.DataFrame, cells: Sequence[str], measure: Measure) -> np.ndarray:
    """Replicates by cells for `estimates.medians`: +inf where a value is not finite, NaN where
    there is no such replicate."""
    chosen = rows.loc[rows["cell"].isin(list(cells))]
    values = chosen[measure.column].to_numpy(float)
    place = {cell: k for k, cell in enumerate(cells)}
    return table_of(
        chosen["replicate"].to_numpy(),
        np.array([place[cell] for cell in chosen["cell"]], int),
        np.where(np.isfinite(values), values, np.inf),
        len(cells),
    )


def table_of(
    replicates: np.ndarray, columns: np.ndarray, values: np.ndarray, n_columns: int
) -> np.ndarray:
    """Values by replicate, ascending, and column; NaN where there is none, the first of several."""
    found, place = np.unique(replicates, return_inverse=True)
    table = np.full((len(found), n_columns), np.nan)
    table[place[::-1], columns[::-1]] = values[::-1]
    return table


def replicate_groups(rows: pd.DataFrame, cells: Sequence[str]) -> np.ndarray | None:
    """The data seed of each row of `replicate_table`, where some rows share one; else None."""
    chosen = rows.loc[rows["cell"].isin(list(cells)), ["replicate", "data_seed"]].drop_duplicates()
    if chosen["replicate"].duplicated().any() or not chosen["data_seed"].duplicated().any():
        return None
    return chosen.sort_values("replicate")["data_seed"].to_numpy()


def _key(value: Any) -> str:
    return repr(value)


def _order(level: tuple) -> tuple:
    return tuple(
        (0, float(v), "") if isinstance(v, int | float) else (1, 0.0, str(v)) for v in level
    )
