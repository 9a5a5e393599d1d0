"""Writes the generated parts of the documentation: help texts, component tables, trees of files, questions in SQL.

A generated part stands between `<!-- generated: WHAT -->` and `<!-- end -->`, where WHAT is a key of PARTS and its
arguments. Everything comes from what the program itself reads: signatures, docstrings, the heads of SQL files.

    python tests/documents.py       (make docs) writes all of them; tests/test_documents.py compares
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from broken.toys import toys
from click.testing import CliRunner

from grid.cli import main
from grid.questions import TABLES, VIEWS
from tasks import registry
from tasks.contracts import suite
from tasks.registry import REQUIRED, Description

ROOT = Path(__file__).parent.parent
FOLDERS = (".github", "deploy", "grid", "specs", "tasks", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
SQL = ROOT / "grid/results/sql"
SAID_OF_SQL = "One file per question, and what they share."
KINDS = registry.FOLDERS
"""The kinds of component, and how `attackgrid list` and the headings name them."""
FACTS = ("norms", "knowledge", "targeting", "budget")
"""What a table says of an attack beside its parameters."""
WIDTH = 100
_PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str) -> str:
    """The text of a document with every generated part as it has to be. Raises KeyError for an unknown one."""

    def part(found: re.Match[str]) -> str:
        name, *arguments = found[2].split()
        return f"{found[1]}\n{PARTS[name](*arguments)}\n\n{found[3]}"

    return _PART.sub(part, text)


def commands() -> str:
    """The help of every command, in the order in which `attackgrid --help` has them."""
    pages = [("", []), *((f"## {name}\n\n", [name]) for name in main.commands)]
    return "\n\n".join(f"{heading}```text\n{help_of(words)}\n```" for heading, words in pages)


def help_of(words: list[str]) -> str:
    """What a command prints when it is asked for help, on a terminal of a fixed width."""
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="attackgrid", terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())


def components(folder: str) -> str:
    """The components of a kind as a table, under the parameters that all of them have."""
    kind = next(name for name, plural in KINDS.items() if plural == folder)
    described = [registry.describe(kind, name) for name in registry.names(kind)]
    common = common_parameters(described)
    facts = FACTS if kind == "attack" else ()
    head = ["name", *facts, "parameters", "what it is", "paper"]
    lines = [row(head), row("---" for _ in head)]
    lines += [row(_columns(found, facts, common)) for found in described]
    also = ", ".join(f"`{name}: {default}`" for name, default in common.items())
    return (f"Each of them also takes {also}.\n\n" if also else "") + "\n".join(lines)


def common_parameters(described: list[Description]) -> dict[str, str]:
    """The parameters, with their defaults, that all components of several have."""
    first, *others = (parameters(found) for found in described)
    return {n: d for n, d in first.items() if others and all(other.get(n) == d for other in others)}


def parameters(found: Description) -> dict[str, str]:
    """A component's parameters with their defaults, as a spec writes them; empty text where one must be given."""
    return {
        name: "" if parameter.default is REQUIRED else spelt(parameter.default)
        for name, parameter in found.parameters.items()
    }


def spelt(value: object) -> str:
    """A value as a spec writes it."""
    match value:
        case None | bool():
            return "null" if value is None else str(value).lower()
        case list():
            return f"[{', '.join(map(spelt, value))}]"
    return str(value)


