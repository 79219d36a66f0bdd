"""What a page holds, for the tests of all of them."""

import base64
import io

import pandas as pd


def table_in(link: str) -> pd.DataFrame:
    """The table that a link of a page holds in itself."""
    kind, data = link.removeprefix("data:").split(";base64,")
    compressed = {"text/csv": None, "application/gzip": "gzip"}[kind]
    return pd.read_csv(io.BytesIO(base64.b64decode(data)), compression=compressed)
