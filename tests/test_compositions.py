"""A command line is composed once for each combination of groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from study.config.command_line import compose
from study.config.hydra import register
from tests.sweeping.commands import HERE, TINY, last_given, run_here


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The overrides of each composition so far."""
    monkeypatch.chdir(tmp_path)
    counted: list[list[str]] = []
    load = ConfigLoaderImpl._load_configuration_impl

    def counting(self: Any, config_name: Any, overrides: list[str], *args: Any, **more: Any) -> Any:
        counted.append(overrides)
        return load(self, config_name, overrides, *args, **more)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counting)
    return counted


@pytest.mark.parametrize(
    ("typed", "combinations"),
    [
        ((), 1),
        (("model.width=4,8", "data.n_train=range(30,33)"), 1),
        (("model=lnn,structured_lnn",), 2),
        (("system=kepler,oscillator", "optimizer=adam,adam_lm"), 4),
        (("optimizer.lr=interval(1e-4,1e-2)",), 1),
        (("+grid.smoke=[{model:[lnn,structured_lnn]},{model.width:8}]",), 2),
    ],
)
def test_a_sweep_composes_once_for_each_combination_of_groups(
    typed: tuple[str, ...], combinations: int, compositions: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, *TINY, *HERE, "dry_run=true", *typed) == 0
    assert len(compositions) == combinations


def test_a_trial_composes_once(compositions: list) -> None:
    register()
    compose(last_given([*TINY, "model.width=8"]))
    assert len(compositions) == 1
