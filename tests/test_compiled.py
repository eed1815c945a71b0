"""What a container compiles when it is built is all that numba compiles at run time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_everything_that_numba_keeps_is_compiled_beforehand(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "neuraxis.compiled"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sources = [path.read_text() for path in (ROOT / "neuraxis").rglob("*.py")]
    kept = {name for text in sources for name in re.findall(r"@njit\([^)]*cache=True[^)]*\)\ndef (\w+)", text)}
    made = {path.name.split(".")[1].rsplit("-", 1)[0] for path in tmp_path.rglob("*.nbi")}
    assert len(kept) >= 10 and kept <= made, kept - made
