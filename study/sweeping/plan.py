"""From a command to checked cells: the grid is expanded, every cell validated, the order fixed.

Hydra composes once for each combination of groups; values are then set on the plain config.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from study.config.as_typed import once
from study.config.cell import Cell, make_cell
from study.config.command_line import COMMAND_KEYS, CommandLine
from study.config.device import wants_cpp
from study.config.errors import ConfigError
from study.config.factors import DERIVED
from study.config.groups import by_content
from study.config.run import Run, make_run
from study.config.schema import GROUPS, TOP
from study.sweeping import cost, space
from study.sweeping.search import check_options
from study.sweeping.space import TWINS, SearchSpec, check_objectives, choices, set_key

Compose = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # choices of groups -> plain config
Configs = Callable[[Mapping[str, Any]], dict[str, Any]]  # settings -> plain config


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study, checked and in order."""

    run: Run
    cells: tuple[Cell, ...]  # the costliest first, so that no long one starts last
    seconds: Mapping[str, float]  # the estimated cost of one block of each cell, by hash
    config: Mapping[str, Any]  # without the grid
    arms: Sequence[Mapping[str, Any]]  # the grid of the chosen budget
    swept: Mapping[str, Sequence[Any]]  # the factors that vary between cells, with their values
    compile: bool  # what `compile=auto` came to
    searches: tuple[SearchSpec, ...] = ()  # one for each point of the grid; there are no cells then

    @functools.cached_property
    def remarks(self) -> list[str]:
        """What recordings contradict of their description, a sentence each."""
        lines = (line for cell in self._recorded.values() for line in cell.remarks)
        return list(dict.fromkeys(lines))

    @functools.cached_property
    def findings(self) -> list[str]:
        """How noisy recordings are, and whether their motion is conservative, a sentence each."""
        lines = (line for cell in self._recorded.values() for line in cell.findings)
        return list(dict.fromkeys(lines))

    @property
    def _recorded(self) -> dict[tuple, Cell]:
        """One cell of each recording, way to read it and system."""
        return {
            (cell.reading, cell.system.name, repr(cell.mechanics.constants)): cell
            for cell in self.cells
            if cell.reading is not None
        }

    def own_code(self) -> set[str]:
        """Hashes of the user's own files that its workers are to run."""
        hashes = {cell.system.sha256 for cell in self.cells}
        for search in self.searches:
            hashes |= {config["system"].get("sha256") for config in search.configs.values()}
        return {sha256 for sha256 in hashes if sha256}


def make_plan(command: CommandLine, compose: Compose, decided: bool | None = None) -> Plan:
    """Expand and check a command.

    `decided`: whether the same study, with the same budget, was trained compiled before.

    **Raises:** `ConfigError`, one sentence, for the first setting that cannot be right.
    """
    base = dict(compose({}))
    run = make_run(base)
    if not isinstance(base["compile"], bool) and base["compile"] != "auto":
        raise ConfigError(f"compile={base['compile']} is not known: use auto, true or false")
    arms = _arms(base)
    config = {key: value for key, value in base.items() if key != "grid"}
    where = f"grid.{run.budget}"
    configs = _composer(command, compose)
    if searched := _searched(command, run):
        check_objectives(run.search)
        check_options(run.search.sampler, run.search.sampler_options)
        compiled = wants_cpp(base) and not cost.cpp_trouble()
        about = searched, where, compiled, run.search.enqueue
        searches = _searches(command, configs, arms, *about)
        _check_seeds([plain["seed"] for s in searches for plain in s.configs.values()], run)
        return Plan(run, (), {}, config, arms, {}, compiled, searches)
    n, eager = run.replicates, {}
    for settings in _expand(arms, command, where):
        cell = make_cell(configs(settings), compile=False)
        eager.setdefault(cell.hash, cell)
        c = cell.inits_per_data
        if c and n % c:  # some data seed would lack initialisations: its variance is lopsided
            raise ConfigError(
                f"replicates={n} is not a multiple of inits_per_data={c}: "
                f"use replicates={n - n % c or c}"
            )
    _check_seeds([cell.seed for cell in eager.values()], run)
    compiled = _decide_compile(base["compile"], decided, list(eager.values()), run)
    cells = [cell.with_compile(compiled) for cell in eager.values()]
    seconds = {cell.hash: round(cost.block_seconds(cell), 2) for cell in cells}
    ordered = sorted(cells, key=lambda cell: (-seconds[cell.hash], cell.hash))
    return Plan(run, tuple(ordered), seconds, config, arms, _varying(ordered), compiled)


def _check_seeds(seeds: Sequence[int], run: Run) -> None:
    """**Raises:** `ConfigError` if a design compares seeds, which are replicates."""
    if len(several := list(dict.fromkeys(seeds))) > 1:
        more = ",..." if len(several) > 3 else ""
        raise ConfigError(
            f"seed={','.join(map(str, several[:3]))}{more}: seeds are no settings to compare, and "
            f"replicates have their own: write replicates={len(several) * run.replicates}"
        )


