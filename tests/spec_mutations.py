"""The shipped specs, damaged from a seed: in their tree, and then in their text. What comes out is seldom a spec."""

import functools
import json
import random
from pathlib import Path

import yaml
from spec_generator import WORDS

from grid.spec.layers import layered
from grid.spec.nodes import Report, plain
from grid.spec.strict_yaml import parse

SPECS = Path(__file__).parent.parent / "specs"
NAMES = [
    *("sys:exit", "a.b:c", "../x:y", "x" * 5000, "x" * 5000 + ":y", "y:" + "x" * 5000, ":", "a:", ":b", "a:b:c"),
    *("os.path:join", "json:loads", "numpy:array", "tasks.attacks.pgd:pgd", "tasks.registry:describe", "tasks:x"),
    *("..:x", "é:é", "a b:c d", "spec_components:net", "spec_components:clash", "spec_components:wrong_default"),
    *("spec_components:stacked", "spec_components:nothing", "/etc/passwd", "pgd.py", "_every", "", ".", "\\", "%s"),
]
"""What may be taken for the name of a component."""
_NUMBERS = [
    *(".nan", ".inf", "-.inf", "1e400", "-1e400", "1e-400", "9" * 40, "-" + "9" * 40, str(2**63 - 1), str(2**63)),
    *("0x7f", "0o17", "1_000", "-0.0", "+1", "1e3", "1.", ".5", "8/255", "8/0", "1/3/5", "9e9/1e9", "12:30"),
]
_TEXTS = [
    *("null", "~", "", "true", "no", "2001-01-01", "'\U0001f642'", "'\u202e'", "\ufeff", "日本語"),
    *("!!int x", "!!binary aGk=", "!x y", "'" + "\N{COMBINING ACUTE ACCENT}" * 50 + "'"),
]
_NESTED = [
    *("&a [*a]", "*nobody", "<<", "{}", "[]", "[[]]", "{each: []}", "{each: [{}]}", "{each: {each: [1]}}"),
    *("{cascade: true}", "{cascade: true, attacks: {}}", "{? [1]: 2}", "{1: 2, 1: 3}", "{~: 1}"),
    *("[" * 60 + "]" * 60, "{a: " * 40 + "1" + "}" * 40, f"[{'0, ' * 3000}0]", f"{{each: [{'0.1, ' * 3000}0.1]}}"),
]
_NAMED = [json.dumps(name) for name in NAMES] + [f"{{{json.dumps(name)}: {{eps: 0.1}}}}" for name in NAMES]
TOKENS = [*_NUMBERS, *_TEXTS, *_NESTED, *_NAMED]
"""What stands, as it is, in the place of a value."""
CHARACTERS = "\t\r\n :-{}[],&*#?|>'\"%@`!\\~\u2028\x85\ufeff\u00e9\U0001f600"


def damaged(seed):
    """The text of one shipped spec with one to six damages."""
    rng = random.Random(seed)
    tree = rng.choice(_trees())
    marks = {}
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        tree = _changed(tree, rng, marks)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    for mark, token in marks.items():
        text = text.replace(mark, token)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        text = _torn(text, rng)
    return text


@functools.cache
def _trees():
    """Every shipped spec as it is written, and with its smallest profile, with rules that any change leaves true."""
    trees = []
    for path in sorted(SPECS.glob("*.yaml")):
        written = plain(parse(path.read_text(), path.name, Report(path.name)))
        smoke = plain(layered(path, "smoke", [], Report(path.name)))
        published = [{"metric": "clean_accuracy", "value": 0.9, "source": "Table 1", "seed": 0}]
        trees += [{**tree, "published": published, "exclude": []} for tree in (written, smoke)]
    return trees


def _changed(tree, rng, marks):
    """The tree with one node gone, twice there, renamed, swapped or replaced by a token (through a mark)."""
    tree = json.loads(json.dumps(tree))
    places = list(_places(tree))
    if not places:
        return tree
    holder, key = rng.choice(places)
    other, place = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, holder[key])
        case 2 if isinstance(holder, dict):
            holder[rng.choice([*WORDS, *NAMES, "\U0001f600"])] = holder.pop(key)
        case 3:
            holder[key] = json.loads(json.dumps(other[place]))
        case 4:
            holder[key] = rng.choice(
                [[holder[key]], {"each": holder[key]}, str(holder[key]), {str(place): holder[key]}]
            )
        case 5 | 6 | 7:
            mark = f"MARK{len(marks)}MARK"
            marks[mark] = rng.choice(TOKENS)
            holder[key] = mark
    return tree


def _torn(text, rng):
    """The text with a line or a character gone, twice there, or put in."""
    lines = text.splitlines(keepends=True)
    at, place = rng.randrange(len(lines) + 1), rng.randrange(len(text) + 1)
    match rng.randrange(4):
        case 0:
            return "".join(lines[:at] + lines[at + 1 :])
        case 1:
            return "".join(lines[: at + 1] + lines[at:])
        case 2:
            return text[:place] + rng.choice(CHARACTERS) + text[place:]
    return text[:place] + text[place + rng.randrange(20) :]


def _places(value):
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, child in pairs:
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)
