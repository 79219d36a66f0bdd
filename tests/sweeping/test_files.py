"""Configs of cells: written key by key, and read as YAML whatever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study.sweeping.cell_config import read_config, write_config
from study.sweeping.folder import StudyError

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
CONFIGS = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.recursive(
        VALUES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=5,
)


@given(CONFIGS)
def test_a_config_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, config: dict
) -> None:
    path = tmp_path_factory.mktemp("cell") / "cell" / "config.yaml"
    write_config(path, config)
    assert read_config(path) == config == yaml.safe_load(path.read_text())
    before = path.stat().st_mtime_ns, path.stat().st_ino
    write_config(path, config)
    assert before == (path.stat().st_mtime_ns, path.stat().st_ino), "it is as it should be"
    assert [each.name for each in path.parent.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "# by hand\n---\nmodel:\n  width: 8  # units\n\nseed: 0\n",
        "model: {width: 8,\ndepth: 2}\nseed: 0\n",
        "model: &wide\n  width: 8\nother: *wide\n",
        "names:\n- a\n- b\ntext: |\n  seed: 1\nseed: 0\n",
        '"model": {width: 8}\nmodel_: 1\n',
    ],
)
def test_a_config_that_something_else_wrote_is_read_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert read_config(path) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["", "a", "- a\n- b\n", "model:\n  width: 8\nsee", "a: [1, 2\n"])
def test_a_torn_config_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=r"config\.yaml (cannot be read|is not a mapping)"):
        read_config(path)
