"""Write the tree of the sources into the READMEs, from the docstrings of packages and modules.

make tree
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "byway"
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
CRATES = ("engine", "python")
WIDTH = 16  # of the column of names

_BLOCK = re.compile(r"(?<=```text\n)src/byway/\n.*?(?=```)", re.DOTALL)


def tree() -> str:
    """Packages, modules and crates, each with the first sentence of its docstring."""
    lines = ["src/byway/"]
    lines += [f"    {name:<{WIDTH}}{words}" for name, words in _python()]
    for crate in CRATES:
        text = (ROOT / "rust" / crate / "src" / "lib.rs").read_text(encoding="utf-8")
        words = " ".join(re.findall(r"^//! ?(.*)$", text, re.MULTILINE))
        lines.append(f"{f'rust/{crate}/':<{WIDTH + 4}}{sentence(words)}")
    return "\n".join(lines) + "\n"


def shown(page: Path) -> str:
    """The tree that a page has. Raises ValueError where it has none."""
    found = _BLOCK.search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page.name} has no tree")
    return found.group()


def sentence(text: str) -> str:
    """The first sentence of a docstring, without its period."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"\.(?: |$)", paragraph, maxsplit=1)[0]


def _python() -> Iterator[tuple[str, str]]:
    for place in sorted(PACKAGE.iterdir(), key=lambda place: (place.is_file(), place.name)):
        if (place / "__init__.py").is_file():
            yield f"{place.name}/", _words(place / "__init__.py")
        elif place.suffix == ".py" and not place.name.startswith("__"):
            yield place.name, _words(place)


def _words(file: Path) -> str:
    return sentence(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")


def main() -> None:
    """Bring the tree of each README up to date."""
    for page in READMES:
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(shown(page), tree()), encoding="utf-8")


if __name__ == "__main__":
    main()
