"""Tables in text as instruments and spreadsheets write them: separators, decimals, lines above.

The header is the line that names most of the columns that are wanted, split by the separator with
which it does. A line of units below it is left out.
"""

from __future__ import annotations

import collections
import csv
import io
import itertools
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv as arrow_csv

from study.config.errors import ConfigError

SEPARATORS = (",", ";", "\t", "|", " ")  # the last: any number of blanks
HEAD = 60  # lines among which the header is looked for
MISSING = ["", "NaN", "nan", "NAN", "NA"]
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.I)
_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.I)


class TextTable(NamedTuple):
    """Names as the header has them, the columns, and what stands before decimals."""

    names: list[str]
    columns: list[pa.ChunkedArray]
    decimal: str


def read_text(data: bytes, wanted: Collection[str], where: str) -> TextTable:
    """Read a table.

    **Raises:** `ConfigError` for a row that is not as long as the header; `ValueError` and those of
    pyarrow for what is no table.
    """
    text = _decoded(data)
    if "\0" in text[:1000]:
        raise ValueError("it is no text: save the table as CSV")
    lines = list(itertools.islice(io.StringIO(text, newline=""), HEAD))
    separator, header = _header(lines, set(wanted))
    names = _split(lines[header], separator) if lines else []
    if names and names[0] not in wanted:  # NumPy begins a header with a number sign
        first_name = names[0].lstrip("#% ")
        names = names[1:] if separator == " " and not first_name else [first_name, *names[1:]]
    first = header + 1
    for line in lines[first : first + 2]:
        fields = [field for field in _split(line, separator) if field]
        if fields and (any(map(_NUMBER.fullmatch, fields)) or len(fields) < len(names) / 2):
            break
        first += 1
    sample = [fields for line in lines[first:] if any(fields := _split(line, separator))]
    body = text[sum(map(len, lines[:first])) :]
    if separator == " ":
        body = re.sub(r"(?m)^[^\S\r\n]+|[^\S\r\n]+$", "", body)
        body = re.sub(r"[^\S\r\n]+", " ", body)
    names = _as_wide(names, sample)
    decimal = "," if any(_COMMA.fullmatch(field) for row in sample for field in row) else "."
    return TextTable(names, _columns(body, separator, decimal, len(names), where), decimal)


def _decoded(data: bytes) -> str:
    """UTF-8 or UTF-16 by their marks, UTF-8, or else what Windows writes in western Europe."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _split(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    return [
        field.strip() for field in next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    ]


def _header(lines: Sequence[str], wanted: set[str]) -> tuple[str, int]:
    """The separator and the line of the header; if no column is named, those of most lines."""
    best, count, at = ",", 0, 0
    for separator in SEPARATORS:
        for k, line in enumerate(lines):
            named = len(wanted & {field.lstrip("#% ") for field in _split(line, separator)})
            if named > count:
                best, count, at = separator, named, k
    if count:
        return best, at
    most = 0
    for separator in SEPARATORS[:-1]:
        widths = [len(_split(line, separator)) for line in lines]
        width, times = collections.Counter(widths).most_common(1)[0] if widths else (0, 0)
        if width > 1 and times > most:
            best, most, at = separator, times, widths.index(width)
    return best, at


def _as_wide(names: list[str], sample: Sequence[Sequence[str]]) -> list[str]:
    """The names without empty ones that no row has, or with some if rows end in separators."""
    if not sample:
        return names
    width = collections.Counter(map(len, sample)).most_common(1)[0][0]
    while len(names) > width and not names[-1]:
        names = names[:-1]
    blank = all(not any(row[len(names) :]) for row in sample)
    return names + [""] * (width - len(names)) if blank else names


def _columns(
    body: str, separator: str, decimal: str, width: int, where: str
) -> list[pa.ChunkedArray]:
    uneven: list[arrow_csv.InvalidRow] = []

    def ragged(row: arrow_csv.InvalidRow) -> str:  # an exception in here would be swallowed
        uneven.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(body.encode()),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=[str(k) for k in range(width)]
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, invalid_row_handler=ragged),
            # other texts that are no numbers are reported as they are
            convert_options=arrow_csv.ConvertOptions(null_values=MISSING, decimal_point=decimal),
        )
    except pa.ArrowInvalid:
        for row in uneven[:1]:
            hint = (
                ": decimal commas need another separator" if row.actual_columns == 2 * width else ""
            )
            raise ConfigError(
                f"{where}, row {row.number}: it has {row.actual_columns} values, and the "
                f"header names {row.expected_columns} columns{hint}"
            ) from None
        raise
    return table.columns
