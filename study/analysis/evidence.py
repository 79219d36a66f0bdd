"""The answers of several studies to one question, and the rules that make one verdict of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Verdict
from study.analysis.statistics import peaks
from study.analysis.statistics.limits import CONVERGED, Turn
from study.analysis.statistics.medians import LEVEL, Estimate
from study.analysis.statistics.peaks import TEST_LEVEL
from study.analysis.statistics.pooling import Pool, averaged, holm, opposed
from study.analysis.statistics.pooling import pool as random_effects
from study.analysis.words import count, estimate, name_of, number, plural

DEPENDS = "depends"  # yes on some systems or in some settings, no on others: an answer of its own
OWN = 3361  # P of the question's network: the answer nearest to it comes first


@dataclass(frozen=True)
class Study:
    """One study's tables and answers; `name` is that of its folder."""

    name: str
    rows: pd.DataFrame
    curves: pd.DataFrame
    answers: list[Answer]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One answer of one study with the rows of its cells."""

    study: str
    answer: Answer
    rows: pd.DataFrame

    @property
    def noisy(self) -> bool:
        return bool((self.rows["data.noise"] > 0).any())

    @property
    def plain(self) -> bool:
        """Whether it is about plain Lagrangian networks and nothing else."""
        return set(self.rows["model"]) == {"lnn"}

    @property
    def setting(self) -> tuple[str, str, float]:
        """System, constants and horizon of its first cell."""
        first = self.rows.iloc[0]
        constants = str(first["system.constants"])
        return str(first["system"]), constants, float(first["rollout.horizon"])

    @property
    def where(self) -> str:
        """The study and, in brackets, what sets the answer apart: model, size, optimiser, noise."""
        parts = [name_of(m) for m in sorted(set(self.rows["model"])) if m != "lnn"]
        sizes, points = (set(self.rows[name].tolist()) for name in ("n_params", "data.n_train"))
        if len(sizes) == 1:
            parts.append(f"P = {count(*sizes)}")
        elif len(points) == 1:
            parts.append(f"N = {count(*points)}")
        optimisers = sorted(set(self.rows["optimizer"]))
        parts += [name_of(optimisers[0])] if len(optimisers) == 1 else []
        noises = sorted(set(self.rows["data.noise"]))
        parts += [f"noise {noises[0]:g}"] if len(noises) == 1 and noises[0] > 0 else []
        return f"{self.study} ({', '.join(parts)})" if parts else self.study

    @property
    def distance(self) -> float:
        """How far the nearest of its P is from that of the question's network, in logarithms."""
        return float(np.abs(np.log(self.rows["n_params"].to_numpy(float) / OWN)).min())


Rule = Callable[[Sequence[Evidence]], str]


@dataclass(frozen=True)
class Pooled(Verdict):
    """One verdict on one question of several studies.

    - `value`, `interval`: of the mean over systems, if there is one, else of the first answer, as
      `figure` and `study` are.
    - `n_cells`, `n_replicates`, `converged`: of all answers.
    - `rule`: how the verdict was made, in words; `evidence`: the answers, in order of weight.
    - `primary`: one of the claims that the studies were made for; `p_adjusted`: for their number.
    - `by_system`: the ratio of each system with its interval, if the verdict is on their mean.
    """

    study: str = ""
    figure: str = ""
    rule: str = ""
    evidence: tuple[Evidence, ...] = ()
    primary: bool = False
    p_adjusted: float = math.nan
    by_system: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


def main_setting(evidence: Sequence[Evidence]) -> tuple[str, str, float] | None:
    """The system, constants and horizon that most studies share."""
    pairs = {(e.study, e.setting) for e in evidence}
    counts = Counter(setting for _, setting in sorted(pairs))
    return counts.most_common(1)[0][0] if counts else None


def unanimous(evidence: Sequence[Evidence]) -> str:
    """Yes if some answers are yes and none is no; no the other way round; else it depends."""
    return agreed(e.answer.verdict for e in evidence)


def agreed(verdicts: Iterable[str]) -> str:
    """The one verdict of those that are decided; 'depends' if there are two."""
    decided = {*verdicts} - {"undecided"}
    if len(decided) > 1:
        return DEPENDS
    return decided.pop() if decided else "undecided"


def first(evidence: Sequence[Evidence]) -> str:
    """The verdict of the first answer."""
    return evidence[0].answer.verdict


