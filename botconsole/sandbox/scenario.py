"""A scenario file: read, checked line by line, and written; what its steps do is in player.py."""

import difflib
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from botconsole.sandbox.doings import WrongError
from botconsole.sandbox.faults import FaultError, Faults

FOLDER = Path(__file__).parent / "scenarios"
LARGEST_BYTES, MOST_STEPS, MOST_TIMES = 1024 * 1024, 5000, 5000
VARIABLE = re.compile(r"\$\{(\w+)\}")


class _Loader(yaml.SafeLoader):
    """Texts stay texts: a date would be no JSON, and nobody means one here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class ScenarioError(WrongError):
    """What is wrong with a scenario, and in which line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}" if line else what)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: `after` seconds of Feishu's clock, `times` times, `every` that many seconds."""

    line: int
    verb: str
    values: dict[str, Any]
    after: float = 0
    times: int = 1
    every: float = 0
    label: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file as it was read; `variables` are what whoever plays it may set."""

    title: str
    steps: tuple[Step, ...]
    about: str = ""
    english: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_text(one) for one in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10_000_000


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_TIMES


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _named_texts(value: Any) -> bool:
    """Title and about once more, in English."""
    return isinstance(value, dict) and all(
        name in ("title", "about") and _text(value[name]) for name in value
    )


def _people(value: Any) -> bool:
    return _texts(value) or _count(value)


SHAPES: dict[Callable[[Any], bool], str] = {
    _text: "a text",
    _texts: "a list of texts",
    _number: "a number that is not negative",
    _count: f"a whole number from 1 to {MOST_TIMES}",
    _flag: "true or false",
    _mapping: "a mapping",
    _named_texts: "a mapping with title and about",
    _people: f"a list of names, or how many (1 to {MOST_TIMES})",
}
Fields = dict[str, Callable[[Any], bool]]
SAID: Fields = {"text": _text, "post": _mapping, "image": _text, "file": _mapping}
# What each verb must be told, and what it may be told. `in` names a group (or, with *, a pattern of its name).
VERBS: dict[str, tuple[Fields, Fields]] = {
    "group": ({"name": _text}, {"members": _texts, "bot": _flag}),
    "join": ({"in": _text, "people": _people}, {"per_event": _count}),
    "leave": ({"in": _text, "by": _text}, {}),
    "remove": ({"in": _text, "who": _text}, {}),
    "bot": ({"in": _text, "inside": _flag}, {}),
    "rename": ({"in": _text, "name": _text}, {"by": _text}),
    "dissolve": ({"in": _text}, {"by": _text}),
    "conversation": ({"by": _text}, {}),
    "say": (
        {"in": _text, "by": _text},
        {**SAID, "mention_bot": _flag, "reply_to": _text, "in_thread": _flag},
    ),
    "edit": ({"message": _text, "text": _text}, {}),
    "recall": ({"message": _text}, {"by": _text}),
    "react": ({"message": _text, "by": _text, "emoji": _text}, {"off": _flag}),
    "press": (
        {"in": _text, "by": _text},
        {"button": _text, "value": _mapping, "form": _mapping, "option": _text, "options": _texts,
         "input": _text, "checked": _flag},
    ),
    "wait_for": ({"in": _text}, {"text": _text, "button": _text, "within": _number}),
    "fault": ({}, {}),
    "end_faults": ({}, {}),
    "clock": ({}, {"factor": _number, "advance": _number}),
    "alert": ({"path": _text, "body": _mapping}, {"headers": _mapping}),
}  # fmt: skip
ONE_OF = {"say": tuple(SAID), "press": ("button", "value"), "clock": ("factor", "advance")}
AROUND: Fields = {"after": _number, "times": _count, "every": _number, "as": _text, "when": _text}
TOP: Fields = {
    "title": _text,
    "about": _text,
    "en": _named_texts,
    "variables": _mapping,
    "steps": lambda value: True,
}
LABELLED = ("say", "group")


def read(text: str) -> Scenario:
    """The scenario in a YAML text; ScenarioError says in which line what is wrong."""
    root = _compose(text)
    top = _pairs(root, "a scenario is a mapping with title and steps")
    for name, (line, node) in top.items():
        _known(line, name, TOP, "a scenario")
        if name != "steps" and not TOP[name](_value(node)):
            raise ScenarioError(line, f"{name} must be {SHAPES[TOP[name]]}")
    if missing := [name for name in ("title", "steps") if name not in top]:
        raise ScenarioError(1, f"{missing[0]} is missing")
    told = {name: _value(node) for name, (_, node) in top.items() if name != "steps"}
    line, node = top["steps"]
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise ScenarioError(line, "steps must be a list with something in it")
    if len(node.value) > MOST_STEPS:
        raise ScenarioError(line, f"more than {MOST_STEPS} steps")
    steps = tuple(_step(one) for one in node.value)
    variables = {str(name): str(value) for name, value in told.get("variables", {}).items()}
    _check_references(steps, variables)
    return Scenario(told["title"], steps, told.get("about", ""), told.get("en", {}), variables)


def _compose(text: str) -> yaml.Node:
    if len(text.encode(errors="replace")) > LARGEST_BYTES:
        raise ScenarioError(0, "the scenario is larger than 1 MB")
    try:
        for token in yaml.scan(text, _Loader):
            if isinstance(token, yaml.AliasToken):  # a few of them make a file of gigabytes
                raise ScenarioError(token.start_mark.line + 1, "references (*name) are not allowed")
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ScenarioError(line, f"this is no YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ScenarioError(0, f"this is no YAML: {error}") from None
    if root is None:
        raise ScenarioError(0, "the scenario is empty")
    return root


def _pairs(node: yaml.Node, otherwise: str) -> dict[str, tuple[int, yaml.Node]]:
    """A mapping's keys with the line of each and the node of its value."""
    if not isinstance(node, yaml.MappingNode):
        raise ScenarioError(node.start_mark.line + 1, otherwise)
    found: dict[str, tuple[int, yaml.Node]] = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, key.value
        if not isinstance(name, str):
            raise ScenarioError(line, "a key must be a word")
        if name in found:
            raise ScenarioError(line, f"{name} is there twice")
        found[name] = (line, value)
    return found


