"""Asking and telling on the journal, by several workers; on PostgreSQL: tests/test_postgres.py."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from study.sweeping import claims
from study.sweeping import search as search_module
from study.sweeping.search import SAMPLERS, Asked, Search
from study.sweeping.storage import LostError, open_storage

SPACE = {
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.width": IntDistribution(4, 64),
    "model.activation": CategoricalDistribution(["tanh", "softplus"]),
}


def make(folder: Path, **settings: Any) -> Search:
    folder.mkdir(exist_ok=True)
    storage = open_storage(None, folder / "ledger.log")
    return Search(storage, "mine", folder / "trials", SPACE, **{"n_trials": 6, **settings})


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(None, folder / "ledger.log")
    return optuna.load_study(study_name="mine", storage=storage).get_trials()


def value(asked: Asked) -> float:
    """Smallest at lr = 0.01, width = 32, tanh."""
    away = abs(math.log10(asked.params["optimizer.lr"]) + 2)
    wrong = asked.params["model.activation"] != "tanh"
    return away + abs(asked.params["model.width"] - 32) / 32 + wrong


def run(search: Search) -> None:
    while asked := search.ask():
        search.tell(asked.number, value(asked))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_ends_with_its_budget(tmp_path: Path, sampler: str) -> None:
    search = make(tmp_path, sampler=sampler, n_trials=14)
    run(search)
    assert search.ask() is None
    assert search.left() == 0
    done = trials(tmp_path)
    assert [trial.number for trial in done] == list(range(14))
    assert len({tuple(trial.params.values()) for trial in done}) == 14, "nothing proposed twice"
    assert not list((tmp_path / "trials").iterdir()), "no claim is left"


def test_cmaes_finds_its_state_in_the_trials_and_unpickles_nothing(tmp_path: Path) -> None:
    space = {"x": FloatDistribution(-3, 5), "y": FloatDistribution(1e-4, 1e2, log=True)}
    storage = open_storage(None, tmp_path / "ledger.log")
    for _ in range(60):  # as by sixty workers, each with one trial
        settings = {"n_trials": 60, "sampler": "cmaes"}
        search = Search(storage, "mine", tmp_path / "trials", space, **settings)
        asked = search.ask()
        assert asked is not None
        x, y = asked.params["x"], math.log10(asked.params["y"])
        search.tell(asked.number, (x - 2) ** 2 + (y + 1) ** 2)
    done = trials(tmp_path)
    values = [trial.value for trial in done]
    assert max(values[-10:]) < 0.3 * sorted(values[:10])[5], "it closes in"
    assert {key for trial in done for key in trial.system_attrs} == {"cma:generation"}


def test_a_range_with_a_step_is_drawn_in_decimals(tmp_path: Path) -> None:
    space = {"data.noise": FloatDistribution(0.1, 0.9, step=0.1)}
    storage = open_storage(None, tmp_path / "ledger.log")
    search = Search(storage, "mine", tmp_path / "trials", space, n_trials=40, sampler="random")
    drawn = set()
    while asked := search.ask():
        drawn.add(asked.params["data.noise"])
        search.tell(asked.number, 0.0)
    assert drawn == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}


def test_what_is_proposed_depends_on_seed_and_number_only(tmp_path: Path) -> None:
    run(make(tmp_path / "one", n_trials=15))
    for _ in range(15):  # as by fifteen workers, each with one trial
        search = make(tmp_path / "many", n_trials=15)
        asked = search.ask()
        assert asked is not None
        search.tell(asked.number, value(asked))
    run(make(tmp_path / "other", n_trials=15, seed=1))
    one, many, other = ([t.params for t in trials(tmp_path / n)] for n in ("one", "many", "other"))
    assert one == many
    assert one != other


def test_tpe_learns(tmp_path: Path) -> None:
    run(make(tmp_path, n_trials=60))
    values = [trial.value for trial in trials(tmp_path)]
    assert sorted(values[30:])[15] < sorted(values[:10])[5] / 2


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    run(make(tmp_path, n_trials=3))
    before = [(t.number, t.params, t.value) for t in trials(tmp_path)]
    run(make(tmp_path, n_trials=5))
    after = [(t.number, t.params, t.value) for t in trials(tmp_path)]
    assert after[:3] == before
    assert len(after) == 5


def test_trials_are_held_apart_and_put_back(tmp_path: Path) -> None:
    one, two = make(tmp_path), make(tmp_path)
    first, second = one.ask(), two.ask()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    one.release()
    again = two.ask()
    assert again is not None
    assert (again.number, again.params, again.resumed) == (0, first.params, True)
    assert two.left() == 6


def _ask_and_die(folder: str) -> None:
    make(Path(folder)).ask()
    os.kill(os.getpid(), signal.SIGKILL)


def _ask_and_die_halfway(folder: str) -> None:
    """After the trial is made and one of its settings is drawn."""
    real = search_module.suggest
    drawn = []

    def suggest(*arguments: Any) -> Any:
        if drawn:
            os.kill(os.getpid(), signal.SIGKILL)
        drawn.append(real(*arguments))
        return drawn[-1]

    search_module.suggest = suggest
    make(Path(folder)).ask()


@pytest.mark.parametrize("death", [_ask_and_die, _ask_and_die_halfway])
def test_a_dead_workers_trial_is_continued(tmp_path: Path, death: Any) -> None:
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=death, args=(str(tmp_path / "died"),))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    left = trials(tmp_path / "died")
    assert [trial.state.name for trial in left] == ["RUNNING"]
    search = make(tmp_path / "died")
    asked = search.ask()
    assert asked is not None
    assert (asked.number, asked.resumed) == (0, True)
    assert asked.params.items() >= left[0].params.items()
    search.tell(0, value(asked))
    run(search)
    run(make(tmp_path / "undisturbed"))
    ended = [(t.params, t.value) for t in trials(tmp_path / "died")]
    undisturbed = [(t.params, t.value) for t in trials(tmp_path / "undisturbed")]
    assert len(ended) == 6
    if death is _ask_and_die:  # what is drawn for the rest of half a trial is something else
        assert ended == undisturbed


def test_a_value_that_is_not_finite_is_the_worst(tmp_path: Path) -> None:
    search = make(tmp_path, n_objectives=2)
    search.ask()
    assert search.tell(0, [math.nan, -math.inf])
    assert trials(tmp_path)[0].values == [math.inf, math.inf]


def test_failures_and_pruned_trials_count_and_say_why(tmp_path: Path) -> None:
    search = make(tmp_path, pruner="median", n_trials=10)
    for _ in range(8):
        asked = search.ask()
        assert asked is not None
        assert not search.report(asked.number, 0, 1.0)
        search.tell(asked.number, 1.0)
    asked = search.ask()
    assert asked is not None
    assert search.report(asked.number, 0, 2.0)
    search.prune(asked.number)
    asked = search.ask()
    assert asked is not None
    search.fail(asked.number, "MemoryError: no room")
    assert search.ask() is None
    last = trials(tmp_path)[-2:]
    assert [(t.state.name, t.value) for t in last] == [("PRUNED", 2.0), ("FAIL", None)]
    assert last[1].user_attrs == {"error": "MemoryError: no room"}


def test_the_first_told_value_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late, other = make(tmp_path), make(tmp_path)
    late.ask()
    # the late worker's clock stood still for longer than its claim lasts
    lock = tmp_path / "trials" / "trial-0.lock"
    lock.unlink()
    assert other.ask().number == 0  # type: ignore[union-attr]
    assert other.tell(0, 1.0)
    assert not late.tell(0, 2.0)
    assert trials(tmp_path)[0].value == 1.0


class Flaky:
    """Loses the connection after every second write, when all is done but not acknowledged."""

    def __init__(self, storage: Any):
        self._storage, self._writes = storage, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not name.startswith(("create_new_trial", "set_trial")):
            return found

        def call(*arguments: Any, **settings: Any) -> Any:
            returned = found(*arguments, **settings)
            self._writes += 1
            if self._writes % 2:
                raise LostError("the answer is lost")
            return returned

        return call


def test_lost_acknowledgements_double_nothing(tmp_path: Path) -> None:
    search = make(tmp_path)
    search._study._storage = Flaky(search._study._storage)  # type: ignore[assignment]
    told = {}
    while asked := search.ask():
        told[asked.number] = value(asked)
        search.tell(asked.number, told[asked.number])
    done = trials(tmp_path)
    assert {trial.number: trial.value for trial in done} == told
    assert [trial.state.name for trial in done] == ["COMPLETE"] * 6


def test_more_than_the_budget_is_never_run(tmp_path: Path) -> None:
    search = make(tmp_path, n_trials=2)
    run(search)
    search._study.ask()  # as by one who overslept its turn
    assert search.ask() is None
    assert [t.state.name for t in trials(tmp_path)] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_who_waits_for_others_can_be_called_away(tmp_path: Path) -> None:
    def heed() -> None:
        raise KeyboardInterrupt

    search = make(tmp_path, heed=heed)
    assert search.ask() is not None
    other = claims.take(tmp_path / "trials" / "ask.lock")
    assert other is not None
    with pytest.raises(KeyboardInterrupt):
        search.ask()
    other.release()


def test_who_waits_for_a_server_can_be_called_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def heed() -> None:
        called.append(True)
        if len(called) == 2:
            raise KeyboardInterrupt

    search = make(tmp_path, heed=heed)
    monkeypatch.setattr(search._study, "get_trials", lost)
    with pytest.raises(KeyboardInterrupt):
        search.left()
    assert len(called) == 2


def lost(**_: object) -> None:
    raise LostError("the connection is gone")


def test_claims_are_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.0)
    search = make(tmp_path)
    search.ask()
    lock = tmp_path / "trials" / "trial-0.lock"
    os.utime(lock, (1, 1))
    search.beat()
    assert lock.stat().st_mtime > 1e9
