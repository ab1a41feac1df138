"""`make bench`: runs the measurements in one go on this machine and writes them down as Markdown."""

import platform
import sys
from datetime import date
from pathlib import Path

import django

from bench import latency

REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    rows = latency.run()
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:{width}}  {row.result:>10}  goal {row.goal:>9}  {'met' if row.met else 'NOT MET'}")
    if "--write" in sys.argv[1:]:
        REPORT.write_text(report(rows))
        print(f"written to {REPORT.relative_to(REPORT.parent.parent)}")


def report(rows: list[latency.Row]) -> str:
    lines = [
        f"| {row.what} | {row.result} | {row.goal} | {'met' if row.met else 'not met'} |" for row in rows
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Made by `make bench ARGS=--write` on {date.today().isoformat()}: {platform.machine()},"  # noqa: DTZ011
            f" Python {platform.python_version()}, Django {django.__version__}.",
            "Real processes: granian with one worker, `run_worker`, the sandbox as Feishu, one event at a time.",
            "Figures are of a small shared machine (2 cores, also used by the load); compare ratios, not milliseconds.",
            "",
            "| What | Result | Goal | |",
            "|---|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
