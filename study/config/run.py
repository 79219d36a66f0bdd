"""What a user may say around the cells: how many replicates, by which workers, what is searched."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from study.config.errors import ConfigError, build, refuse_passwords
from study.config.schema import STRICT, Count, Index, Name, Positive, mapping


@dataclass(frozen=True, config=STRICT)
class SearchConfig:
    """How searched keys are searched."""

    sampler: Literal["tpe", "random", "qmc", "nsga2", "nsga3", "gp", "cmaes"]
    n_trials: Annotated[Count, "of each search, pruned and failed ones too"]
    pruner: Annotated[
        Literal["none", "median", "successive_halving"],
        "none, median, successive_halving: end hopeless trials early",
    ]
    objectives: Annotated[
        list[Name], Field(min_length=1), "measures to minimise; several make a front"
    ]
    space: Annotated[dict[str, Any], "key -> what it may be, as on the command line"]
    rerun: Annotated[bool, "whether the best of each search is trained again with all replicates"]
    seed: Annotated[Index, "of the sampler: another searches the same cells in another way"] = 0
    sampler_options: Annotated[dict[str, Any], "arguments of Optuna's sampler"] = dataclasses.field(
        default_factory=dict
    )
    enqueue: Annotated[
        list[dict[str, Any]], "settings of the first trials, each some of the searched keys"
    ] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if (n := len(self.objectives)) == 1:
            return
        of_front = f"a search with {n} objectives"
        if self.sampler == "cmaes":
            raise ConfigError(
                f"search.sampler=cmaes: {of_front} needs another sampler: use search=tpe or nsga3"
            )
        if self.pruner != "none":
            raise ConfigError(
                f"search.pruner={self.pruner}: {of_front} cannot prune: use search.pruner=none"
            )
        if self.rerun:
            raise ConfigError(f"search.rerun=true: {of_front} has no best cell: use one objective")


@dataclass(frozen=True, config=STRICT)
class Run:
    """What surrounds the cells: how many replicates, by how many workers, where recorded."""

    study: Annotated[str, "the folder <outputs>/<study>/"]
    budget: Name
    replicates: Annotated[Count, "of each cell, each with a data seed and an initialisation seed"]
    block_size: Count
    workers: Annotated[Count, "one torch thread each"]
    retries: Annotated[Index, "how often a failed block is tried again"]
    time_limit: Annotated[
        Positive | None,
        "seconds a block may take; null: 50 times its estimated cost, half an hour at least",
    ]
    storage: Annotated[str | None, "null: a journal in the study's folder; or a database's URL"]
    dry_run: Annotated[bool, "print the plan and its cost, and train nothing"]
    detach: Annotated[
        bool, "return when a cluster's jobs are submitted; the same command looks in again"
    ]
    search: SearchConfig
    outputs: Annotated[Name, "the folder of all studies"] = "outputs"
    keep_earlier: Annotated[
        bool, "whether cells of the study's earlier commands stay in its tables and answers"
    ] = True
    tracker: Annotated[
        Literal["none", "csv", "tensorboard", "mlflow", "wandb"],
        "who else is told: of the settings, each finished block, the answers",
    ] = "none"

    def __post_init__(self) -> None:
        if self.outputs.startswith("~"):
            raise ConfigError(f"outputs={self.outputs}: write the folder out, from the root")
        check_study(self.study, self.outputs)
        refuse_passwords({"storage": self.storage})
        if self.replicates % self.block_size:
            fewer = max(1, self.replicates // self.block_size) * self.block_size
            raise ConfigError(
                f"replicates={self.replicates} is not a multiple of block_size={self.block_size}: "
                f"use replicates={fewer} or block_size={self.replicates}"
            )

    @property
    def n_blocks(self) -> int:
        """Blocks of each cell."""
        return self.replicates // self.block_size


def check_study(name: str, outputs: str = "outputs") -> None:
    """Refuse a name that is no folder of its own in `outputs`. **Raises:** `ConfigError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(
            f"study={name!r} is not a folder name under outputs/: "
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    if name == "reference":
        raise ConfigError(
            "study=reference is kept for the committed reference tables: choose another name"
        )
    if (path := Path(outputs) / name).is_symlink():
        raise ConfigError(
            f"study={name}: {path} is a link to {path.readlink()}, and a study is a folder of "
            "its own: make outputs/ the link, or choose another name"
        )


def make_run(plain: Mapping[str, Any]) -> Run:
    """The checked settings around the cells. **Raises:** `ConfigError`."""
    names = [f.name for f in dataclasses.fields(Run)]
    later = ("outputs", "keep_earlier", "tracker")  # than some configs, which lack them
    settings = {name: plain.get(name) for name in names if name in plain or name not in later}
    settings["search"] = build(SearchConfig, mapping("search", plain.get("search")), "search.")
    return build(Run, settings, "")
