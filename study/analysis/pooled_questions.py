"""Everything that the question asks of several studies: the registry.

To ask something more is one entry of `QUESTIONS`. Those of `PRIMARY` are what the studies were made
for; their verdicts are corrected for their number. All others are exploratory.
"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from study.analysis import evidence as ev
from study.analysis.design import Design
from study.analysis.evidence import Evidence, Pooled, PooledQuestion, Study
from study.analysis.questions import levers
from study.analysis.statistics.limits import (
    BOUNDS,
    CHANGED,
    CONVERGED,
    EQUIVALENT,
    EXPLAINS,
    FITTED,
    NEEDED,
    Turn,
)

# Named on 2026-11-30, before the runs on more than one system that will answer them.
PRIMARY = (
    "needed",
    "needed_noisy",
    "overdetermined",
    "fitted",
    "hurts_clean",
    "hurts_noisy",
    "peak_noisy",
    "shuffling",
    "initial_conditions",
    "bound_by_optimiser",
    "bound_by_structure",
    "explained",
)
FIRST_ORDER = {"adam", "soap"}
LADDERS = ("n_vs_p", "systems", "systems_levers", "double_descent", "data_efficiency", "levers")
EVERY_SYSTEM = ("systems", "systems_levers")
NOISY = ("double_descent", "double_descent_models", "systems")


def _clean(evidence: Evidence) -> bool:
    return evidence.plain and not evidence.noisy


def _noisy(evidence: Evidence) -> bool:
    return evidence.plain and evidence.noisy


def _held_out(evidence: Evidence) -> bool:
    """Whether held-out points chose among the steps."""
    rows = evidence.rows
    return "optimizer.validation" in rows and bool((rows["optimizer.validation"] > 0).any())


def _deep(evidence: Evidence) -> bool:
    """Trained on all points by a method that reaches the bottom of its loss."""
    return not set(evidence.rows["optimizer"]) & FIRST_ORDER and not _held_out(evidence)


def _to_the_bottom(evidence: Evidence) -> bool:
    return _clean(evidence) and _deep(evidence)


def _noisy_to_the_bottom(evidence: Evidence) -> bool:
    return _noisy(evidence) and _deep(evidence)


def _to_the_end(evidence: Evidence) -> bool:
    """Noisy, and to the runs' own end."""
    return _noisy_to_the_bottom(evidence) and evidence.answer.converged >= CONVERGED


def _stopped_by_validation(evidence: Evidence) -> bool:
    return _noisy(evidence) and _held_out(evidence)


def _by_adam(evidence: Evidence) -> bool:
    return _clean(evidence) and set(evidence.rows["optimizer"]) == {"adam"}


def _network_bottleneck(
    question: PooledQuestion, evidence: Sequence[Evidence], studies: Sequence[Study]
) -> Pooled | None:
    """Yes if the largest lever is surely the kind or size of the network, no if it is surely the
    optimiser or the points."""
    largest = Counter[str]()  # lever -> systems on which it surely lowers the error most
    for one in evidence:
        if one.answer.verdict == "yes":
            rows = next(study.rows for study in studies if study.name == one.study)
            first = levers.pulled(rows, Design(rows), one.answer.rows[0])[0]
            largest[first.name] += 1
    network = largest["model"] + largest["size"]
    verdict = "undecided"
    if largest and network in (0, largest.total()):
        verdict = "yes" if network else "no"
    rule = (
        "Yes where the lever that surely lowers the error most is always the kind or the size of "
        "the network, no where it is always the optimiser or the points; else undecided."
    )
    counted = ", ".join(f"the {name} {times}" for name, times in largest.most_common())
    sentence = f"What lowers the error most: {counted}. " if len(evidence) > 1 and largest else ""
    return ev.pool(question, evidence, verdict, sentence + evidence[0].answer.sentence, rule)


