"""Searches from end to end: any key's range, mixed with a grid; killed, resumed, pruned, rerun."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from study import results
from study.page import write
from study.sweeping.folder import StudyFolder
from study.sweeping.monitor import Monitor
from study.sweeping.space import SearchSpec
from study.sweeping.storage import open_storage
from study.tables import gather, records
from tests.sweeping.commands import HERE, TINY, run_here, start, wait_for

SEARCH = (
    *TINY,
    "study=mine",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
    "model.width=interval(3,8)",
    "model.activation=choice(tanh,softplus)",
    "optimizer.steps=150",
    "search.pruner=successive_halving",
    "search.n_trials=10",
)


def trials(study: Path) -> dict[str, dict[str, Any]]:
    """What came of each trial."""
    return {
        str(path.relative_to(study)): json.loads(path.read_text())
        for path in sorted(study.glob("searches/*/trial-*.json"))
    }


def end(command: Any, status: int = 0) -> str:
    output, _ = command.communicate(timeout=300)
    assert command.returncode == status, output
    return output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nobody disturbs, by one worker."""
    folder = tmp_path_factory.mktemp("undisturbed")
    end(start(folder, *SEARCH, "workers=1"))
    return folder / "outputs" / "mine"


def test_trials_lie_in_their_ranges_and_the_worst_end_early(undisturbed: Path) -> None:
    found = trials(undisturbed).values()
    assert [trial["number"] for trial in found] == list(range(10))
    assert {trial["state"] for trial in found} == {"complete", "pruned"}
    for trial in found:
        params = trial["params"]
        assert 1e-4 <= params["optimizer.lr"] <= 1e-1
        assert params["model.width"] in range(3, 9)
        assert params["model.activation"] in ("tanh", "softplus")
    # what is pruned had been told at a rung, and was worse there than what went on from it
    (book,) = books(undisturbed)
    for rung in (1, 3, 9):
        here = {t.number: t for t in book.trials if rung in t.intermediate_values}
        ended = [t for t in here.values() if max(t.intermediate_values) == rung]
        pruned = [t for t in ended if t.state.name == "PRUNED"]
        for trial in pruned:
            before = [o for o in here.values() if o.number < trial.number]
            assert any(
                o.intermediate_values[rung] < trial.intermediate_values[rung] for o in before
            )


def test_a_pruned_trial_trains_to_its_last_rung_and_no_further(undisturbed: Path) -> None:
    (book,) = books(undisturbed)
    reached = {trial.number: max(trial.intermediate_values, default=0) for trial in book.trials}
    # of 150 steps: the points of the training curve near 5.6, 16.7 and 50
    after = {1: 6 / 150, 3: 17 / 150, 9: 50 / 150}
    found = trials(undisturbed).values()
    for trial in found:
        pruned = trial["state"] == "pruned"
        assert trial["trained"] == (after[reached[trial["number"]]] if pruned else 1.0)
    assert sum(trial["trained"] for trial in found) < 0.7 * len(found)


def test_a_cell_proposed_again_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=20", "search.n_trials=5")
    assert run_here(monkeypatch, *command, "search=random", "model.width=choice(3,4)") == 0
    found = list(trials(tmp_path / "outputs" / "mine").values())
    assert [trial["state"] for trial in found] == ["complete"] * 5
    seen: set[str] = set()
    for trial in found:
        assert trial["trained"] == (0.0 if trial["cell"] in seen else 1.0)
        seen.add(trial["cell"])
    assert len(seen) == 2


