"""What docs/sandbox.md promises is there: every test it names, every effect of a fault, every option."""

import re
from dataclasses import fields
from pathlib import Path

from botconsole.sandbox.faults import SWITCHES, Fault

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "sandbox.md").read_text()


def test_every_rule_in_the_sandboxs_table_is_proven_by_a_test_that_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").glob("test_sandbox_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 100
    assert named - there == set()


def test_every_row_of_the_rules_names_a_test() -> None:
    rules = TEXT[TEXT.index("## What it enforces") : TEXT.index("## By HTTP")]
    rows = [line for line in rules.splitlines() if line.startswith("| ") and "proven by" not in line]
    assert [row for row in rows if "`test_" not in row] == []


def test_every_switch_and_every_effect_of_a_fault_is_documented() -> None:
    effects = [one.name for one in fields(Fault) if one.name != "number"]
    assert [name for name in (*SWITCHES, *effects) if not re.search(rf"`[^`]*\b{name}\b", TEXT)] == []
