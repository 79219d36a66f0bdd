"""Plans: how arms, sweeps and fixed settings combine. Composed by the real Hydra from `conf/`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from study.config import hydra
from study.config.command_line import read_overrides
from study.config.errors import ConfigError
from study.sweeping import cost
from study.sweeping.plan import Plan, make_plan
from tests.sweeping.commands import compose_choices


class Planner:
    """Plans command lines, and counts how often Hydra is asked."""

    def __init__(self, loader: Any):
        self._loader = loader
        self.composed = 0

    def __call__(self, *overrides: str, decided: bool | None = None) -> Plan:
        command = read_overrides(tuple(overrides), self._loader)

        def compose(choices: Mapping[str, Any]) -> dict[str, Any]:
            self.composed += 1
            return compose_choices(command, choices)

        return make_plan(command, compose, decided)


@pytest.fixture
def plan() -> Iterator[Planner]:
    hydra.register()
    with hydra.opened() as loader:
        yield Planner(loader)


def sizes(made: Plan) -> set[tuple[int, int]]:
    return {(cell.n_train, cell.model.width) for cell in made.cells}


def test_no_grid_is_one_cell(plan: Planner) -> None:
    assert sizes(plan()) == {(4096, 32)}


def test_a_sweep_is_a_product(plan: Planner) -> None:
    made = plan("data.n_train=64,256", "model.width=range(8,33,8)", "compile=false")
    assert sizes(made) == set(itertools.product((64, 256), (8, 16, 24, 32)))
    assert made.swept == {
        "data.n_train": [256, 64],
        "model.width": [32, 24, 16, 8],
    }, "each swept factor with its values, those of the costliest cell first"


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("range(0.1,0.5,0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("range(0.1,0.4,0.1)", [0.1, 0.2, 0.3]),
        ("range(0,1,0.25)", [0.0, 0.25, 0.5, 0.75]),
        ("range(0.4,0.1,-0.1)", [0.2, 0.3, 0.4]),
        ("shuffle(range(0.1,0.5,0.1))", [0.1, 0.2, 0.3, 0.4]),
        ("float(range(0,2))", [0.0, 1.0]),
        ("-0.0,0.0,0,0.1", [0.0, 0.1]),
    ],
)
def test_a_range_is_counted_in_decimals_without_its_end(
    given: str, values: list[float], plan: Planner
) -> None:
    written = plan(f"data.noise={','.join(map(str, values))}")
    made = plan(f"data.noise={given}")
    assert sorted(cell.data.noise for cell in made.cells) == values
    assert {cell.hash for cell in made.cells} == {cell.hash for cell in written.cells}


def test_null_is_a_choice_of_a_grid_and_of_a_search(plan: Planner) -> None:
    assert {cell.optimizer.clip for cell in plan("optimizer.clip=choice(null,2.0)").cells} == {
        None,
        2.0,
    }
    (search,) = plan("optimizer.clip=choice(null,2.0)", "optimizer.lr=interval(1e-3,1e-2)").searches
    (other,) = plan("optimizer.clip=choice(null,2.0)", "search.n_trials=6").searches
    for searched in (search, other):
        assert searched.distributions()["optimizer.clip"].choices == (None, 2.0)  # type: ignore[attr-defined]
    assert search.cell({"optimizer.clip": None, "optimizer.lr": 0.01}).optimizer.clip is None


def test_hydra_composes_once_for_each_combination_of_groups(plan: Planner) -> None:
    made = plan("system=double_pendulum,kepler", "data.n_train=range(64,564)")
    assert len(made.cells) == 1000
    assert plan.composed == 3, "the command as a whole, and each system"


def test_arms_are_a_union(plan: Planner) -> None:
    arms = "[{model.width:[4,8],data.n_train:64},{model.width:8,data.n_train:[64,128]}]"
    assert sizes(plan(f"+grid.laptop={arms}")) == {(64, 4), (64, 8), (128, 8)}


def test_the_budget_chooses_its_arms(plan: Planner) -> None:
    made = plan("+grid.laptop=[{model.width:4}]", "+grid.smoke=[{model.width:8}]", "budget=smoke")
    assert sizes(made) == {(4096, 8)}


def test_an_arm_may_name_groups(plan: Planner) -> None:
    made = plan("+grid.laptop=[{system:[double_pendulum,kepler],data:uniform}]")
    assert {c.system.name for c in made.cells} == {"double_pendulum", "kepler"}
    assert {c.data.sampler for c in made.cells} == {"uniform"}
    kepler = next(c for c in made.cells if c.system.name == "kepler")
    assert set(kepler.system.constants) != {"m1", "m2", "l1", "l2", "g"}


def test_the_command_line_replaces_a_key_of_every_arm(plan: Planner) -> None:
    arms = "+grid.laptop=[{model.width:[4,8],data.n_train:64},{model.width:16}]"
    assert sizes(plan(arms, "model.width=2")) == {(64, 2), (4096, 2)}
    assert sizes(plan(arms, "model.width=2,3")) == {(64, 2), (64, 3), (4096, 2), (4096, 3)}


def test_either_way_to_say_n_unsets_the_other(plan: Planner) -> None:
    assert {c.n_train for c in plan("data.n_over_p=0.5,2").cells} == {1712, 6850}
    assert {c.n_train for c in plan("data.n_over_p=2").cells} == {6850}
    assert {c.n_train for c in plan("+grid.laptop=[{data.n_over_p:[0.5,2]}]").cells} == {1712, 6850}
    arms = "+grid.laptop=[{data.n_over_p:[0.5,2]}]"
    assert {c.n_train for c in plan(arms, "data.n_train=100").cells} == {100}


def test_cells_that_come_to_the_same_are_one(plan: Planner) -> None:
    assert len(plan("data.n_train=6850").cells) == 1
    arms = "+grid.laptop=[{data.n_over_p:2},{data.n_train:6850}]"
    assert len(plan(arms).cells) == 1


def test_the_costliest_come_first(plan: Planner) -> None:
    made = plan("model.width=8,64,32", "optimizer.steps=100,1000")
    costs = [made.seconds[cell.hash] for cell in made.cells]
    assert costs == sorted(costs, reverse=True)
    assert made.cells[0].model.width == 64


def test_replicates_and_workers_are_no_part_of_a_cell(plan: Planner) -> None:
    assert plan("replicates=10").cells == plan("replicates=5", "workers=7", "study=x").cells


def test_an_earlier_decision_on_compiling_stands(
    plan: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "worth_compiling", lambda *_: True)
    monkeypatch.setattr(cost, "cpp_trouble", lambda: None)
    assert plan().compile
    assert not plan(decided=False).compile
    assert plan("compile=true", decided=False).compile
    assert plan(decided=True).cells[0].compile
    assert plan(decided=True).cells[0].hash != plan(decided=False).cells[0].hash


def test_a_compiled_study_needs_a_compiler(plan: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "cpp_trouble", lambda: "there is no C++ compiler here")
    for asked in ("auto", "true"):
        with pytest.raises(ConfigError, match=f"compile={asked}: .* no C\\+\\+ compiler here"):
            plan(f"compile={asked}", decided=True)
    assert not plan("compile=true").compile, "a new study trains eager"
    assert not plan("compile=true", decided=False).compile
    assert not plan("compile=false", decided=True).compile


def test_compiling_pays_for_much_training_with_a_compiler_only(
    plan: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = (
        [
            dataclasses.replace(cell, device=device)
            for device in ("cpu", "cuda")
            for cell in plan(f"optimizer.steps={n}", "compile=false").cells
        ]
        for n in (10**6, 10)
    )
    for compiler in (True, False):
        monkeypatch.setattr(cost, "cpp_trouble", lambda found=compiler: None if found else "none")
        on_cpu = [cell for cell in short if cell.device == "cpu"]
        elsewhere = [cell for cell in short if cell.device == "cuda"]
        assert cost.worth_compiling(long, 1, 2) is compiler
        assert cost.worth_compiling(on_cpu, 1, 2) is compiler, "it costs seconds, once"
        assert not cost.worth_compiling(elsewhere, 1, 2)


def test_experiments_cannot_be_swept(plan: Planner) -> None:
    with pytest.raises(ConfigError, match="one value"):
        plan("+experiment=a,b")


def planned_budgets() -> list[tuple[str, str]]:
    """Each experiment with the budgets it has; a search, which has no grid, has all."""
    named = {p.stem: yaml.safe_load(p.read_text()) for p in (hydra.CONF / "experiment").glob("*")}
    budgets = ("smoke", "laptop", "full")
    return [(name, b) for name in sorted(named) for b in named[name].get("grid") or budgets]


@pytest.mark.parametrize(("name", "budget"), planned_budgets())
def test_every_experiment_can_be_planned_at_every_budget(plan, name, budget):
    planned = plan(f"+experiment={name}", f"budget={budget}")
    assert planned.run.study == name
    assert len(planned.cells) > 1 or planned.searches