DAMAGE = {
    "a blank line": lambda lines: [*lines[:5], b"\n", *lines[5:]],
    "two records joined": lambda lines: [*lines[:5], lines[5].rstrip(b"\n"), *lines[6:]],
    "a torn line": lambda lines: [*lines[:5], lines[5][:20] + b"\n", *lines[6:]],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_ledger_that_cannot_be_read_is_made_anew_from_the_trials(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=20", "optimizer.lr=interval(1e-3,1e-2)")
    assert run_here(monkeypatch, *command, "search.n_trials=3") == 0
    study = tmp_path / "outputs" / "mine"
    before, ledger = trials(study), study / "ledger.log"
    ledger.write_bytes(b"".join(DAMAGE[damage](ledger.read_bytes().splitlines(keepends=True))))
    (study / "searches" / next(iter(before)).split("/")[1] / "trial-00001.json").unlink()
    capfd.readouterr()
    assert run_here(monkeypatch, *command, "search.n_trials=4") == 0
    assert "it is made anew from the study's own records" in capfd.readouterr().err
    after = trials(study)
    assert len(after) == 4
    again = {name: {**trial, "trained": 0.0, "steps": 0} for name, trial in before.items()}
    for name, trial in before.items():
        assert after[name] in (trial, again[name]), "the lost one was asked for again"
    (book,) = books(study)
    assert [t.state.name for t in book.trials] == ["COMPLETE"] * 4
    assert [t.params for t in book.trials] == [t["params"] for t in after.values()]


def test_the_first_trials_are_those_that_were_enqueued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=20", "search.n_trials=3")
    wishes = "search.enqueue=[{optimizer.lr:2e-3,model.width:3},{optimizer.lr:5e-3}]"
    ranges = ("optimizer.lr=interval(1e-3,1e-2)", "model.width=interval(3,5)")
    options = "search.sampler_options={multivariate:true}"
    assert run_here(monkeypatch, *command, *ranges, wishes, options) == 0
    found = [trial["params"] for trial in trials(tmp_path / "outputs" / "mine").values()]
    assert found[0] == {"optimizer.lr": 2e-3, "model.width": 3}
    assert found[1]["optimizer.lr"] == 5e-3
    assert found[2]["optimizer.lr"] not in (2e-3, 5e-3)


@pytest.mark.slow
def test_another_seed_searches_the_same_cells_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "optimizer.steps=5", "search.n_trials=2", "search=random")
    ranges = ("optimizer.lr=interval(1e-3,1e-1)", "model.width=choice(3,4)")
    drawn, names = {}, set()
    for study, seed in (("one", 0), ("same", 0), ("other", 1)):
        extra = (f"study={study}", f"search.seed={seed}")
        assert run_here(monkeypatch, *command, *ranges, *extra) == 0
        drawn[study] = [t["cell"] for t in trials(tmp_path / "outputs" / study).values()]
        names |= {path.name for path in (tmp_path / "outputs" / study / "searches").iterdir()}
    assert len(names) == 1, "the same space of the same cells"
    assert drawn["one"] == drawn["same"]
    assert not set(drawn["one"]) & set(drawn["other"])


def books(study: Path) -> list[optuna.Study]:
    """The searches as Optuna keeps them: what a dashboard shows."""
    storage = open_storage(None, study / "ledger.log")
    names = [s.study_name for s in optuna.get_all_study_summaries(storage) if ": " in s.study_name]
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def test_the_table_holds_the_complete_trials(undisturbed: Path) -> None:
    rows = results.load(undisturbed)
    complete = {t["cell"]: t for t in trials(undisturbed).values() if t["state"] == "complete"}
    assert set(rows["cell"]) == set(complete)
    medians = rows.groupby("cell")["test_nmse_median"].median()
    for cell, trial in complete.items():
        assert trial["values"] == [pytest.approx(medians[cell], rel=1e-12)]
    best = json.loads(next(undisturbed.glob("searches/*/best.json")).read_text())
    assert best["cell"] == medians.idxmin()
    assert not list(undisturbed.rglob("*.lock")), "nothing is held"
    assert not list(undisturbed.rglob("*.checkpoint.pt")), "of a pruned trial nothing is kept"


def test_the_tables_of_the_search_are_its_records(undisturbed: Path) -> None:
    table, keys = gather.load_trials(undisturbed), gather.load_searches(undisturbed)
    assert table is not None
    assert keys is not None
    found = list(trials(undisturbed).values())
    assert list(table["number"]) == list(range(10))
    for row, trial in zip(table.to_dict("records"), found, strict=True):
        assert (row["state"], row["cell"]) == (trial["state"], trial["cell"])
        assert {key: row[key] for key in trial["params"]} == trial["params"]
        if trial["state"] == "complete":
            assert [row["test_nmse_median"]] == trial["values"]
            assert row["steps"] == 150
    # a pruned one ended at a rung, with the error that Optuna was told there
    (book,) = books(undisturbed)
    for trial in (t for t in book.trials if t.state.name == "PRUNED"):
        row = table.set_index("number").loc[trial.number]
        rung = max(trial.intermediate_values)
        assert row["last"] == trial.intermediate_values[rung]
        assert 150 * rung / 27 == pytest.approx(row["steps"], rel=0.3)
    assert set(keys["key"]) == {"optimizer.lr", "model.width", "model.activation"}
    assert set(results.load(undisturbed)["role"]) == {"trial"}


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_trials(undisturbed: Path, tmp_path: Path) -> None:
    study = tmp_path / "outputs" / "mine"
    often = "trial.CHECKPOINT_SECONDS = 0.0"
    for n, number in enumerate((1, 4, 7)):
        head = start(tmp_path, *SEARCH, "workers=1", change=often) if n == 0 else again(tmp_path)
        wait_for(lambda number=number: len(trials(study)) > number, head)
        worker = next(iter(Monitor(study).look().running), None)
        head.send_signal(signal.SIGKILL)
        head.wait()
        assert worker is None or worker.pid != head.pid
        wait_for(lambda: not Monitor(study).look().running)
    end(again(tmp_path))
    assert trials(study) == trials(undisturbed)


def again(folder: Path) -> Any:
    return start(folder, *SEARCH, "workers=1")


@pytest.mark.slow
def test_workers_share_a_search(undisturbed: Path, tmp_path: Path) -> None:
    said = end(start(tmp_path, *SEARCH, "workers=3"))
    assert "10 trained, 0 were done before" in said
    found = trials(tmp_path / "outputs" / "mine").values()
    assert [trial["number"] for trial in found] == list(range(10))
    assert all(trial["state"] in ("complete", "pruned") for trial in found)


def test_the_same_command_again_runs_nothing_and_a_larger_budget_what_is_new(
    undisturbed: Path, tmp_path: Path
) -> None:
    study = tmp_path / "outputs" / "mine"
    shutil.copytree(undisturbed, study)
    before = trials(study)
    assert "0 trained, 10 were done before" in end(start(tmp_path, *SEARCH, "workers=1"))
    assert trials(study) == before
    assert "2 trained, 10 were done before" in end(
        start(tmp_path, *SEARCH, "search.n_trials=12", "workers=1")
    )
    after = trials(study)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before


def test_records_that_a_loss_of_power_tore_are_written_again(
    undisturbed: Path, tmp_path: Path
) -> None:
    study = tmp_path / "outputs" / "mine"
    shutil.copytree(undisturbed, study)
    before = trials(study)
    paths = {
        state: [study / name for name, trial in before.items() if trial["state"] == state]
        for state in ("complete", "pruned")
    }
    for torn in (paths["complete"][0], paths["pruned"][0]):
        torn.write_bytes(torn.read_bytes()[:40])
    lost = paths["complete"][-1]
    lost.write_text(json.dumps(before[str(lost.relative_to(study))] | {"state": "running"}))
    next(study.glob("searches/*/best.json")).write_text("{")
    assert Monitor(study).look().missing == 3
    end(again(tmp_path))
    after = trials(study)
    assert after.keys() == before.keys()
    for name, trial in before.items():
        # the storage has the rung of a pruned trial, not the step at which its curve was read
        near = {key: pytest.approx(trial[key], rel=0.1) for key in ("trained", "steps")}
        assert after[name] == trial | (near if trial["state"] == "pruned" else {})
    assert Monitor(study).look().finished
    best = next(undisturbed.glob("searches/*/best.json")).relative_to(undisturbed)
    assert (study / best).read_bytes() == (undisturbed / best).read_bytes()


@pytest.mark.slow
def test_each_point_of_a_grid_is_searched_and_its_best_trained_again(tmp_path: Path) -> None:
    command = (
        *TINY,
        "study=mine",
        "data.n_train=32,48",
        "optimizer.lr=tag(log,interval(1e-3,1e-1))",
        "optimizer.steps=60",
        "search.n_trials=3",
        "search.rerun=true",
        "replicates=4",
        "block_size=2",
        "workers=2",
    )
    end(start(tmp_path, *command))
    study = tmp_path / "outputs" / "mine"
    folder = StudyFolder(study)
    specs = [SearchSpec.from_dict(data) for data in folder.read_orders().searches]
    assert [dict(spec.fixed) for spec in specs] == [{"data.n_train": 32}, {"data.n_train": 48}]
    assert len({book.study_name for book in books(study)}) == 2
    rows = results.load(study)
    for spec in specs:
        best = json.loads((study / "searches" / spec.name / "best.json").read_text())
        of_best = rows[rows["cell"] == best["cell"]]
        assert sorted(of_best["replicate"]) == [0, 1, 2, 3, 4, 5], "two that tuned it, four new"
        assert set(of_best["data.n_train"]) == {spec.fixed["data.n_train"]}
        roles = of_best.set_index("replicate")["role"]
        assert [roles[k] for k in range(6)] == ["trial"] * 2 + ["rerun"] * 4
    now = Monitor(study).look()
    assert (now.total, now.done, now.missing) == (2 * (3 + 2), 2 * (3 + 2), 0)
    # the curve along N is drawn from what was trained again, each N at its own rate
    said = {each["id"]: each for each in json.loads((study / "answers.json").read_text())}
    new = rows[rows["role"] == "rerun"]
    assert said["raise_n.0"]["n_replicates"] == len(new) == 8
    drawn = pd.read_csv(study / "report" / "figures" / "test_error_by_n.csv").set_index("cell")
    expected = new.groupby("cell")["test_nmse_median"].median()
    assert drawn["median"].to_dict() == pytest.approx(expected.to_dict())
    assert {"search_best.0", "search_inside.1", "search_keys.0"} - said.keys() == {"search_keys.0"}


@pytest.mark.slow
def test_a_worker_that_dies_once_a_trial_is_trained_costs_it_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real, died = records.write_trial, []

    def write_trial(root: Path, search: str, record: records.TrialRecord) -> None:
        if record.state == "complete" and not died:
            died.append(record.number)
            raise RuntimeError("it dies here")
        real(root, search, record)

    monkeypatch.setattr(records, "write_trial", write_trial)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=20", "search.n_trials=3")
    assert run_here(monkeypatch, *command, "optimizer.lr=interval(1e-3,1e-2)") == 0
    assert died == [0]
    study = tmp_path / "outputs" / "mine"
    assert [trial["state"] for trial in trials(study).values()] == ["complete"] * 3
    (book,) = books(study)
    assert [trial.state.name for trial in book.trials] == ["COMPLETE"] * 3


@pytest.mark.slow
def test_settings_that_exclude_each_other_cost_a_trial_and_no_more(tmp_path: Path) -> None:
    command = (
        *[s for s in TINY if not s.startswith("data.n_train")],
        "study=mine",
        "data.n_over_p=interval(0.1,5)",
        "model.width=interval(3,64)",  # each end is possible, not both upper ends
        "optimizer.steps=20",
        "search=random",
        "search.n_trials=8",
        "workers=1",
    )
    end(start(tmp_path, *command))
    study = tmp_path / "outputs" / "mine"
    found = [trial["state"] for trial in trials(study).values()]
    assert set(found) == {"complete", "impossible"}
    assert all(
        "larger than the pool" in trial["error"]
        for trial in trials(study).values()
        if trial["state"] == "impossible"
    )
    now = Monitor(study).look()
    assert (now.done, now.missing, now.failed) == (8, 0, ())
    assert len(results.load(study)) == 2 * found.count("complete")


@pytest.mark.slow
def test_two_objectives(tmp_path: Path) -> None:
    settings = ("search=nsga2", "search.objectives=[test_nmse_median,rollout_error]")
    plain = [s for s in SEARCH if "pruner" not in s]
    end(start(tmp_path, *plain, *settings, "search.n_trials=6", "workers=1"))
    study = tmp_path / "outputs" / "mine"
    assert all(len(trial["values"]) == 2 for trial in trials(study).values())
    (book,) = books(study)
    best = {trial.number for trial in book.best_trials}
    front = {trial["cell"] for trial in trials(study).values() if trial["number"] in best}
    drawn = pd.read_csv(study / "report" / "figures" / "search_front.csv")
    assert set(drawn.loc[drawn["on_front"], "cell"]) == front


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("tune", {"search_history"}),
        ("tune_pareto", {"search_history", "search_front"}),
        ("tune_then_replicate", {"search_history", "search_rerun", "test_error_by_p"}),
    ],
)
def test_an_experiment_runs_to_its_page(name: str, figures: set[str], tmp_path: Path) -> None:
    end(start(tmp_path, f"+experiment={name}", "budget=smoke", "workers=2"))
    study = tmp_path / "outputs" / name
    made = {path.stem for path in (study / "report" / "figures").glob("*.csv")}
    assert figures <= made
    page = (study / "report" / "index.html").read_text()
    assert "Searched: " in page
    assert "fewer than the 20 that tell" in page, "six trials say nothing of importance"
    again = write.write(study).read_text()
    pictures = re.compile(r"base64,[^\"]+")  # whose last bits a layout does not repeat
    assert pictures.sub("", again) == pictures.sub("", page)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("model.width=interval(8,2)", "model.width=interval(8,2) holds no value"),
        ("model.width=interval(2.5,8)", "model.width takes whole numbers"),
        ("model.width=interval(0,8)", "model.width=0"),
        ("model.beta=tag(log,interval(0,1))", "begins above 0"),
        ("model.activation=interval(0,1)", "model.activation"),
        ("model.activation=choice(tanh,sofplus)", "did you mean softplus"),
        ("model=interval(0,1)", "is a range of numbers: name some of"),
        ("workers=interval(1,2)", "belongs to the whole command"),
        ("search=tpe", "no key is searched"),
        ("search=bayes optimizer.lr=interval(0.1,1)", "unknown search bayes"),
        ("search.n_trial=3 optimizer.lr=interval(0.1,1)", "did you mean search.n_trials"),
        ("search.objectives=[loss] optimizer.lr=interval(0.1,1)", "search.objectives=loss"),
        ("search.pruner=hyperband optimizer.lr=interval(0.1,1)", "search.pruner=hyperband"),
        (
            "search.objectives=[test_nmse,rollout_error] search.pruner=median "
            "optimizer.lr=interval(0.1,1)",
            "cannot prune",
        ),
        ("data.n_train=interval(100,1000)", "data.n_train"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(
    settings: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = str(run_here(monkeypatch, *TINY, *HERE, *settings.split()))
    assert said.startswith("error: ")
    assert named in said
    assert not Path("outputs").exists()
