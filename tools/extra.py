"""Print the requirements of one optional dependency group of pyproject.toml, one a line.

They are installed apart from the package, so that a new development dependency builds no engine.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(group: str) -> None:
    """Print the requirements of `group`. Raises KeyError when there is no such group."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.write("\n".join(project["optional-dependencies"][group]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
