"""The law of valid times that was put in is found, in seconds and in Lyapunov times."""

import matplotlib as mpl
import numpy as np

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions import valid_times
from tests.analysis import synthetic
from tests.analysis.synthetic import Law


def table(lyapunov, slope=1.5):
    settings = synthetic.product(model=["lnn", "structured_lnn"], data__n_train=[64, 256, 1024])
    rows = synthetic.rows(settings, Law(slope=1.0, scatter=0.3))
    eps = np.sqrt(rows["test_nmse_median"].to_numpy(float))
    jitter = np.random.default_rng(0).normal(0, 0.05, len(rows))
    times = 2 + slope * np.log(1 / eps) + jitter
    return rows.assign(valid_time=times, lyapunov=lyapunov, **{"rollout.horizon": 100.0})


def answer(rows):
    (found,) = valid_times.QUESTION.answers(Tables(rows))
    return found


def test_an_e_fold_buys_one_lyapunov_time_where_errors_grow_exponentially():
    found = answer(table(lyapunov=1 / 1.5))
    assert found.verdict == "yes"
    assert found.interval[0] <= 1.0 <= found.interval[1]
    assert "ten times the accuracy buys 3.5 s" in found.sentence


def test_it_buys_more_where_they_do_not():
    assert answer(table(lyapunov=1 / 1.5, slope=6.0)).verdict == "no"


def test_what_is_at_the_cap_is_left_out():
    rows = table(lyapunov=1 / 1.5)
    accurate = rows["data.n_train"] == 1024
    rows.loc[accurate, "valid_time"] = 100.0
    rows.loc[~accurate, "valid_time"] = rows.loc[~accurate, "valid_time"] * 2.0
    assert list(valid_times.QUESTION.answers(Tables(rows))) == []  # four cells are no line
    with mpl.rc_context(style.RC):
        (plot,) = valid_times.QUESTION.plots(Tables(table(lyapunov=1 / 1.5)))
    assert len(plot.data) == 30
