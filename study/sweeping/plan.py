"""From a command to checked cells: the grid is expanded, every cell validated, the order fixed.

A grid of 10,000 cells needs no 10,000 compositions: Hydra composes once for each combination of
groups, and values are then set on the plain config.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from study.config.cell import Cell, by_content, make_cell, wants_cpp
from study.config.command_line import COMMAND_KEYS, CommandLine
from study.config.errors import ConfigError
from study.config.factors import DERIVED
from study.config.run import Run, make_run
from study.config.schema import GROUPS, TOP
from study.sweeping import cost, space
from study.sweeping.space import TWINS, SearchSpec, check_objectives, choices, set_key

Compose = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study, checked and in order.

    - `run`: what surrounds the cells.
    - `cells`: each design point once, the costliest first, so that no long one starts last.
    - `seconds`: the estimated cost of one block of each cell, by hash.
    - `config`: the composed config without the grid; `arms`: the grid of the chosen budget.
    - `swept`: the factors that vary between cells, each with its values.
    - `compile`: what `compile=auto` came to.
    - `searches`: one for each point of the grid if keys are searched; there are no cells then.
    """

    run: Run
    cells: tuple[Cell, ...]
    seconds: Mapping[str, float]
    config: Mapping[str, Any]
    arms: Sequence[Mapping[str, Any]]
    swept: Mapping[str, Sequence[Any]]
    compile: bool
    searches: tuple[SearchSpec, ...] = ()

    def own_code(self) -> set[str]:
        """Hashes of the user's own files that its workers are to run."""
        hashes = {cell.system.sha256 for cell in self.cells}
        for search in self.searches:
            hashes |= {config["system"].get("sha256") for config in search.configs.values()}
        return {sha256 for sha256 in hashes if sha256}


def make_plan(command: CommandLine, compose: Compose, decided: bool | None = None) -> Plan:
    """Expand and check a command.

    **Arguments:**

    - `command`: its overrides.
    - `compose`: choices of groups to a plain config; called once for each combination.
    - `decided`: whether the same study, with the same budget, was trained compiled before.

    **Raises:** `ConfigError`, one sentence, for the first setting that cannot be right.
    """
    base = dict(compose({}))
    run = make_run(base)
    arms = _arms(base)
    config = {key: value for key, value in base.items() if key != "grid"}
    if searched := _searched(command, run):
        searches = _searches(command, compose, arms, searched, f"grid.{run.budget}", run, base)
        return Plan(run, (), {}, config, arms, {}, searches[0].compile, searches)
    eager = _cells(command, compose, arms, where=f"grid.{run.budget}")
    for cell in eager:
        _check_crossing(cell, run)
    compiled = _decide_compile(base["compile"], decided, eager, run)
    cells = [cell.with_compile(compiled) for cell in eager]
    seconds = {cell.hash: round(cost.block_seconds(cell), 2) for cell in cells}
    ordered = sorted(cells, key=lambda cell: (-seconds[cell.hash], cell.hash))
    return Plan(run, tuple(ordered), seconds, config, arms, _varying(ordered), compiled)


def _check_crossing(cell: Cell, run: Run) -> None:
    """Refuse a design in which some data seed lacks initialisations: its variance is lopsided."""
    c, n = cell.inits_per_data, run.replicates
    if c and n % c:
        fewer = n - n % c
        raise ConfigError(
            f"replicates={n} is not a multiple of inits_per_data={c}: use replicates={fewer or c}"
        )


def _decide_compile(asked: Any, decided: bool | None, cells: Sequence[Cell], run: Run) -> bool:
    if not isinstance(asked, bool) and asked != "auto":
        raise ConfigError(f"compile={asked} is not known: use auto, true or false")
    trouble = cost.cpp_trouble()
    if asked and decided and trouble:
        raise ConfigError(
            f"compile={str(asked).lower()}: this study trains compiled, and that cannot be done "
            f"here, or begin another study: {trouble}"
        )
    if isinstance(asked, bool):
        return asked and not trouble
    if decided is not None:
        return decided
    return cost.worth_compiling(cells, run.n_blocks, run.workers)