def _error_propagation(
    question: PooledQuestion, evidence: Sequence[Evidence], studies: Sequence[Study]
) -> Pooled | None:
    """Yes if the acceleration error explains the rollout error and neither chaos nor the
    integrator is to blame."""
    parts = {
        name: [e for e in evidence if e.answer.id.startswith(f"budget.{name}.")]
        for name in ("explained", "chaos", "integrator")
    }
    if not all(parts.values()):
        return None
    verdicts = {name: ev.unanimous(part) for name, part in parts.items()}
    explained, chaos, integrator = verdicts.values()
    verdict = "undecided"
    if explained == "no" or "yes" in (chaos, integrator):
        verdict = "no"
    elif (explained, chaos, integrator) == ("yes", "no", "no"):
        verdict = "yes"
    leaders = [
        next((e for e in part if e.answer.verdict == verdicts[name]), part[0])
        for name, part in parts.items()
    ]
    rest = [e for e in evidence if all(e is not leader for leader in leaders)]
    order = [*leaders, *rest]
    sentence = (
        f"{ev.differing(order, verdict)}Explained by the acceleration error: {explained}; chaos "
        f"to blame: {chaos}; the integrator to blame: {integrator}. {leaders[0].answer.sentence}"
    )
    rule = (
        "Yes where the true field with an error of the model's size makes as large a "
        "trajectory error, and neither chaos nor the integrator is to blame; no where one of these "
        "fails; each by the unanimous answers below."
    )
    return ev.pool(question, order, verdict, sentence, rule)


