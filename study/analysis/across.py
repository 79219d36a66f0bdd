"""The question, across studies: one verdict for everything that it asks.

Knows: what is asked, which answers of which studies bear on it, and by which rule they are pooled.
Does not know: how a study finds its answers, pages.

To ask something more is one entry of `QUESTIONS`.
"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from study.analysis import evidence as ev
from study.analysis.evidence import Evidence, Pooled, Rule, Study
from study.analysis.questions.bottleneck import error_propagation, network_bottleneck

Keep = Callable[[Evidence], bool]


@dataclass(frozen=True)
class Question:
    """One entry of the registry.

    - `asks`: beginnings of the ids of the answers that bear on it, the weightiest first.
    - `studies`: whose answers count, the weightiest first; where none of these is there, all.
    - `keep`: which of them count; `anywhere`: also those on another system than most studies'.
    - `pooled`: for a verdict that no rule on single answers makes, in place of `rule`.
    """

    id: str
    text: str
    asks: tuple[str, ...]
    studies: tuple[str, ...]
    rule: Rule = ev.unanimous
    keep: Keep = field(default=lambda each: True)
    anywhere: bool = False
    pooled: Callable[[str, str, Sequence[Evidence], Sequence[Study]], Pooled | None] | None = None


def _clean(each: Evidence) -> bool:
    return each.plain and not each.noisy


def _noisy(each: Evidence) -> bool:
    return each.plain and each.noisy


def _many_points(each: Evidence) -> bool:
    return each.plain and float(each.rows["n_over_p"].to_numpy(float).max()) > 1


LADDERS = ("n_vs_p", "double_descent", "data_efficiency", "bottleneck")

QUESTIONS = [
    Question(
        "needed",
        "Are at least as many points as parameters needed, N ≥ P?",
        ("n_at_least_p.",),
        LADDERS,
        keep=_clean,
    ),
    Question(
        "overdetermined",
        "Do many more points than parameters, N ≫ P, overdetermine it, so that the error rises?",
        ("overdetermined.",),
        LADDERS,
        keep=_many_points,
    ),
    Question(
        "fitted",
        "Can as many equations be fitted as there are parameters, N·D = P?",
        ("threshold.n.",),
        ("double_descent", "bottleneck", "n_vs_p"),
        keep=_clean,
    ),
    Question(
        "hurts_clean",
        "Does overparameterisation, P > N·D, hurt with clean data?",
        ("overparameterised.",),
        ("n_vs_p", "double_descent", "bottleneck"),
        keep=_clean,
    ),
    Question(
        "hurts_noisy",
        "Does overparameterisation, P > N·D, hurt with noisy data?",
        ("overparameterised.",),
        ("double_descent",),
        keep=_noisy,
    ),
    Question(
        "peak_clean",
        "Does the error peak (double descent) with clean data?",
        ("peak_along_",),
        ("double_descent", "n_vs_p", "bottleneck"),
        rule=ev.beyond_chance,
        keep=_clean,
    ),
    Question(
        "peak_noisy",
        "Does the error peak (double descent) with noisy data?",
        ("peak_along_",),
        ("double_descent",),
        rule=ev.beyond_chance,
        keep=_noisy,
    ),
    Question(
        "activation",
        "Do the activation and its beta matter?",
        ("compare.activation_and_beta", "compare.activation", "compare.beta"),
        ("activation_beta",),
    ),
    Question(
        "beta",
        "Does beta matter, beyond its effect on the initial scale?",
        ("beta_beyond_scale",),
        ("activation_beta",),
        rule=ev.first,
    ),
    Question("shuffling", "Does shuffling the points help?", ("helps.order",), ("seed_question",)),
    Question(
        "initial_conditions",
        "Do many initial conditions help, instead of one?",
        ("helps.initial_conditions",),
        ("seed_question",),
    ),
    Question(
        "recipe",
        "Are the question's own settings (units, encoding, prior, initialisation) what fails?",
        ("compare.recipe",),
        ("seed_question",),
    ),
    Question(
        "bottleneck",
        "Is the network, its kind or its size, the bottleneck (and not optimiser or data)?",
        ("lever",),
        ("bottleneck",),
        pooled=network_bottleneck,
    ),
    Question(
        "propagation",
        "Does the trajectory go wrong by propagation of the acceleration error, and not by chaos "
        "or the integrator?",
        ("budget.",),
        ("bottleneck", "n_vs_p", "double_descent", "data_efficiency"),
        pooled=error_propagation,
    ),
    Question(
        "predicts",
        "Does the acceleration error predict the rollout error?",
        ("rollout_by_median_error",),
        LADDERS,
    ),
    Question(
        "statistic",
        "Does the median error predict it better than the mean error?",
        ("median_or_mean",),
        LADDERS,
    ),
    Question(
        "seen",
        "Can the equations see all parameters of the question's network, apart from gauge?",
        ("seen.question",),
        ("identifiability",),
        anywhere=True,
    ),
    Question(
        "seen_others",
        "Can they see all parameters of the other networks, apart from gauge?",
        ("seen.others",),
        ("identifiability",),
        anywhere=True,
    ),
    Question(
        "gauge",
        "Do P − 2 parameters count (P − 1 with a mass prior), for L has a free scale and constant?",
        ("gauge",),
        ("identifiability",),
        anywhere=True,
    ),
]

BESIDE = [
    Question(
        "control",
        "Is double descent found where it is known to be (random features)?",
        ("peak_along_n.",),
        ("double_descent",),
        rule=ev.beyond_chance,
        keep=lambda each: set(each.rows["model"]) == {"random_features"} and each.noisy,
    ),
    Question(
        "epochs",
        "Does the test error peak along the training?",
        ("epochs.",),
        ("epochs",),
    ),
    Question(
        "structure",
        "Does a structured network need fewer points?",
        ("efficiency.structured_lnn",),
        ("data_efficiency",),
    ),
    Question(
        "published",
        "Is the published energy error of the double pendulum met, by the targets set?",
        ("published.lnn", "published.structured_lnn"),
        ("published",),
        anywhere=True,
    ),
]


def answer(studies: Sequence[Study], questions: Sequence[Question]) -> list[Pooled]:
    """One verdict a question, in order; those that no study answers say so."""
    everything = ev.gather(studies)
    usual = ev.main_setting(everything)
    return [_answer(question, everything, usual, studies) for question in questions]


def expected() -> list[str]:
    """The studies that the registry looks for."""
    return list(dict.fromkeys(name for q in (*QUESTIONS, *BESIDE) for name in q.studies))


def _answer(
    question: Question, everything: list[Evidence], usual, studies: Sequence[Study]
) -> Pooled:
    def weight(each: Evidence) -> tuple:
        asked = next(i for i, id in enumerate(question.asks) if each.answer.id.startswith(id))
        known = each.study in question.studies
        place = question.studies.index(each.study) if known else len(question.studies)
        return asked, place, round(each.distance, 6), each.study, each.answer.id

    chosen = [
        each
        for each in everything
        if each.answer.id.startswith(question.asks)
        and (question.anywhere or each.setting == usual)
        and question.keep(each)
    ]
    known = [each for each in chosen if each.study in question.studies]
    chosen = sorted(known or chosen, key=weight)
    found = None
    if chosen and question.pooled:
        found = question.pooled(question.id, question.text, chosen, studies)
    elif chosen:
        found = ev.pool(question.id, question.text, chosen, question.rule)
    present = [study.name for study in studies]
    return found or ev.absent(question.id, question.text, question.studies, present)
