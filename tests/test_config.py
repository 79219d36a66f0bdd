"""Cells: names that depend on what can change a number, and one sentence for what cannot be."""

import dataclasses

import pytest
import torch
import yaml

from study.config.cell import make_cell
from study.config.device import check_device
from study.config.errors import ConfigError, first_line
from study.config.factors import DERIVED, FACTORS
from study.config.run import make_run
from study.core.data.smoothing import WINDOWS

GROUPS = {
    "data": "trajectories",
    "model": "lnn",
    "optimizer": "adam",
    "rollout": "standard",
    "diagnostics": "standard",
}


@pytest.fixture
def plain(request):
    conf = request.config.rootpath / "conf"
    config = {
        group: yaml.safe_load((conf / group / f"{name}.yaml").read_text())
        for group, name in GROUPS.items()
    }
    return {
        **config,
        "system": {"name": "double_pendulum"},
        "seed": 0,
        "precision": "float32",
        "device": "cpu",
        "block_size": 5,
    }


def change(plain, key, value):
    group, _, name = key.rpartition(".")
    if not group:
        return {**plain, name: value}
    return {**plain, group: {**plain[group], name: value}}


def cell(plain, **options):
    return make_cell(plain, **({"compile": False} | options))


def test_the_questions_network(plain):
    for key, value in {"model.encoding": "raw", "model.beta": 0.5}.items():
        plain = change(plain, key, value)
    assert cell(plain).n_params == 3361
    assert cell(plain).n_train == 4096


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system.g", 9.81),
        ("data.n_train", 100),
        ("data.noise", 0.1),
        ("model.beta", 1.0),
        ("optimizer.steps", 10),
        ("rollout.n_times", 10),
        ("seed", 1),
        ("precision", "float64"),
        ("block_size", 2),
    ],
)
def test_what_can_change_a_number_changes_the_name(plain, key, value):
    assert cell(change(plain, key, value)).hash != cell(plain).hash
    assert cell(plain, compile=True).hash != cell(plain).hash


def test_the_same_cell_said_otherwise_has_the_same_name(plain):
    P = cell(plain).n_params
    by_ratio = cell(change(plain, "data.n_over_p", 2.0))
    assert by_ratio.n_train == 2 * P
    assert by_ratio.hash == cell(change(plain, "data.n_train", 2 * P)).hash
    stated = change(plain, "system.g", 9.8)
    assert cell(stated).hash == cell(plain).hash
    assert make_cell(cell(plain).as_dict(), compile=False).hash == cell(plain).hash


def test_what_comes_to_the_same_thing_has_the_same_name(plain):
    kepler = change(plain, "system.name", "kepler")
    assert cell(kepler).hash == cell(change(kepler, "model.encoding", "raw")).hash
    assert cell(kepler).hash == cell(change(kepler, "rollout.horizon", 20.0)).hash
    assert cell(plain).hash != cell(change(plain, "model.encoding", "raw")).hash


@pytest.mark.parametrize(
    ("name", "key", "value", "same"),
    [
        ("acceleration_mlp", "model.mass_prior", 0.3, True),
        ("acceleration_mlp", "model.depth", 2, False),
        ("random_features", "model.mass_prior", 0.3, True),
        ("random_features", "model.depth", 2, True),
        ("random_features", "model.init", "cranmer", True),
        ("random_features", "model.beta", 3.0, False),
        ("structured_lnn", "model.mass_prior", 0.3, False),
        ("structured_lnn", "model.features", "random", True),
        ("structured_lnn", "model.scale", 0.5, True),
    ],
)
def test_a_setting_that_a_model_does_not_use_changes_nothing(plain, name, key, value, same):
    plain = change(plain, "model.name", name)
    assert (cell(plain).hash == cell(change(plain, key, value)).hash) == same


ADAMS = ("steps", "batch_size", "lr", "schedule", "clip", "loss")
OTHERS = {
    "steps": 7,
    "batch_size": 7,
    "lr": 0.7,
    "schedule": "constant",
    "clip": None,
    "loss": "absolute",
    "iterations": 7,
    "ridge": 0.7,
}


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("adam", ADAMS),
        ("levenberg_marquardt", ("iterations",)),
        ("adam_lm", (*ADAMS, "iterations")),
        ("adam_lbfgs", (*ADAMS, "iterations")),
        ("least_squares", ("ridge",)),
    ],
)
def test_settings_that_an_optimizer_does_not_use_change_nothing(plain, request, name, used):
    path = request.config.rootpath / "conf" / "optimizer" / f"{name}.yaml"
    plain["optimizer"] = yaml.safe_load(path.read_text())
    assert plain["optimizer"]["name"] == name
    if name == "least_squares":
        plain = change(plain, "model.name", "random_features")
    one = cell(plain)
    for key, value in OTHERS.items():
        other = cell(change(plain, f"optimizer.{key}", value))
        assert (other.hash != one.hash) == (key in used), key
        assert (other.factors() != one.factors()) == (key in used), key
    assert make_cell(one.as_dict(), compile=False).hash == one.hash


