"""Figures for readers who do not tell red from green, or see no colour at all.

Measured by another library: dichromats simulated after Machado, Oliveira and Fernandes (2009),
IEEE TVCG 15(6), differences by CIEDE2000.
"""

from __future__ import annotations

import itertools
import re
import warnings

import numpy as np
import pytest

# it tells what of it is not installed, and has numpy print in its own way
with warnings.catch_warnings(), np.printoptions():
    warnings.simplefilter("ignore")
    import colour

from matplotlib.colors import to_hex

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions import comparisons
from study.page import page
from tests.analysis import synthetic

APART = 10.0  # CIEDE2000 between any two colours; 2.3 is just noticeable side by side
READABLE = 4.5  # WCAG 2.2, 1.4.3: contrast of text
VISION = ("normal", "Protanomaly", "Deuteranomaly")


def linear(colours: list[str]) -> np.ndarray:
    """Linear sRGB of #rrggbb, (n, 3)."""
    coded = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    return colour.models.eotf_sRGB(coded)


def seen(colours: list[str], vision: str) -> np.ndarray:
    """CIE L*a*b* of what such a reader sees, (n, 3)."""
    rgb = linear(colours)
    if vision != "normal":
        rgb = np.clip(rgb @ colour.blindness.matrix_cvd_Machado2009(vision, 1.0).T, 0, 1)
    return colour.XYZ_to_Lab(colour.RGB_to_XYZ(rgb, "sRGB", apply_cctf_decoding=False))


def nearest(colours: list[str], vision: str) -> float:
    """The smallest difference of any two."""
    lab = seen(colours, vision)
    pairs = itertools.combinations(range(len(colours)), 2)
    return min(float(colour.delta_E(lab[i], lab[j], method="CIE 2000")) for i, j in pairs)


@pytest.mark.parametrize("vision", VISION)
def test_colours_of_lines_are_told_apart(vision):
    assert nearest(style.COLOURS, vision) > APART


def test_the_measure_knows_a_bad_palette():
    """Red and green of one lightness: far apart for most readers, not for a deuteranope."""
    bad = ["#c04040", "#7a7a20"]
    assert nearest(bad, "normal") > 3 * APART
    assert nearest(bad, "Deuteranomaly") < APART


@pytest.mark.parametrize("total", [2, 7, 12])
def test_lines_are_told_apart_without_colour(total):
    looks = [style.look(k, total) for k in range(total)]
    assert len({each["marker"] for each in looks}) == total
    assert len({tuple(np.atleast_1d(each["color"])) for each in looks}) == total


def test_text_of_the_page_is_readable():
    css = (page.HERE / "page.css").read_text()
    root = re.search(r":root \{(.*?)\}", css, re.DOTALL)
    assert root
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", root[1]))
    names = ["ink", "quiet", "yes", "no", "open", "learned"]
    luminance = linear([found[name] for name in names]) @ [0.2126, 0.7152, 0.0722]
    assert (1.05 / (luminance + 0.05)).min() > READABLE


def test_numbers_in_a_heat_map_are_readable():
    settings = synthetic.product(
        model__activation=["softplus", "tanh", "gelu"], model__beta=[0.5, 1.0, 2.0, 4.0]
    )
    plots = comparisons.QUESTION.plots(Tables(synthetic.rows(settings, synthetic.Law())))
    axis = next(plot for plot in plots if plot.id == "activation_beta").figure.axes[0]
    grounds = [to_hex(c) for c in axis.collections[0].get_facecolors()]
    assert len(axis.texts) == len(grounds) == 12
    ink = linear([to_hex(text.get_color()) for text in axis.texts])
    light = np.stack([ink, linear(grounds)]) @ [0.2126, 0.7152, 0.0722] + 0.05
    assert (light.max(axis=0) / light.min(axis=0)).min() > READABLE
