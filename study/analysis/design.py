"""Which factors vary in a table, and which cells may be compared because all else is equal.

- A *ladder* is a curve along N (same model) or along P (same N), everything else equal.
- A *bundle* is a set of factors that always change together (the question's own settings against
  the good defaults, say): they cannot be told apart and are compared as one. The settings that are
  fixed by a model's or an optimiser's name are in one bundle with it.
- A *comparison* sets the levels of one bundle side by side in groups with all else equal.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.words import HEADS, bundle_name, count, heads, level_name
from study.config.factors import DERIVED, FACTORS
from study.tables.measures import Measure

POINTS, WIDTH = "data.n_train", "model.width"

CONTROL = "random_features"  # the model whose double descent is known

COUNTED = ("grid", "rerun")  # the trials of a search are no evidence for what it found
# a curve goes along a size, so cells whose own searches chose it are cells of different sizes
SIZES = (POINTS, WIDTH, "model.depth", "model", "optimizer", "system")
TUNED = "tuned"  # the level of a factor whose value each cell's own search chose


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that answers rest on: a grid's, and new seeds of cells that a search chose.

    It is the same table if all rows count.
    """
    counts = rows["role"].isin(COUNTED).to_numpy(bool) if "role" in rows else np.array(True)
    return rows if counts.all() else rows.loc[counts].reset_index(drop=True)


