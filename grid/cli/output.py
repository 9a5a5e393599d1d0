"""What commands print: one JSON object, or tables and text, to stdout or to a file; and what they complain of."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grid.errors import GridError, Problem, SpecError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Output:
    """How and where a command prints: `form` is one of FORMATS, `path` a file in place of stdout."""

    form: str
    path: Path | None = None

    @classmethod
    def of(cls, form: str | None, output: Path | None, *, as_json: bool) -> "Output":
        """From the options `--format`, `-o` and `--json`."""
        return cls("json" if as_json else form or "text", output)

    @property
    def width(self) -> int | None:
        """The width of the terminal that it prints to; None where that is none."""
        if self.path is not None or not sys.stdout.isatty():
            return None
        return shutil.get_terminal_size().columns

    @property
    def is_json(self) -> bool:
        """Whether one JSON object is wanted."""
        return self.form == "json"

    def write(self, text: str) -> None:
        """A text that ends in a newline when it is written. Raises UsageError where the file cannot be."""
        if self.path is None:
            click.echo(text)
            return
        try:
            self.path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write_object(self, value: Mapping[str, Any]) -> None:
        """One JSON object."""
        self.write(json.dumps(value, indent=1, ensure_ascii=False))

    def write_rows(self, rows: "pa.Table", **about: object) -> None:
        """A table as it is: in JSON {..., rows: [...]}."""
        if self.is_json:
            self.write_object({**about, "rows": jsonable(rows)})
        else:
            from grid.results.tables import render  # noqa: PLC0415 - only commands that print tables need it

            self.write(render(rows, self.form, width=self.width))


def jsonable(rows: "pa.Table") -> Any:  # noqa: ANN401 - a JSON value
    """The rows of a table as JSON has them."""
    from grid.results.tables import render  # noqa: PLC0415 - only commands that print tables need it

    return json.loads(render(rows, "json"))


def error_facts(error: GridError) -> dict[str, Any]:
    """What `--json` prints of an error."""
    problems = error.problems if isinstance(error, SpecError) else []
    return {
        "ok": False,
        "error": type(error).__name__.removesuffix("Error"),
        "message": str(error),
        "exit_code": error.exit_code,
        "problems": [problem_facts(problem) for problem in problems],
    }


def problem_facts(problem: Problem) -> dict[str, Any]:
    """What `--json` prints of one problem or warning of a spec."""
    return {"line": problem.line, "key": problem.key, "message": problem.message}


class Broken:
    """Says each file that is no result, once, and remembers that there was one (as grep does: output, then 2)."""

    def __init__(self, stays: str = "passed over; `attackgrid resume` redoes its samples") -> None:
        self._stays = stays
        self.exit_code = 0

    def __call__(self, path: str, reason: str) -> None:
        """Say it."""
        click.echo(f"attackgrid: {path}: {reason}: {self._stays}", err=True)
        self.exit_code = 4
