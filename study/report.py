"""Make the tables, answers and page of a study anew, or one page of several studies."""

import sys
from pathlib import Path

from study.config.terminal import Parser, busy, one_line, plain, quiet_pipe, studies_in

HELP = """\
The report of a study, from its tables: answers, figures, page; or of several studies together.

    python -m study.report outputs/n_vs_p       # tables, answers and page, from the cells
    python -m study.report outputs/n_vs_p --all # and every answer in the terminal
    python -m study.report outputs/reference    # a folder of studies: one verdict a question
"""


def main(arguments: list[str] | None = None) -> int:
    """The command: prints the verdicts and the path of the page, and returns its exit status."""
    parser = Parser("python -m study.report", HELP)
    parser.add_argument("folder", type=Path, help="outputs/<study>, or a folder of studies")
    parser.add_argument("--all", action="store_true", help="print every answer, with its figures")
    given = parser.read(arguments)
    folder = given.folder
    from study.page import write  # and pandas, which help spares
    from study.tables import gather

    try:
        with busy("tables, answers, figures, page"):
            if studies_in(folder):
                from study.page import across  # needs the plotting libraries at once

                target = across.write(folder)
            else:
                target = write.write(folder, processes=write.MOST)
    except (gather.TableError, OSError) as error:
        reason = f"{folder}: the report cannot be written: " if isinstance(error, OSError) else ""
        print(one_line(f"error: {reason}{error}"), file=sys.stderr)
        return 2
    with quiet_pipe():
        (write.print_answers if given.all else write.print_summary)(folder)
        print(f"\n{plain(target)}", flush=True)
        for sentence in gather.unreadable(folder):
            print(f"error: {one_line(sentence)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