def test_what_has_no_part_in_single_precision_is_not_named_by_it(plain):
    second = change(plain, "optimizer.name", "levenberg_marquardt")
    second = change(second, "optimizer.iterations", 5)
    one = cell(second)
    assert one.precision == "float64"
    linear = change(
        change(second, "optimizer.name", "least_squares"), "model.name", "random_features"
    )
    assert cell(linear).hash == cell(linear, compile=True).hash, "nothing in it is compiled"
    assert one.hash == cell(change(second, "precision", "float64")).hash
    both = change(second, "optimizer.name", "adam_lm")
    assert cell(both).hash != cell(change(both, "precision", "float64")).hash


def test_what_has_no_part_in_the_data_is_not_named_by_it(plain):
    uniform = change(plain, "data.sampler", "uniform")
    assert cell(uniform).hash == cell(change(uniform, "data.n_trajectories", 3)).hash
    assert cell(plain).hash != cell(change(plain, "data.n_trajectories", 3)).hash
    second = change(plain, "optimizer.name", "levenberg_marquardt")
    second = change(second, "optimizer.iterations", 5)
    assert cell(second).hash == cell(change(second, "data.order", "sequential")).hash
    assert cell(plain).hash != cell(change(plain, "data.order", "sequential")).hash


def test_seeds_are_paired_or_crossed(plain):
    one = cell(plain)
    assert all(data == init for _, data, init in one.block_seeds(3))
    crossed = cell(change(plain, "inits_per_data", 3))
    assert crossed.hash != one.hash
    seeds = [seed for block in range(3) for seed in crossed.block_seeds(block)]
    assert [k for k, _, _ in seeds] == list(range(15))
    pairs = {(data, init) for _, data, init in seeds}
    assert pairs == {(data, init) for data in range(5) for init in range(3)}
    with pytest.raises(ConfigError, match="inits_per_data=0 is not allowed"):
        cell(change(plain, "inits_per_data", 0))


def test_replicates_have_their_own_seeds(plain):
    one = cell(plain)
    seeds = one.block_seeds(0) + one.block_seeds(1)
    assert [k for k, _, _ in seeds] == list(range(10))
    assert len({data for _, data, _ in seeds}) == 10
    other = cell(change(plain, "seed", 1))
    assert not {d for _, d, _ in seeds} & {d for _, d, _ in other.block_seeds(0)}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.beta", 0, "model.beta=0 is not allowed: it should be greater than 0"),
        ("model.beta", -1.0, "model.beta=-1.0 is not allowed"),
        ("model.beta", float("nan"), "model.beta=nan is not allowed"),
        ("model.width", "wide", "model.width=wide is not allowed: it should be a whole number"),
        ("model.width", 3.5, "model.width=3.5"),
        ("model.width", True, "model.width=True"),
        ("model.depth", 0, "model.depth=0"),
        ("model.wdith", 8, "unknown key model.wdith: did you mean width"),
        ("model.name", "lnm", "unknown model lnm: did you mean lnn?"),
        ("model.activation", "softpuls", "unknown activation softpuls: did you mean softplus?"),
        ("model.activation", "relu", "second derivative is zero"),
        ("model.encoding", "trigo", "model.encoding=trigo is not known: known are raw, trig"),
        ("model.init", "kaiming", "unknown init kaiming"),
        ("system.name", "double_pendulm", "did you mean double_pendulum?"),
        ("system.gravity", 9.8, "unknown key system.gravity"),
        ("system.g", 0.0, "system.g=0.0 give double_pendulum an energy scale of 0 J"),
        ("system.g", -9.8, "it should be positive"),
        ("system.g", "heavy", "system.g=heavy is not allowed"),
        ("data.n_train", 0, "data.n_train=0 is not allowed"),
        ("data.n_train", 20001, "data.n_train=20001 is larger than the pool"),
        ("data.n_over_p", 1e6, "larger than the pool"),
        ("data.noise", -0.1, "data.noise=-0.1"),
        ("data.sampler", "grid", "data.sampler=grid is not known"),
        ("data.n_trajectories", 30000, "data.n_trajectories=30000"),
        ("optimizer.lr", None, "optimizer.lr is not given"),
        ("optimizer.name", "adma", "optimizer.name=adma is not known: did you mean adam?"),
        ("optimizer.name", "levenberg", "did you mean levenberg_marquardt?"),
        ("optimizer.name", "adam_lm", "optimizer.iterations=0 is not allowed: adam_lm needs more"),
        ("optimizer.name", "least_squares", "and model=lnn is none: use model=linear_lagrangian"),
        ("optimizer.steps", 0, "optimizer.steps=0 is not allowed: adam needs more than 0"),
        ("optimizer.batch_size", 0, "optimizer.batch_size=0 is not allowed"),
        ("optimizer.lr", 0.0, "optimizer.lr=0.0 is not allowed"),
        ("optimizer.lr", -1e-3, "optimizer.lr=-0.001 is not allowed: it should be at least 0"),
        ("optimizer.loss", "huber", "optimizer.loss=huber is not known"),
        ("optimizer.iterations", -1, "optimizer.iterations=-1 is not allowed"),
        ("diagnostics.error_budget", "maybe", "diagnostics.error_budget=maybe is not allowed"),
        ("diagnostics.spectrum", True, "unknown key diagnostics.spectrum"),
        ("rollout.horizon", -1.0, "rollout.horizon=-1.0"),
        ("precision", "float16", "precision=float16 is not known"),
        ("model", "lnn", "model='lnn' is a config group"),
    ],
)
def test_what_cannot_be_right_is_one_sentence(plain, key, value, words):
    with pytest.raises(ConfigError) as error:
        cell(change(plain, key, value))
    sentence = str(error.value)
    assert words in sentence
    assert "\n" not in sentence


