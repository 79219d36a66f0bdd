"""What an earlier command trained stays in the study, and no network is counted twice."""

import dataclasses

from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.sweeping.folder import StudyFolder, write_yaml
from study.sweeping.orders import _earlier_cells


def test_the_same_networks_in_other_blocks_replace_the_earlier_ones(tmp_path):
    register()
    first, other = (
        make_cell(compose(["budget=smoke", f"data.n_train={n}"]), compile=False) for n in (64, 128)
    )
    folder = StudyFolder(tmp_path)
    for cell in (first, other):
        block = folder.cell(cell.hash) / "block-000"
        block.mkdir(parents=True)
        (block / "replicates.parquet").touch()
        write_yaml(folder.cell(cell.hash) / "config.yaml", cell.as_dict())
    before = {"budget": "smoke", "cells": [first.hash, other.hash]}
    assert _earlier_cells(folder, before, "smoke", [first]) == [other.hash]
    again = dataclasses.replace(first, block_size=1)
    assert again.hash != first.hash
    assert _earlier_cells(folder, before, "smoke", [again]) == [other.hash]
    assert _earlier_cells(folder, before, "laptop", [first]) == []