def _arms(base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arms of the chosen budget; one empty arm, the config as it is, if there is no grid."""
    grid = base.get("grid") or {}
    budget = base["budget"]
    if not isinstance(grid, Mapping):
        raise ConfigError(f"grid={grid!r} is not a mapping of budgets to lists of arms")
    if not grid:
        return [{}]
    if budget not in grid:
        raise ConfigError(f"grid has no arms for budget={budget}: it has {', '.join(grid)}")
    arms = grid[budget]
    if not isinstance(arms, list) or not arms or not all(isinstance(a, Mapping) for a in arms):
        raise ConfigError(f"grid.{budget} is not a list of arms, each {{config key: values}}")
    return [dict(arm) for arm in arms]


def _cells(
    command: CommandLine, compose: Compose, arms: Sequence[Mapping[str, Any]], where: str
) -> list[Cell]:
    """The union of the arms' products, each cell once."""
    composed: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    cells: dict[str, Cell] = {}
    for settings in _expand(arms, command, where):
        choices = tuple((k, str(v)) for k, v in settings.items() if k in GROUPS)
        if choices not in composed:
            composed[choices] = _settle(compose(dict(choices)), command)
        plain = _copy(composed[choices])
        for key, value in settings.items():
            if key not in GROUPS:
                set_key(plain, key, value)
        cell = make_cell(plain, compile=False)
        cells.setdefault(cell.hash, cell)
    return list(cells.values())


def _searched(command: CommandLine, run: Run) -> dict[str, str]:
    """Keys to search in: those of the config that the command does not set, and the command's."""
    given = {
        key: text
        for key, text in space.texts(run.search.space).items()
        if key not in command.keys and TWINS.get(key) not in command.keys
    }
    asked = given or command.ranges or "search" in command.keys
    searched = given | dict(command.ranges) | (dict(command.options) if asked else {})
    if asked and not searched:
        raise ConfigError(
            f"search={run.search.sampler}: no key is searched: give one a range, "
            "optimizer.lr='tag(log,interval(1e-4,1e-1))' for instance"
        )
    return searched


def _searches(
    command: CommandLine,
    compose: Compose,
    arms: Sequence[Mapping[str, Any]],
    searched: Mapping[str, str],
    where: str,
    run: Run,
    base: Mapping[str, Any],
) -> tuple[SearchSpec, ...]:
    """One search for each point of the grid, checked at the ends of all ranges."""
    check_objectives(run.search)
    if base["compile"] not in ("auto", True, False):
        raise ConfigError(f"compile={base['compile']} is not known: use auto, true or false")
    compiled = wants_cpp(base) and not cost.cpp_trouble()
    fixed_keys = dataclasses.replace(
        command, swept={k: v for k, v in command.swept.items() if k not in searched}
    )
    groups = {
        key: space.extremes(space.distribution(key, searched[key], whole=False))
        for key in sorted(searched)
        if key in GROUPS
    }
    searches: dict[str, SearchSpec] = {}
    for settings in _expand(arms, fixed_keys, where):
        configs = {}
        for chosen in itertools.product(*groups.values()):
            named = dict(zip(groups, chosen, strict=True))
            chosen_groups = {k: v for k, v in {**settings, **named}.items() if k in GROUPS}
            plain = _settle(compose(chosen_groups), command)
            for key, value in settings.items():
                if key not in GROUPS and key not in searched:
                    set_key(plain, key, value)
            plain = {key: plain[key] for key in (*GROUPS, *TOP)}
            # workers find files of the user's by what is in them
            plain["system"], plain["data"] = by_content(plain["system"], plain["data"])
            configs[choices(named)] = plain
        kept = {k: v for k, v in settings.items() if k not in searched}
        search = SearchSpec(kept, dict(searched), configs, compiled)
        for _ in search.corners():  # raises for what cannot be right
            pass
        searches.setdefault(search.name, search)
    return tuple(searches.values())


def _expand(
    arms: Sequence[Mapping[str, Any]], command: CommandLine, where: str
) -> Iterator[dict[str, Any]]:
    """Settings of each combination: an arm's lists, times the command line's, which replace it."""
    replaced = command.keys | {TWINS[key] for key in command.keys if key in TWINS}
    for arm in arms:
        lists: dict[str, Sequence[Any]] = {}
        for key, values in arm.items():
            _check_arm_key(key, values, where)
            if key not in replaced:
                lists[key] = values if isinstance(values, list) else [values]
        lists |= command.swept
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def _check_arm_key(key: Any, values: Any, where: str) -> None:
    if not isinstance(key, str) or isinstance(values, Mapping):
        raise ConfigError(f"{where}: {key}={values} is not an arm's setting: write model.width: 8")
    if key.partition(".")[0] in COMMAND_KEYS:
        raise ConfigError(
            f"{where}: {key}={values} belongs to the whole study, so no arm can set it"
        )
    if values == []:
        raise ConfigError(f"{where}: {key}=[] holds no value: give at least one")


def _settle(plain: Mapping[str, Any], command: CommandLine) -> dict[str, Any]:
    """A fixed `data.n_over_p=...` on the command line unsets the default's `data.n_train`."""
    settled = _copy(plain)
    for key in command.keys & TWINS.keys():
        if TWINS[key] not in command.keys and key not in command.swept:
            data = settled["data"]
            if data[key.partition(".")[2]] is not None:
                data[TWINS[key].partition(".")[2]] = None
    return settled


def _copy(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in plain.items()}


def _varying(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """Factors, under their names in the table, that take more than one value."""
    factors = [cell.factors() for cell in cells]
    values = {key: list({f[key]: None for f in factors}) for key in factors[0]}
    return {key: v for key, v in values.items() if len(v) > 1 and key not in DERIVED}