def _decide_compile(
    wanted: bool | str, decided: bool | None, cells: Sequence[Cell], run: Run
) -> bool:
    trouble = cost.cpp_trouble()
    if wanted and decided and trouble:
        raise ConfigError(
            f"compile={str(wanted).lower()}: this study trains compiled, and that cannot be done "
            f"here, or begin another study: {trouble}"
        )
    if isinstance(wanted, bool):
        return wanted and not trouble
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


def _composer(command: CommandLine, compose: Compose) -> Configs:
    """Composes each choice of groups once, and sets the other settings on copies of the result."""

    @functools.cache
    def composed(groups: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        plain = _copy(compose(dict(groups)))
        for key in (command.keys - command.swept.keys()) & TWINS.keys():
            if TWINS[key] not in command.keys:  # the default of its twin is unset
                set_key(plain, key, plain["data"][key.partition(".")[2]])
        return plain

    def config(settings: Mapping[str, Any]) -> dict[str, Any]:
        plain = _copy(composed(tuple((k, str(v)) for k, v in settings.items() if k in GROUPS)))
        for key, value in settings.items():
            if key not in GROUPS:
                set_key(plain, key, value)
        return plain

    return config


def _searched(command: CommandLine, run: Run) -> dict[str, str]:
    """Keys to search in: those of the config that the command does not set, and the command's."""
    for key, value in run.search.space.items():
        if key.startswith("data.columns."):
            raise ConfigError(f"search.space.{key}={value} is searched, {once(key, ())}")
        if not isinstance(value, str):
            raise ConfigError(
                f"search.space.{key}={value} is one value: write a range to search in, or set "
                f"{key} itself"
            )
    given = {
        key: text
        for key, text in run.search.space.items()
        if key not in command.keys and TWINS.get(key) not in command.keys
    }
    about = [o.input_line for o in command.parsed if o.key_or_group.partition(".")[0] == "search"]
    wanted = given or command.ranges or about
    searched = given | dict(command.ranges) | (dict(command.options) if wanted else {})
    if wanted and not searched:
        raise ConfigError(
            f"{str(about[0]).lstrip('+')}: no key is searched: give one a range, "
            "optimizer.lr='tag(log,interval(1e-4,1e-1))' for instance"
        )
    if "seed" in searched:
        raise ConfigError(
            f"seed={searched['seed']}: a seed is nothing to search for, and replicates have their "
            f"own: write replicates={2 * run.replicates} for twice as many"
        )
    return searched


def _searches(
    command: CommandLine,
    configs: Configs,
    arms: Sequence[Mapping[str, Any]],
    searched: Mapping[str, str],
    where: str,
    compiled: bool,
    enqueued: Sequence[Mapping[str, Any]],
) -> tuple[SearchSpec, ...]:
    """One search for each point of the grid, checked at the ends of all ranges."""
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
        kept = {k: v for k, v in settings.items() if k not in searched}
        chosen: dict[str, dict[str, Any]] = {}
        for values in itertools.product(*groups.values()):
            named = dict(zip(groups, values, strict=True))
            plain = configs({**kept, **named})
            plain = {key: plain[key] for key in (*GROUPS, *TOP)}
            # workers find files of the user's by what is in them
            plain["system"], plain["data"] = by_content(plain["system"], plain["data"])
            chosen[choices(named)] = plain
        search = SearchSpec(kept, dict(searched), chosen, compiled)
        search.check_enqueued(enqueued)
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
            if not isinstance(key, str) or isinstance(values, Mapping):
                raise ConfigError(
                    f"{where}: {key}={values} is not an arm's setting: write model.width: 8"
                )
            if key.partition(".")[0] in COMMAND_KEYS:
                raise ConfigError(
                    f"{where}: {key}={values} belongs to the whole study, so no arm can set it"
                )
            if key.startswith("data.columns.") and isinstance(values, list) and len(values) > 1:
                names = [str(value) for value in values]
                raise ConfigError(f"{where}: {key} has several values, {once(key, names)}")
            if values == []:
                raise ConfigError(f"{where}: {key}=[] holds no value: give at least one")
            if key not in replaced:
                lists[key] = values if isinstance(values, list) else [values]
        lists |= command.swept
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def _copy(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in plain.items()}


def _varying(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """Factors, under their names in the table, that take more than one value."""
    factors = [cell.factors() for cell in cells]
    keys = dict.fromkeys(key for own in factors for key in own)  # some cells are without a factor
    values = {key: list({own.get(key): None for own in factors}) for key in keys}
    return {key: v for key, v in values.items() if len(v) > 1 and key not in DERIVED}