def _value(node: yaml.Node) -> Any:
    """A node as plain data."""
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ScenarioError(node.start_mark.line + 1, f"a value cannot be read: {error.problem}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ScenarioError(node.start_mark.line + 1, f"a value cannot be read: {error}") from None
    finally:
        loader.dispose()


def _known(line: int, name: str, known: Any, of: str) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
    raise ScenarioError(line, f"{of} has no {name}; {hint}")


def _step(node: yaml.Node) -> Step:
    pairs = _pairs(node, "a step is a mapping such as {say: {in: ..., by: ..., text: ...}}")
    line = node.start_mark.line + 1
    for name, (at, _) in pairs.items():
        _known(at, name, {**VERBS, **AROUND}, "a step")
    verbs = [name for name in pairs if name in VERBS]
    if len(verbs) != 1:
        said = f"these are {len(verbs)}: {', '.join(verbs)}" if verbs else "this one does nothing"
        raise ScenarioError(line, f"a step does one thing; {said}")
    around = {name: _value(value) for name, (_, value) in pairs.items() if name in AROUND}
    for name, value in around.items():
        if not AROUND[name](value):
            raise ScenarioError(pairs[name][0], f"{name} must be {SHAPES[AROUND[name]]}")
    if "as" in around and verbs[0] not in LABELLED:
        raise ScenarioError(pairs["as"][0], f"as goes with {' and '.join(LABELLED)} only")
    values = _values(verbs[0], *pairs[verbs[0]])
    when, label = around.get("when", ""), around.get("as", "")
    return Step(
        line, verbs[0], values,
        around.get("after", 0), around.get("times", 1), around.get("every", 0), label, when,
    )  # fmt: skip


def _values(verb: str, line: int, node: yaml.Node) -> dict[str, Any]:
    """What the verb is told, checked against VERBS."""
    needed, allowed = VERBS[verb]
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null") and not needed:
        return {}
    pairs = _pairs(node, f"{verb} must be a mapping with {', '.join([*needed, *allowed]) or 'nothing in it'}")
    values = {name: _value(value) for name, (_, value) in pairs.items()}
    if verb == "fault":
        _check_fault(line, values)
        return values
    for name, value in values.items():
        _known(pairs[name][0], name, {**needed, **allowed}, verb)
        good = {**needed, **allowed}[name]
        if not good(value):
            raise ScenarioError(pairs[name][0], f"{name} must be {SHAPES[good]}")
    if missing := [name for name in needed if name not in values]:
        raise ScenarioError(line, f"{verb} needs {' and '.join(missing)}")
    wanted = ONE_OF.get(verb, ())
    if wanted and sum(name in values for name in wanted) != 1:
        raise ScenarioError(line, f"{verb} needs one of {', '.join(wanted)}")
    return values


def _check_fault(line: int, values: dict[str, Any]) -> None:
    try:
        Faults().add(values)
    except FaultError as error:
        raise ScenarioError(line, str(error)) from None


def _check_references(steps: tuple[Step, ...], variables: dict[str, str]) -> None:
    """A message that is referred to was said before under that name; variables are declared."""
    said = set[str]()
    for step in steps:
        for name in ("message", "reply_to"):
            if name in step.values and step.values[name] not in said:
                raise ScenarioError(step.line, f"no step before says something as {step.values[name]}")
        if step.verb == "say" and step.label:
            said.add(step.label)
        used = {name for text in _all_texts(step.values) for name in VARIABLE.findall(text)}
        if not variables:
            used = set()  # a recording declares none: what somebody wrote is what will be said
        for name in sorted({*used, *([step.when] if step.when else [])}):
            if name not in variables:
                raise ScenarioError(step.line, f"variables has no {name}")


def _all_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _all_texts(one)]
    return [text for one in value for text in _all_texts(one)] if isinstance(value, list) else []


def filled(value: Any, variables: dict[str, str], number: int) -> Any:
    """`${name}` replaced by the variable, `{n}` by which of the `times` it is (0: there is only one)."""
    if isinstance(value, str):
        text = VARIABLE.sub(lambda found: variables.get(found[1], found[0]), value)
        return text.replace("{n}", str(number)) if number else text
    if isinstance(value, dict):
        return {key: filled(one, variables, number) for key, one in value.items()}
    return [filled(one, variables, number) for one in value] if isinstance(value, list) else value


def write(title: str, steps: list[dict[str, Any]]) -> str:
    """The YAML text of recorded steps, as `read` takes it."""
    document = {"title": title, "steps": steps}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)


@functools.cache
def shipped() -> dict[str, Scenario]:
    """The scenarios that come with the sandbox, by the names of their files."""
    return {path.stem: read(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}


def named(name: str) -> Scenario:
    if name not in shipped():
        raise LookupError(f"no scenario {name}; there are {', '.join(shipped())}")
    return shipped()[name]