def test_the_first_line_of_an_error_is_never_missing():
    assert first_line(ValueError("\n no number\nat all")) == "no number"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert first_line(OSError("")) == "OSError"
    assert first_line("") == ""


def test_n_and_n_over_p_exclude_each_other(plain):
    both = change(change(plain, "data.n_train", 10), "data.n_over_p", 1.0)
    with pytest.raises(ConfigError, match="give one of them"):
        cell(both)


RUN = {
    "study": "mine",
    "budget": "laptop",
    "replicates": 10,
    "block_size": 5,
    "workers": 2,
    "retries": 2,
    "storage": None,
    "dry_run": False,
    "detach": False,
    "search": {
        "sampler": "tpe",
        "n_trials": 10,
        "pruner": "none",
        "objectives": ["test_nmse_median"],
        "space": {},
        "rerun": False,
    },
}


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "reference", "-x", "x\ny"])
def test_a_study_never_leaves_outputs(name):
    with pytest.raises(ConfigError, match="study="):
        make_run({**RUN, "study": name})


def test_replicates_come_in_whole_blocks():
    assert make_run(RUN).n_blocks == 2
    with pytest.raises(ConfigError, match="use replicates=5 or block_size=7"):
        make_run({**RUN, "replicates": 7})
    with pytest.raises(ConfigError, match="workers=0"):
        make_run({**RUN, "workers": 0})


def test_replicates_are_a_whole_number():
    with pytest.raises(ConfigError, match=r"replicates=auto is not allowed: .* a whole number"):
        make_run({**RUN, "replicates": "auto"})
    with pytest.raises(ConfigError, match=r"replicates=2.5 .*whole number"):
        make_run({**RUN, "replicates": 2.5})


def test_settings_are_frozen(plain):
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell(plain).seed = 3


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_device("cpu")
    with pytest.raises(ConfigError, match="device=cuda"):
        check_device("cuda")


def test_validation_holds_out_points_and_makes_another_cell(plain):
    every, fewer = cell(plain), cell(change(plain, "optimizer.validation", 0.2))
    assert (every.n_validation, fewer.n_validation) == (0, round(0.2 * every.n_train))
    assert fewer.n_train == every.n_train
    assert fewer.hash != every.hash
    assert every.hash == cell(change(plain, "optimizer.validation", 0.0)).hash
    assert "optimizer.validation" not in every.factors()
    assert fewer.factors()["optimizer.validation"] == 0.2