def beyond_chance(evidence: Sequence[Evidence]) -> str:
    """Yes if more curves peak than the test's false alarms explain; no if all answers are no."""
    return peaks.beyond_chance([e.answer.verdict for e in evidence])


RULES: dict[Rule, str] = {
    unanimous: "Yes where some of the answers below say yes and none says no; no the other way "
    "round; it depends where they differ, and is undecided where none decides.",
    first: "The verdict of the first of the answers below.",
    beyond_chance: "Yes where more curves peak than the test's level of "
    f"{100 * (1 - TEST_LEVEL):.0f} % lets by; no where every curve says no; else undecided.",
}


@dataclass(frozen=True)
class PooledQuestion:
    """One entry of the registry in `across`.

    - `asks`: beginnings of the ids of the answers that count, the weightiest first.
    - `studies`: whose answers count, the weightiest first; if none of them is there, all count.
    - `keep`: which of the answers count; `anywhere`: whether those on another system than most
      studies' do.
    - `turn`: where the verdict on the mean over systems turns, if the answers are ratios; it stands
      instead of `rule`, and answers on any system count.
    - `pooled`: makes a verdict that no rule on single answers makes, instead of `rule`.
    """

    id: str
    text: str
    asks: tuple[str, ...]
    studies: tuple[str, ...]
    rule: Rule = unanimous
    keep: Callable[[Evidence], bool] = lambda evidence: True
    anywhere: bool = False
    turn: Turn | None = None
    pooled: Callable[[PooledQuestion, list[Evidence], Sequence[Study]], Pooled | None] | None = None


def by_rule(question: PooledQuestion, evidence: Sequence[Evidence]) -> Pooled:
    """The verdict of the question's rule on answers in order of weight.

    The first answer that agrees speaks, or the first of all if they differ.
    """
    verdict = question.rule(evidence)
    split = differing(evidence, verdict)
    speaker = next((e for e in evidence if e.answer.verdict == verdict and not split), evidence[0])
    order = [speaker, *(e for e in evidence if e is not speaker)]
    made = pool(question, order, verdict, split + speaker.answer.sentence, RULES[question.rule])
    return replace(made, p=_p_of(evidence, verdict))


def _p_of(evidence: Sequence[Evidence], verdict: str) -> float:
    """That of a yes which the surest of several answers gives, or of a no which all of them give;
    NaN if they have none."""
    p = [e.answer.p for e in evidence if e.answer.verdict == verdict]
    known = [each for each in p if not math.isnan(each)]
    if not known or verdict == "undecided" or (verdict == "no" and len(known) < len(p)):
        return math.nan
    return min(1.0, min(known) * len(evidence)) if verdict == "yes" else max(p)


MEAN_OVER_SYSTEMS = (
    "By the mean of the ratios below over systems, in logarithms, each system with an effect of "
    "its own (random effects); the ratios of one system are averaged first. Where the mean is "
    "undecided, it depends if it is surely yes on one system and surely no on another, corrected "
    "for their number."
)


def mean_over_systems(question: PooledQuestion, turn: Turn, evidence: Sequence[Evidence]) -> Pooled:
    """The verdict on the random-effects mean of the answers, whose values are ratios."""
    units: dict[str, list[Evidence]] = {}
    for one in evidence:
        value = one.answer.deciding
        if value.enough and 0 < value.low < value.high < math.inf:
            units.setdefault(one.setting[0], []).append(one)
    means = {
        system: averaged([e.answer.deciding for e in own]) for system, own in sorted(units.items())
    }
    mean = random_effects(list(means.values()))
    if mean is None:
        return by_rule(question, evidence)
    value = mean.estimate()
    verdict, p = turn.verdict(value), mean.p(turn)
    if verdict == "undecided" and (both := opposed(list(means.values()), turn)) <= 1 - LEVEL:
        verdict, p = DEPENDS, both
    speaker = next((e for e in evidence if e.answer.verdict == verdict), evidence[0])
    order = [speaker, *(e for e in evidence if e is not speaker)]
    sentence = _mean_in_words(mean, means, turn, sum(map(len, units.values())))
    made = pool(question, order, verdict, sentence + speaker.answer.sentence, MEAN_OVER_SYSTEMS)
    by_system = {system: (e.value, e.low, e.high) for system, e in means.items()}
    about = {"value": value.value, "interval": (value.low, value.high), "by_system": by_system}
    return replace(made, **about, p=p)


