"""The import direction of the road, and the seam's stub, held by the tools that know them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def test_imports_go_down_the_road() -> None:
    done = _ran(str(BIN / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_tells_the_truth_about_the_extension() -> None:
    done = _ran(sys.executable, "-m", "mypy.stubtest", "byway._engine", "--concise")
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_root_is_light() -> None:
    # Start-up and idle memory are features: the first import must not pull in the config's model.
    script = "import sys, byway; print(*[m for m in ('pydantic', 'yaml') if m in sys.modules])"
    done = _ran(sys.executable, "-c", script)
    assert done.stdout.strip() == ""


def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