def test_a_cell_has_every_factor(plain, request):
    of_files = {"system.file", "data.file", "data.estimate", "data.held_out"}
    # of those who ask for them, too
    of_files |= {"optimizer.validation", "optimizer.rollout_steps", "data.position_noise"}
    of_files |= {"optimizer.rollout_stride", "optimizer.warm_steps"}
    of_files |= {"model.friction", "data.inputs"}
    of_linear = {"model.features", "model.scale", "optimizer.ridge"}
    columns = list(cell(plain).factors())
    usual = [key for key in FACTORS if key not in of_files | of_linear]
    assert columns[: -len(DERIVED) - 1] == usual
    path = request.config.rootpath / "conf"
    for group, name in {"model": "linear_lagrangian", "optimizer": "least_squares"}.items():
        plain[group] = yaml.safe_load((path / group / f"{name}.yaml").read_text())
    assert of_linear < cell(plain).factors().keys()
    assert columns[-len(DERIVED) :] == list(DERIVED)


def changed(plain, changes):
    for key, value in changes.items():
        plain = change(plain, key, value)
    return plain


def test_a_loss_through_the_integrator_makes_another_cell(plain):
    usual = cell(plain)
    assert cell(change(plain, "optimizer.rollout_steps", 7)).hash == usual.hash  # not used
    through = change(plain, "optimizer.loss", "rollout")
    hashes = {cell(change(through, "optimizer.rollout_steps", k)).hash for k in (7, 20)}
    assert len(hashes | {usual.hash}) == 3
    assert "optimizer.rollout_steps" not in usual.factors()
    assert cell(through).factors()["optimizer.rollout_steps"] == 20
    strided = change(through, "optimizer.rollout_stride", 2)
    assert cell(strided).optimizer.followed == 40
    assert cell(strided).factors()["optimizer.rollout_stride"] == 2
    assert cell(change(through, "optimizer.rollout_stride", 1)).hash == cell(through).hash
    assert "optimizer.rollout_stride" not in cell(through).factors()
    warm = change(through, "optimizer.warm_steps", 50)
    assert cell(warm).hash != cell(through).hash
    assert cell(warm).factors()["optimizer.warm_steps"] == 50
    assert cell(change(plain, "optimizer.warm_steps", 50)).hash == usual.hash  # not used


NOISY = {"data.position_noise": 1e-2, "data.sampling_rate": 30.0, "data.n_trajectories": 2}


