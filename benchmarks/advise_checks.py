"""The table of the advice from the study `advise`, and how far it can be trusted.

    python benchmarks/advise_checks.py outputs/advise

Writes the table of the package and, in outputs/reference/advise/, how many networks lie in their
intervals and how far the recommended settings are from the best, both on systems left out. The
page docs/commands.md shows the same.
"""

import sys
import textwrap
from pathlib import Path

import pandas as pd
from reporting import tell

from study import results
from study.analysis.advice import checks, table

ROOT = Path(__file__).resolve().parents[1]


def page(calibration: pd.DataFrame, each: pd.DataFrame, pair: pd.DataFrame) -> list[str]:
    """The lines of the page."""
    inside = calibration.pivot_table("inside", "system", "measure")
    lines = [
        "| system left out | error inside | valid time inside | within 3 of the best | median | "
        "largest | whole design |",
        "|---|---|---|---|---|---|---|",
    ]
    for system, *shares in inside.itertuples():
        row = each.loc[each["system"] == system]
        cells = [f"{100 * share:.0f} %" for share in shares]
        cells.append(f"{100 * row['within_3'].iloc[0]:.0f} %")
        cells += [f"{row[name].iloc[0]:.2g}" for name in ("median", "largest", "whole_design")]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    told = "; ".join(
        f"`{row['system']}` {row['whole_design']:.2g} times the error of the best of the whole "
        f"design, and on {100 * row['within_3']:.0f} % of the sets of data at most 3 times the best"
        f" there (median {row['median']:.2g}, largest {row['largest']:.2g})"
        for _, row in pair.loc[pair["system"] != checks.EVERY].iterrows()
    )
    told = f"Two systems that were chosen beforehand and left out together: {told}."
    return [*lines, "", *textwrap.wrap(told, 110)]


def main() -> None:
    target = ROOT / "outputs" / "reference" / "advise"
    target.mkdir(exist_ok=True)
    table.write(results.load(sys.argv[1]))
    rows = table.read()
    calibration, pair, each = (
        checks.calibration(rows),
        checks.regret(rows),
        checks.each_left_out(rows),
    )
    calibration.to_csv(target / "calibration.csv", index=False)
    pair.to_csv(target / "regret.csv", index=False)
    each.to_csv(target / "regret_each.csv", index=False)
    lines = page(calibration, checks.summary(each), checks.summary(pair))
    tell("docs/commands.md", "advice", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