def _mean_in_words(mean: Pool, means: Mapping[str, Estimate], turn: Turn, n_answers: int) -> str:
    value = estimate(mean.estimate())
    if mean.n > 1:
        alone = {system: turn.verdict(each) for system, each in means.items()}
        split = (
            f"{verdict} on {', '.join(s.replace('_', ' ') for s in alone if alone[s] == verdict)}"
            for verdict in ("yes", "no", "undecided")
            if verdict in alone.values()
        )
        return (
            f"Over {plural(mean.n, 'system')} the mean ratio is {value}; systems differ by a "
            f"factor of {number(math.exp(mean.spread))} (one standard deviation). By itself: "
            f"{'; '.join(split)}. On one of them: "
        )
    if n_answers > 1:
        return f"On one system the mean of {n_answers} ratios is {value}. One of them: "
    return "On one system: "


def corrected(pooled: Sequence[Pooled], primary: Sequence[str]) -> list[Pooled]:
    """The verdicts, those on the primary claims corrected for their number (Holm).

    A claim that rests on runs of which fewer than a share `CONVERGED` have converged is not
    primary, and one that does not survive the correction is undecided. All that were named count,
    whatever became of them, for their number must not follow from the data.
    """
    sure = {one.id: one.p for one in pooled if one.id in primary and one.converged >= CONVERGED}
    if not sure:
        return list(pooled)
    adjusted = dict(zip(primary, holm([sure.get(id, math.nan) for id in primary]), strict=True))
    return [
        _corrected(one, adjusted[one.id], len(primary)) if one.id in sure else one for one in pooled
    ]


def _corrected(one: Pooled, p: float, number_of_claims: int) -> Pooled:
    one = replace(one, primary=True, p_adjusted=p)
    if one.verdict == "undecided" or p <= 1 - LEVEL:
        return one
    sentence = (
        f" By itself this would be a {one.verdict}; among {plural(number_of_claims, 'claim')} it "
        f"may be chance (p = {number(p)}, Holm)."
    )
    return replace(one, verdict="undecided", sentence=one.sentence + sentence)


def pool(
    question: PooledQuestion, evidence: Sequence[Evidence], verdict: str, sentence: str, rule: str
) -> Pooled:
    """A verdict from several answers, of which the first gives value and figure."""
    rows = pd.concat([e.rows for e in evidence]).drop_duplicates(["study", "cell", "replicate"])
    answer = evidence[0].answer
    return Pooled(
        question.id,
        question.text,
        verdict,
        sentence + _split(evidence),
        answer.value,
        answer.interval,
        n_cells=len(rows[["study", "cell"]].drop_duplicates()),
        n_replicates=len(rows),
        converged=float(rows["converged"].to_numpy(bool).mean()),
        study=evidence[0].study,
        figure=answer.figure,
        rule=rule,
        evidence=tuple(evidence),
    )


def absent(question: PooledQuestion, present: Sequence[str]) -> Pooled:
    """The verdict if no study answers; `present` are the studies that are there."""
    gone = [name for name in question.studies if name not in present]
    reason = f"missing: {', '.join(gone)}" if gone else f"{', '.join(question.studies)} cannot tell"
    sentence, unknown = f"Not measured here ({reason}).", (np.nan, np.nan)
    return Pooled(question.id, question.text, "undecided", sentence, np.nan, unknown, 0, 0, np.nan)


def differing(evidence: Sequence[Evidence], verdict: str) -> str:
    """The answers that say yes and those that say no, if the verdict is none of both."""

    def some(wanted: str, most: int = 4) -> str:
        names = list(dict.fromkeys(e.where for e in evidence if e.answer.verdict == wanted))
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return "; ".join(names[:most]) + more

    yes, no = some("yes"), some("no")
    if verdict not in ("undecided", DEPENDS) or not (yes and no):
        return ""
    return f"It depends. Yes: {yes}. No: {no}. The first of them: "


def _split(evidence: Sequence[Evidence]) -> str:
    """The number of answers of each verdict, if there are several answers."""
    if len(evidence) < 2:
        return ""
    counts = Counter(e.answer.verdict for e in evidence)
    split = ", ".join(f"{counts[v]} {v}" for v in ("yes", "no", "undecided") if counts[v])
    names = ", ".join(dict.fromkeys(e.study for e in evidence))
    return f" Of {plural(len(evidence), 'answer')} in {names}: {split}."
