"""`make bench`: runs the measurements in one go on this machine and prints a table; `--write` keeps it.

make bench                       all of it (a quarter of an hour)
make bench ARGS="webhook drain"  some of it
make bench ARGS=--write          writes docs/benchmarks.md
"""

import argparse
import platform
import subprocess
from datetime import date
from pathlib import Path

import django

from bench import claims, drain, eventlog, latency, memory, sandbox, webhook
from bench.report import Section

REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
SECTIONS = {
    "webhook": webhook.run,
    "latency": latency.run,
    "memory": memory.run,
    "claims": claims.run,
    "eventlog": eventlog.run,
    "sandbox": sandbox.run,
    "drain": drain.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.name}; only with all of them")
    given = parser.parse_args()
    if unknown := set(given.names) - set(SECTIONS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    if given.write and given.names:
        parser.error("--write takes all of them: figures of different runs are not to be compared")
    done = []
    for name in given.names or SECTIONS:
        section = SECTIONS[name]()
        print(section.as_text(), end="\n\n", flush=True)
        done.append(section)
    if given.write:
        REPORT.write_text(report(done))
        print(f"written to docs/{REPORT.name}")


def report(sections: list[Section]) -> str:
    postgres = subprocess.run(
        ["psql", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    head = [
        "# Benchmarks",
        "",
        f"Made by `make bench ARGS=--write` on {date.today().isoformat()}: {platform.machine()},"  # noqa: DTZ011
        f" {cores()} cores, Python {platform.python_version()}, Django {django.__version__}, {postgres}.",
        "The machine is small and shared, and its cores also carry the load: compare ratios, not milliseconds.",
        "What they mean, and what to do about them: [scaling.md](scaling.md).",
    ]
    return "\n".join([*head, *(f"\n{section.as_markdown()}" for section in sections), ""])


def cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t")


if __name__ == "__main__":
    main()
