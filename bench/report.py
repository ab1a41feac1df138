"""What a measurement says, and how it is printed and written down."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the report; `goal` is empty where a figure is only told."""

    what: str
    result: str
    goal: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "NOT MET"


@dataclass(frozen=True)
class Section:
    """One measurement: what was done, and what came of it."""

    title: str
    how: str
    rows: Sequence[Row] = field(default_factory=list)

    def as_text(self) -> str:
        width = max(len(row.what) for row in self.rows)
        lines = [
            f"  {row.what:{width}}  {row.result:>16}  {row.goal:>12}  {row.verdict}".rstrip()
            for row in self.rows
        ]
        return "\n".join([f"{self.title}", *lines])

    def as_markdown(self) -> str:
        lines = [f"| {row.what} | {row.result} | {row.goal} | {row.verdict} |" for row in self.rows]
        return "\n".join(
            [f"## {self.title}", "", self.how, "", "| What | Result | Goal | |", "|---|---|---|---|", *lines]
        )


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