QUESTIONS = [
    PooledQuestion(
        "needed",
        "Are at least as many points as parameters needed, N ≥ P, by training to the bottom?",
        ("n_at_least_p.",),
        EVERY_SYSTEM,
        keep=_to_the_bottom,
        turn=Turn.at(NEEDED),
    ),
    PooledQuestion(
        "needed_noisy",
        "Are they needed where the labels are noisy?",
        ("n_at_least_p.",),
        EVERY_SYSTEM,
        keep=_noisy_to_the_bottom,
        turn=Turn.at(NEEDED),
    ),
    PooledQuestion(
        "needed_adam",
        "Are they needed by Adam alone?",
        ("n_at_least_p.",),
        LADDERS,
        keep=_by_adam,
        turn=Turn.at(NEEDED),
    ),
    PooledQuestion(
        "overdetermined",
        "Do many more points than parameters, N ≫ P, overdetermine it, so that the error rises?",
        ("overdetermined.",),
        EVERY_SYSTEM,
        keep=_clean,
        turn=Turn.at(EQUIVALENT),
    ),
    PooledQuestion(
        "fitted",
        "Can as many equations be fitted as there are parameters, N·D = P?",
        ("threshold.n.",),
        EVERY_SYSTEM,
        keep=_to_the_end,
        turn=Turn.at(FITTED),
    ),
    PooledQuestion(
        "hurts_clean",
        "Does overparameterisation, P > N·D, hurt with clean data?",
        ("overparameterised.",),
        EVERY_SYSTEM,
        keep=_clean,
        turn=CHANGED,
    ),
    PooledQuestion(
        "hurts_noisy",
        "Does overparameterisation, P > N·D, hurt with noisy data?",
        ("overparameterised.",),
        EVERY_SYSTEM,
        keep=_noisy_to_the_bottom,
        turn=CHANGED,
    ),
    PooledQuestion(
        "peak_clean",
        "Does the error peak (double descent) with clean data?",
        ("peak_along_",),
        ("double_descent",),
        anywhere=True,
        rule=ev.beyond_chance,
        keep=_clean,
    ),
    PooledQuestion(
        "peak_noisy",
        "Does the error peak (double descent) with noisy data?",
        ("peak_along_",),
        NOISY,
        anywhere=True,
        rule=ev.beyond_chance,
        keep=_to_the_end,
    ),
    PooledQuestion(
        "peak_tail_noisy",
        "Does its tail peak with noisy data: mean, 99th percentile, indefinite mass matrices?",
        ("peak_of_",),
        NOISY,
        anywhere=True,
        rule=ev.beyond_chance,
        keep=_to_the_end,
    ),
    PooledQuestion(
        "peak_stopped",
        "Does it peak, or its tail, if held-out points say when to stop?",
        ("peak_along_", "peak_of_"),
        NOISY,
        anywhere=True,
        rule=ev.beyond_chance,
        keep=_stopped_by_validation,
    ),
    PooledQuestion(
        "activation",
        "Do the activation and its beta matter?",
        ("compare.activation_and_beta",),
        ("activation_beta",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "activation_tuned",
        "Do they matter, each pair at its own best rate?",
        ("compare.activation_and_beta",),
        ("activation_beta_tuned",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "beta",
        "Does beta matter, beyond its effect on the initial scale?",
        ("beta_beyond_scale",),
        ("activation_beta",),
        rule=ev.first,
    ),
    PooledQuestion(
        "shuffling",
        "Does shuffling the points help?",
        ("helps.order",),
        EVERY_SYSTEM,
        turn=CHANGED,
    ),
    PooledQuestion(
        "initial_conditions",
        "Do many initial conditions help, instead of one?",
        ("helps.initial_conditions",),
        EVERY_SYSTEM,
        turn=CHANGED,
    ),
    PooledQuestion(
        "shuffling_asked",
        "Does shuffling help with the question's own settings?",
        ("helps.order",),
        ("seed_question",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "initial_conditions_asked",
        "Do many initial conditions help with them, instead of one?",
        ("helps.initial_conditions",),
        ("seed_question",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "recipe",
        "Are the question's own settings (units, encoding, prior, initialisation) what fails?",
        ("compare.recipe",),
        ("seed_question",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "bottleneck",
        "Is the network, its kind or its size, the bottleneck (and not optimiser or data)?",
        ("lever.",),
        ("levers", "systems_levers"),
        anywhere=True,
        pooled=_network_bottleneck,
    ),
    PooledQuestion(
        "bound_by_optimiser",
        "Is the optimiser what bounds the acceleration error?",
        ("bounds.optimiser.",),
        EVERY_SYSTEM,
        turn=Turn.at(BOUNDS),
    ),
    PooledQuestion(
        "bound_by_structure",
        "Is the kind of model what bounds it, a plain network beside a structured one?",
        ("bounds.model.",),
        EVERY_SYSTEM,
        turn=Turn.at(BOUNDS),
    ),
    PooledQuestion(
        "explained",
        "Is the acceleration error, propagated by the true dynamics, enough to explain the error "
        "of the trajectory?",
        ("budget.explained.",),
        ("trajectories", "systems_levers"),
        turn=Turn.at(EXPLAINS, below=True),
    ),
    PooledQuestion(
        "propagation",
        "Does the trajectory go wrong by propagation of the acceleration error, and not by chaos "
        "or the integrator?",
        ("budget.",),
        ("levers", "n_vs_p", "data_efficiency"),
        pooled=_error_propagation,
    ),
    PooledQuestion(
        "lyapunov",
        "Does every e-fold of accuracy buy one Lyapunov time of a right trajectory?",
        ("valid_time_law.",),
        ("trajectories",),
        anywhere=True,
    ),
    PooledQuestion(
        "predicts",
        "Does the acceleration error predict the rollout error?",
        ("rollout_by_median_error",),
        LADDERS,
    ),
    PooledQuestion(
        "statistic",
        "Does the median error predict it better than the mean error?",
        ("median_or_mean",),
        LADDERS,
    ),
    PooledQuestion(
        "seen",
        "Can the equations see all parameters of the question's network, apart from gauge?",
        ("seen.question",),
        ("identifiability",),
        anywhere=True,
    ),
    PooledQuestion(
        "seen_others",
        "Can they see all parameters of the other networks, apart from gauge?",
        ("seen.others",),
        ("identifiability",),
        anywhere=True,
    ),
    PooledQuestion(
        "gauge",
        "Do P − 2 parameters count (P − 1 with a mass prior), for L has a free scale and constant?",
        ("gauge",),
        ("identifiability",),
        anywhere=True,
    ),
]

BESIDE = [
    PooledQuestion(
        "control",
        "Is double descent found where it is known to be (random features)?",
        ("peak_along_n.",),
        ("double_descent",),
        anywhere=True,
        rule=ev.beyond_chance,
        keep=lambda e: set(e.rows["model"]) == {"random_features"} and e.noisy,
    ),
    PooledQuestion(
        "epochs",
        "Does the test error peak along the training?",
        ("epochs.",),
        ("epochs",),
    ),
    PooledQuestion(
        "structure",
        "Does a structured network need fewer points?",
        ("efficiency.structured_lnn",),
        ("data_efficiency",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "positions",
        "Is one method best at learning from noisy positions alone?",
        ("noisy_positions.",),
        ("positions",),
        anywhere=True,
    ),
    PooledQuestion(
        "through_integrator",
        "Does training through the integrator beat training on differentiated positions?",
        ("integrator.",),
        ("positions",),
        turn=CHANGED,
    ),
    PooledQuestion(
        "published",
        "Is the published energy error of the double pendulum met, by the targets set?",
        ("published.lnn", "published.structured_lnn"),
        ("published",),
        anywhere=True,
    ),
]