def curves_of(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of these rows' replicates."""
    names = ["cell", "replicate"]
    wanted, present = (pd.MultiIndex.from_frame(table.loc[:, names]) for table in (rows, curves))
    return curves.loc[present.isin(wanted)].reset_index(drop=True)


def tuned_keys(row: pd.Series) -> list[str]:
    """The factors that a cell's own search chose, and that therefore set it apart from no other."""
    if row.get("role") != "rerun":
        return []
    return [key for key in str(row["tuned"]).split() if key not in SIZES]


@dataclass(frozen=True)
class Ladder:
    """Cells that differ in N alone, or in P alone, ascending.

    - `axis`: 'N' or 'P'.
    - `label`: what sets this ladder apart from the others of the study.
    - `n_points`, `n_params`, `n_equations`, `widths`: (K,) of each cell.
    - `noise`: standard deviation of the label noise over that of the accelerations.
    - `model`: its name.
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
        """Whether its model is the positive control and not a network in question."""
        return self.model == CONTROL

    @property
    def steps(self) -> np.ndarray:
        """(K,) what the ladder goes along: N or P of each cell."""
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
    - `name`: of the bundle in a question ('order').
    - `levels`: their labels, in the order of the table.
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

    - `cells`: one row a cell, the index is its hash; `varying`: the factors with several values.
    - `alike`: how many cells agree in every factor with another and therefore differ in a setting
      that the table does not hold; the column `setting` keeps them apart.
    """

    def __init__(self, rows: pd.DataFrame):
        known = [name for name in FACTORS if name in rows]
        self.factors = [*known, *(name for name in rows if "." in name and name not in FACTORS)]
        derived = [*DERIVED, *({"coordinates"} & set(rows))]
        first = rows.drop_duplicates("cell").set_index("cell")
        cells = first.loc[:, [*self.factors, *derived]]
        levels = cells[self.factors].astype(object)
        cells[self.factors] = levels.where(levels.notna(), "none")
        if "role" in first:  # what such cells have in common: each is at its own search's best
            for cell, row in first.loc[first["role"] == "rerun"].iterrows():
                cells.loc[cell, [key for key in tuned_keys(row) if key in cells]] = TUNED
        self.alike = int(cells.duplicated(self.factors, keep=False).to_numpy().sum())
        if self.alike:  # numbered by hash, so that the order of the table does not matter
            settings = cells.sort_index().groupby(self.factors, sort=False).cumcount() + 1
            cells["setting"] = settings.astype(object)
            self.factors = [*self.factors, "setting"]
        self.cells = cells
        self.varying = [name for name in self.factors if len(set(cells[name])) > 1]

    @functools.cached_property
    def bundles(self) -> list[tuple[str, ...]]:
        """The varying factors, in bundles that always change together."""
        partitions: dict[tuple[int, ...], list[str]] = {}
        for name in self.varying:
            codes = tuple(pd.factorize(self.cells[name])[0])
            partitions.setdefault(codes, []).append(name)
        bundles = list(partitions.values())
        for head, settings in HEADS.items():
            if head not in self.varying:
                continue
            home = next(names for names in bundles if head in names)
            for names in bundles:
                if names is not home:
                    taken = [n for n in names if n.startswith(settings) and self._fixed(n, head)]
                    home += taken
                    names[:] = [name for name in names if name not in taken]
        return [tuple(names) for names in bundles if names]

    def _fixed(self, name: str, head: str) -> bool:
        """Whether each level of `head` has one level of `name`."""
        return len(self.cells[[head, name]].drop_duplicates()) == len(set(self.cells[head]))

    def ladders(self, axis: str) -> list[Ladder]:
        """All ladders of at least two cells; `axis` 'N' (same model) or 'P' (same N)."""
        along, column = (POINTS, POINTS) if axis == "N" else (WIDTH, "n_params")
        groups = [
            group.iloc[np.argsort(group[column].to_numpy(float), kind="stable")]
            for _, group in self._equal_but((along,))
            if len(set(group[along])) > 1
        ]
        groups.sort(key=lambda group: self._place(group.iloc[0], (along,)))
        labels = self._labels([group.iloc[0] for group in groups], skip=(along,), axis=axis)
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
            for group, label in zip(groups, labels, strict=True)
        ]

    def comparisons(self) -> list[Comparison]:
        """One for each bundle, except N and the width, which have answers of their own, and the
        system."""
        left_out = {(POINTS,), (WIDTH,), ("setting",)}
        bundles = [b for b in self.bundles if b not in left_out and "system" not in b]
        return [comparison for bundle in bundles if (comparison := self.compare(bundle))]

    def compare(self, factors: tuple[str, ...]) -> Comparison | None:
        """The groups with the same levels of these factors; None if no group has two levels."""
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
        levels = sorted(wanted, key=sort_key)
        names = self._labels([row for row, _ in groups], skip=factors, axis="")
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
        """The label of one cell, by the factors that vary in the study."""
        return self._label(self.cells.loc[cell], self.varying, "")

    def told_apart(self, groups: Sequence[Sequence[str]]) -> list[str]:
        """A label for each group of cells, by the factors that are the same within every group."""
        within = [self.cells.loc[list(cells)] for cells in groups]
        skip = [f for f in self.factors if any(len({*cells[f].map(repr)}) > 1 for cells in within)]
        axis = "N" if POINTS in skip else "P" if WIDTH in skip else ""
        return self._labels([cells.iloc[0] for cells in within], skip, axis)

    def _place(self, row: pd.Series, skip: Sequence[str]) -> tuple:
        return sort_key(tuple(row[name] for name in self.factors if name not in skip))

    def _equal_but(self, factors: Sequence[str]):
        """Groups of cells that may differ in these factors alone, in the order of the table."""
        return self.cells.groupby([f for f in self.factors if f not in factors], sort=False)

    def _labels(self, rows: list[pd.Series], skip: Sequence[str], axis: str) -> list[str]:
        others = [name for name in self.factors if name not in skip]
        vary = [name for name in others if len({repr(row[name]) for row in rows}) > 1]
        return [self._label(row, vary, axis) for row in rows]

    def _label(self, row: pd.Series, vary: Sequence[str], axis: str) -> str:
        parts = []
        sizes = set() if axis == "P" else {WIDTH, "model.depth"}  # P says these
        bundled = set()
        for bundle in self.bundles:
            if named := set(heads(bundle)):  # the rest of it may be the same for all these rows
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
    """(replicates, cells) values for `medians`: +inf if a value is not finite, NaN if a cell has no
    such replicate."""
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
    """Values by replicate (ascending) and column: NaN if there is none, the first of several."""
    names, place = np.unique(replicates, return_inverse=True)
    table = np.full((len(names), n_columns), np.nan)
    table[place[::-1], columns[::-1]] = values[::-1]
    return table


def replicate_groups(rows: pd.DataFrame, cells: Sequence[str]) -> np.ndarray | None:
    """The data seed of each row of `replicate_table` if some rows share one, else None."""
    chosen = rows.loc[rows["cell"].isin(list(cells)), ["replicate", "data_seed"]].drop_duplicates()
    if chosen["replicate"].duplicated().any() or not chosen["data_seed"].duplicated().any():
        return None
    return chosen.sort_values("replicate")["data_seed"].to_numpy()


def sort_key(level: tuple) -> tuple:
    """What tuples of numbers and texts are sorted by: numbers come first."""
    return tuple(
        (0, float(v), "") if isinstance(v, int | float) else (1, 0.0, str(v)) for v in level
    )
