"""Settings that nobody writes by mistake cost one sentence too, no traceback, and no training.

`test_common_mistakes.py` has those that somebody may.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweeping.commands import run_here

# what is typed -> what the sentence must name
BAD = {
    "+foo=1": ["unknown key foo"],
    "+model.foo=1": ["unknown key model.foo"],
    "system=duoble_pendulum": ["unknown system duoble_pendulum", "double_pendulum"],
    "system=double_pendulum,kepller": ["unknown system kepller", "kepler"],
    "system=glob(x*)": ["system=glob(x*)", "no value"],
    "system.gg=3": ["unknown key system.gg", "system.g"],
    "system.g=heavy": ["system.g=heavy", "number"],
    "model.activation=tanh,softpuls": ["unknown activation softpuls", "softplus"],
    "model.init=cramner": ["unknown init cramner", "cranmer"],
    "model.width=wide": ["model.width=wide", "whole number"],
    "model.width=8,0": ["model.width=0", "1"],
    "model.beta=-1": ["model.beta=-1", "greater than 0"],
    "model.beta=nan": ["model.beta=nan", "finite"],
    "model.encoding=polar": ["model.encoding=polar", "trig"],
    "data.n_train=0": ["data.n_train=0", "1"],
    "data.n_train=": ["data.n_train="],
    "data.n_train=50000": ["data.n_train=50000", "20000"],
    "data.n_over_p=1000": ["data.n_train=3425000", "20000"],
    "data.noise=-0.1": ["data.noise=-0.1", "0"],
    "optimizer.lr=1e400": ["optimizer.lr=inf", "finite"],
    "optimizer.steps=100 precision=float16": ["precision=float16", "float32"],
    "optimizer=newton": ["unknown optimizer newton", "levenberg_marquardt"],
    "optimizer=levenberg_marqardt": ["unknown optimizer", "did you mean levenberg_marquardt"],
    "optimizer=levenberg_marquardt optimizer.iterations=0": [
        "optimizer.iterations=0",
        "levenberg_marquardt",
    ],
    "optimizer=adam_lm optimizer.steps=0": ["optimizer.steps=0", "adam_lm"],
    "optimizer=adam,least_squares": ["optimizer=least_squares", "random_features"],
    "optimizer.loss=huber": ["optimizer.loss=huber", "squared"],
    "optimizer.iteration=5": ["unknown key optimizer.iteration", "optimizer.iterations"],
    "inits_per_data=0": ["inits_per_data=0", "1"],
    "diagnostics.error_budget=perhaps": ["diagnostics.error_budget=perhaps"],
    "seed=-1": ["seed=-1", "0"],
    "retries=-1": ["retries=-1", "0"],
    "replicates=5 block_size=2": ["replicates=5", "block_size=2"],
    "replicates=4 block_size=4 inits_per_data=3": ["replicates=4", "inits_per_data=3"],
    "data.n_train=50 data.pool_size=100": ["data.n_trajectories=100", "data.pool_size=100"],
    "system=henon_heiles system.coupling=0": ["system.coupling=0", "energy scale"],
    "system=oscillator system.m=0": ["system.m=0", "without a motion"],
    "system=kepler system.m=-1 system.mu=-1": ["system.mu=-1", "without a motion"],
    "dry_run=perhaps": ["dry_run=perhaps"],
    "compile=maybe": ["compile=maybe", "auto"],
    "study=../escape": ["study='../escape'", "outputs/"],
    "study=.hidden": ["study='.hidden'", "outputs/"],
    "study=a,b": ["study=a,b", "one value"],
    "budget=tiny": ["unknown budget tiny", "smoke"],
    "budget=smoke,full": ["budget=smoke,full", "one value"],
    "+experiment=unknown": ["unknown experiment unknown"],
    "+model=lnn": ["+model=lnn", "model=lnn"],
    "model={width:3}": ["model={width:3}", "group"],
    "~model": ["~model"],
    "model.width": ["model.width", "key=value"],
    "model.width=[1,2": ["model.width=[1,2", "key=value"],
    "hydra/launcher=nope": ["hydra/launcher", "nope"],
    "grid=3": ["grid=3", "budget"],
    "+grid.full=[{model.width:8}]": ["budget=laptop", "full"],
    "+grid.laptop=[]": ["grid.laptop", "arms"],
    "+grid.laptop=[{modle.width:8}]": ["unknown key modle.width", "model.width"],
    "+grid.laptop=[{model.width:[]}]": ["model.width=[]", "no value"],
    "+grid.laptop=[{model.width:[8,wide]}]": ["model.width=wide", "whole number"],
    "+grid.laptop=[{system:keppler}]": ["system", "keppler", "kepler"],
    "+grid.laptop=[{replicates:8}]": ["grid.laptop", "replicates=8"],
    "replicates=auto": ["replicates=auto", "whole number"],
    "auto.budget=3": ["unknown key auto.budget"],
}


@pytest.mark.parametrize("typed", BAD)
def test_bad_setting_gets_one_sentence(
    typed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = run_here(monkeypatch, *typed.split(" "))

    assert isinstance(sentence, str), "exits with a sentence, so with a status other than zero"
    assert "\n" not in sentence
    assert "Traceback" not in capfd.readouterr().err
    for part in BAD[typed]:
        assert part in sentence
    assert not list(tmp_path.glob("outputs/*/cells/*")), "nothing was begun"
