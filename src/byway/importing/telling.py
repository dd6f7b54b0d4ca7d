"""Notes in few lines: those of one reason together, and what is missing most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from byway.importing.draft import Note

_MOST_ALIKE = 3  # notes of one reason that each get a line
_MOST_NAMED = 5  # things that stand in the line of many
_MOST_REASONS = 12  # in the table


def grouped(notes: Sequence[Note]) -> Iterator[Note]:
    """The notes in their order; many of one reason as one, which names the first few."""
    alike: dict[str, list[Note]] = {}
    for note in notes:
        alike.setdefault(note.reason, []).append(note)
    for note in notes:
        others = alike[note.reason]
        if len(others) <= _MOST_ALIKE:
            yield note
        elif others[0] is note:
            whats = list(dict.fromkeys(other.what for other in others))
            more = f" and {len(whats) - _MOST_NAMED} more" if len(whats) > _MOST_NAMED else ""
            named = ", ".join(whats[:_MOST_NAMED])
            yield Note(note.line, f"{len(others)} times", f"{note.reason}: {named}{more}")


def missing_most(notes: Sequence[Note]) -> list[str]:
    """A table of the reasons by their counts; nothing where each note says all there is."""
    counted = Counter(note.reason for note in notes)
    if len(notes) <= _MOST_ALIKE or len(counted) == len(notes):
        return []
    rows = counted.most_common(_MOST_REASONS)
    width = len(str(rows[0][1]))
    lines = ["missing most:", *(f"  {count:>{width}}  {reason}" for reason, count in rows)]
    if len(counted) > _MOST_REASONS:
        rest = len(notes) - sum(count for _, count in rows)
        lines.append(f"  {rest:>{width}}  for {len(counted) - _MOST_REASONS} other reasons")
    return lines
