"""What all tests share: shapes in signatures are checked, data are cached for the session only."""

import os
import tempfile

# before study.core is imported anywhere: every jaxtyping shape in it becomes a check
from jaxtyping import install_import_hook

install_import_hook("study.core", "beartype.beartype")

# one thread, as the workers have; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["STUDY_CACHE"] = tempfile.mkdtemp(prefix="study-cache-")
