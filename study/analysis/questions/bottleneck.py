"""Two verdicts that several answers make together: is it the network, and is it propagation?

Knows: levers and budgets of whole studies. Does not know: other questions, pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from study.analysis import evidence as ev
from study.analysis.design import Design
from study.analysis.evidence import Evidence, Pooled, Study
from study.analysis.questions import levers

NETWORK = {"model", "size"}


def network_bottleneck(
    id: str, question: str, evidence: Sequence[Evidence], studies: Sequence[Study]
) -> Pooled | None:
    """Yes where the largest lever is surely the kind or size of the network, no where it is surely
    the optimiser or the points."""
    own = [each for each in evidence if each.answer.id == "lever"]
    if not own:
        return None
    rows = next(study.rows for study in studies if study.name == own[0].study)
    pulled = levers.pulled(rows, Design(rows))
    verdict = "undecided"
    if pulled and own[0].answer.verdict == "yes":
        verdict = "yes" if pulled[0].name in NETWORK else "no"
    return ev.pool(
        id,
        question,
        own,
        ev.first,
        verdict=verdict,
        speaker=own[0],
        words="Yes where one lever surely lowers the error most and it is the kind or the size of "
        "the network, no where it is the optimiser or the number of points; else undecided.",
    )


def error_propagation(
    id: str, question: str, evidence: Sequence[Evidence], studies: Sequence[Study]
) -> Pooled | None:
    """Yes where the acceleration error explains the rollout error and neither chaos nor the
    integrator is to blame."""
    parts = {
        name: [e for e in evidence if e.answer.id.startswith(f"budget.{name}.")]
        for name in ("explained", "chaos", "integrator")
    }
    if not all(parts.values()):
        return None
    said = {name: ev.unanimous(each) for name, each in parts.items()}
    blamed = [name for name in ("chaos", "integrator") if said[name] == "yes"]
    verdict = "undecided"
    if said["explained"] == "no" or blamed:
        verdict = "no"
    elif said == {"explained": "yes", "chaos": "no", "integrator": "no"}:
        verdict = "yes"
    leaders = [
        next((e for e in each if e.answer.verdict == said[name]), each[0])
        for name, each in parts.items()
    ]
    rest = [each for each in evidence if all(each is not leader for leader in leaders)]
    sentence = (
        f"Explained by the acceleration error: {said['explained']}; chaos to blame: "
        f"{said['chaos']}; the integrator to blame: {said['integrator']}. "
        f"{leaders[0].answer.sentence}"
    )
    return ev.pool(
        id,
        question,
        [*leaders, *rest],
        ev.first,
        verdict=verdict,
        sentence=sentence,
        speaker=leaders[0],
        words="Yes where the true field with an error of the model's size makes as large a "
        "trajectory error, and neither chaos nor the integrator is to blame; no where one of these "
        "fails; each by the unanimous answers below.",
    )