def test_all_points_and_a_window_by_itself_are_numbers_in_a_cell(plain):
    made = cell(changed(plain, NOISY | {"data.window": "auto", "data.n_train": "all"}))
    window = made.data.window
    assert window in WINDOWS
    assert made.n_train == 2 * (301 - 2 * (window // 2))
    alike = cell(changed(plain, NOISY | {"data.window": window, "data.n_train": made.n_train}))
    assert alike.hash == made.hash
    less = {"data.window": "auto", "data.n_train": "all", "data.position_noise": 1e-4}
    less = cell(changed(plain, NOISY | less))
    assert less.data.window < window  # less noise is smoothed over fewer points
    through = NOISY | {"optimizer.loss": "rollout", "data.n_train": "all", "data.window": window}
    assert cell(changed(plain, through)).n_train == made.n_train - 2 * 20


@pytest.fixture
def weak(plain, request):
    path = request.config.rootpath / "conf"
    for group, name in {"model": "linear_lagrangian", "optimizer": "least_squares"}.items():
        plain[group] = yaml.safe_load((path / group / f"{name}.yaml").read_text())
    return changed(plain, NOISY | {"data.n_train": 100, "optimizer.loss": "weak"})


def test_the_weak_form_takes_every_sample_and_chooses_all_else(weak):
    made = cell(weak)
    assert made.factors()["optimizer.loss"] == "weak"
    assert made.n_train == 2 * (301 - 10)
    chosen = {"data.n_train": 50, "model.width": 7, "model.scale": 0.3, "model.mass_prior": 2.0}
    assert cell(changed(weak, chosen | {"optimizer.ridge": 0.0})).hash == made.hash
    assert cell(change(weak, "optimizer.loss", "squared")).hash != made.hash
    assert make_cell(made.as_dict(), compile=False).hash == made.hash


WEAK = {  # what is asked for -> what the sentence holds
    "of a network": (
        {"optimizer.name": "adam", "optimizer.steps": 9, "optimizer.batch_size": 9,
         "optimizer.lr": 1e-3},
        ["optimizer.loss=weak", "optimizer=least_squares", "optimizer.loss=rollout"],
    ),
    "of no Lagrangian": (
        {"model.name": "random_features", "model.width": 9},
        ["optimizer.loss=weak", "model=random_features", "model=linear_lagrangian"],
    ),
    "along no trajectory": (
        {"data.sampler": "uniform", "data.position_noise": 0.0, "data.sampling_rate": None},
        ["optimizer.loss=weak", "data.sampler=uniform", "data=trajectories"],
    ),
    "with noise that it does not see": (
        {"data.noise": 0.1},
        ["data.noise=0.1", "optimizer.loss=weak", "data.position_noise"],
    ),
    "of a few samples": (
        {"data.sampling_rate": 2.0},
        ["optimizer.loss=weak needs a trajectory of 28 samples", "21"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WEAK)
def test_what_the_weak_form_cannot_use_is_refused(weak, case):
    changes, words = WEAK[case]
    with pytest.raises(ConfigError) as error:
        cell(changed(weak, changes))
    for word in words:
        assert word in str(error.value)


def test_noise_of_positions_makes_another_cell_and_a_rate_is_a_number_of_points(plain):
    usual = cell(plain)
    assert cell(change(plain, "data.window", 31)).hash == usual.hash  # nothing is estimated
    noisy = change(plain, "data.position_noise", 1e-3)
    hashes = {cell(change(noisy, "data.window", window)).hash for window in (11, 31)}
    assert len(hashes | {usual.hash}) == 3
    assert "data.position_noise" not in usual.factors()
    assert cell(noisy).factors()["data.position_noise"] == 1e-3
    assert cell(noisy).factors()["data.estimate"] == "savgol, window 11"
    sampled = {"data.sampling_rate": 100.0, "data.n_trajectories": 10}  # over ten seconds
    by_rate = cell(changed(plain, sampled))
    assert by_rate.data.pool_size == 10_010
    counted = {"data.pool_size": 10_010, "data.n_trajectories": 10}
    assert by_rate.hash == cell(changed(plain, counted)).hash


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer.loss": "rollout"},
        {"optimizer.loss": "rollout", "optimizer.rollout_steps": 5},
        {"data.position_noise": 1e-3},
        {"data.position_noise": 1e-3, "data.window": 31, "optimizer.loss": "rollout"},
        {"data.sampling_rate": 30.0},
        {"optimizer.loss": "rollout", "optimizer.rollout_steps": 5, "optimizer.rollout_stride": 3},
    ],
)
def test_a_cell_of_samples_keeps_its_hash_when_it_is_read_back(plain, changes):
    made = cell(changed(plain, changes))
    again = make_cell(made.as_dict(), compile=False)
    assert (again.data, again.optimizer) == (made.data, made.optimizer)
    assert again.hash == made.hash


SAMPLES = {  # what is asked for -> what the sentence holds
    "of a linear model": (
        {"model.name": "random_features", "optimizer.loss": "rollout"},
        ["optimizer.loss=rollout", "model=random_features", "structured_lnn"],
    ),
    "by a method that fits accelerations": (
        {"optimizer.name": "adam_lm", "optimizer.iterations": 9, "optimizer.loss": "rollout"},
        ["optimizer.loss=rollout", "adam_lm", "optimizer=adam or soap"],
    ),
    "along no trajectory": (
        {"data.sampler": "uniform", "optimizer.loss": "rollout"},
        ["data.sampler=uniform", "data=trajectories"],
    ),
    "with noise that it does not see": (
        {"data.noise": 0.1, "optimizer.loss": "rollout"},
        ["data.noise=0.1", "data.position_noise"],
    ),
    "over a straight line": (
        {"optimizer.rollout_steps": 2, "optimizer.loss": "rollout", "data.position_noise": 0.01},
        ["optimizer.rollout_steps=2", "data.position_noise=0.01", "at least 3"],
    ),
    "over more samples than there are": (
        {"optimizer.rollout_steps": 200, "optimizer.loss": "rollout"},
        ["data.n_train=4096", "the 0 points that 200 samples follow", "data.sampling_rate"],
    ),
    "noise where nothing is sampled": (
        {"data.sampler": "uniform", "data.position_noise": 0.01},
        ["data.position_noise=0.01", "data.sampler=uniform", "data=trajectories"],
    ),
    "trajectories of unequal numbers": (
        {"data.pool_size": 20_001, "data.position_noise": 0.01},
        ["data.pool_size=20001", "data.n_trajectories=100", "multiple"],
    ),
    "an even window": (
        {"data.window": 10, "data.position_noise": 0.01},
        ["data.window=10", "odd and at least 7"],
    ),
    "a window as long as the trajectories": (
        {"data.window": 201, "data.position_noise": 0.01},
        ["data.n_train=4096", "the 0 points of 100 trajectories of 200 samples"],
    ),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_samples_that_cannot_be_followed_are_refused(plain, case):
    changes, words = SAMPLES[case]
    with pytest.raises(ConfigError) as error:
        cell(changed(plain, changes))
    for word in words:
        assert word in str(error.value)