def row(cells: Iterator[str] | list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def tree(package: str) -> str:
    """The files of a package, a line each, with the first sentence of what each says of itself.

    Components are named by their tables, files of SQL that answer a question by theirs.
    """
    lines = list(_tree(ROOT / package, 0))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(["```text", *(f"{name:{width}}{said}".rstrip() for name, said in lines), "```"])


def _tree(folder: Path, depth: int) -> Iterator[tuple[str, str]]:
    is_components = folder.name in KINDS.values()
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        name = "  " * depth + path.name
        if path.is_dir() and path.name != "__pycache__":
            yield (
                f"{name}/",
                "One file per question, and what they share." if path == SQL else _said(path / "__init__.py"),
            )
            yield from _tree(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py" and not (is_components and path.name[0] != "_"):
            yield name, _said(path)
        elif path.suffix == ".sql" and path.stem not in TABLES:
            yield name, sentence(comments(path)[0])


def _said(path: Path) -> str:
    found = re.match(r'r?"""(.+?)("""|\n)', path.read_text(encoding="utf-8"))
    return sentence(found[1]) if found else ""


def sentence(text: str) -> str:
    """The first sentence of a text."""
    return re.split(r"(?<=\.)\s(?=[A-Z])", text, maxsplit=1)[0]


def tables() -> str:
    """Each table: what it answers, and what a row of it is."""
    return "\n".join(f"* [`{name}`](results/sql/{name}.sql): {' '.join(_answers(name))}" for name in TABLES)


def _answers(name: str) -> list[str]:
    said = " ".join(comments(SQL / f"{name}.sql"))
    what, _, grain = said.partition(" Grain: ")
    grain = re.split(r" Parameters?: ", grain)[0]
    return [what, grain[:1].upper() + grain[1:]]


def comments(path: Path) -> list[str]:
    """The lines of the comment that a file of SQL opens with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = lines[: next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))]
    return [line.removeprefix("--").strip() for line in opening]


def views() -> str:
    """Each view that a question may name, and what a row of it is."""
    text = "".join((SQL / f"{name}.sql").read_text(encoding="utf-8") for name in ("views", "comparisons"))
    found = re.findall(r"((?:^-- .*\n)+)CREATE VIEW (\w+) AS", text, re.MULTILINE)
    if missing := set(VIEWS) - {name for _, name in found}:
        raise ValueError(f"views.sql says of {', '.join(sorted(missing))} not what a row is")
    lines = [row([f"`{name}`", " ".join(said.replace("-- ", "").split())]) for said, name in found]
    return "\n".join([row(["view", "what a row is"]), row(["---", "---"]), *lines])


def rooms() -> str:
    """The layers of `grid`, as the contract on imports in pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return "```text\n" + " > ".join(layers) + "\n```"


def promises() -> str:
    """Every promise of every kind, how toys break it, and which function then fails."""
    return "\n\n".join(f"### {folder.capitalize()}\n\n{_promises(kind)}" for kind, folder in KINDS.items())


def _promises(kind: str) -> str:
    lines = [row(["promise", "how a toy breaks it", "what fails"]), row(["---"] * 3)]
    for promise in suite.promises(kind):
        ways = " ".join(_broken(kind, toy) for toy in toys()[kind, promise.__name__])
        module = promise.__module__.removeprefix("tasks.").replace(".", "/")
        lines.append(row([suite.words(promise), ways, f"[`{promise.__name__}`](../tasks/{module}.py)"]))
    return "\n".join(lines)


def _broken(kind: str, toy: str) -> str:
    """How a toy breaks its promise: what it says of itself, if it says anything."""
    said = registry.describe(kind, toy).summary
    return said if said.endswith(".") else f"All that it says is {said!r}."


PARTS: dict[str, Callable[..., str]] = {
    "commands": commands,
    "list": components,
    "promises": promises,
    "rooms": rooms,
    "tree": tree,
    "tables": tables,
    "views": views,
}
"""What can be generated, by the first word of its marker."""


def _columns(found: Description, facts: tuple[str, ...], common: Mapping[str, str]) -> Iterator[str]:
    path = found.origin.partition(":")[0].removeprefix("tasks.").replace(".", "/")
    yield f"[`{found.name}`]({path}.py)"
    for fact in facts:
        said = getattr(found.facts, fact)
        yield said if isinstance(said, str) else ", ".join(said)
    own = {name: default for name, default in parameters(found).items() if name not in common}
    yield ", ".join(f"`{name}: {default}`" if default else f"`{name}`" for name, default in own.items())
    yield found.summary.replace(f", {found.paper}", "").replace("<", "&lt;") if found.paper else found.summary
    yield f"[paper]({found.paper})" if found.paper else ""


if __name__ == "__main__":
    for document in DOCUMENTS:
        before = document.read_text(encoding="utf-8")
        after = rendered(before)
        if after != before:
            document.write_text(after, encoding="utf-8")
            sys.stdout.write(f"written: {document.relative_to(ROOT)}\n")
