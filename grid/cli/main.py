"""The group of all commands, and how it ends: with the code of the error, and never with a traceback of a mistake."""

import json
import sys
from typing import Any

import click

from grid import __version__
from grid.cli import answers, contracts, runs, specs
from grid.cli.output import error_facts
from grid.errors import GridError, UsageError

EXIT_CODES = (
    "Exit codes: 0 complete, 1 internal error, 2 usage or spec, 3 incomplete, 4 store, 5 a broken promise, "
    "130 interrupted."
)


class Commands(click.Group):
    """Turns every GridError into its message and exit code, and with `--json` into an object as well."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command."""
        wants_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except GridError as error:
            self._say(error, wants_json)
            ctx.exit(error.exit_code)
        except click.UsageError as error:
            if wants_json:
                click.echo(json.dumps(error_facts(UsageError(error.format_message())), indent=1))
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader left, as `head` does
            ctx.exit(0)
        except KeyboardInterrupt:
            click.echo("attackgrid: stopped; what was finished is in the store", err=True)
            ctx.exit(130)

    def _say(self, error: GridError, wants_json: bool) -> None:
        click.echo(f"attackgrid: {error}", err=True)
        if wants_json:
            click.echo(json.dumps(error_facts(error), indent=1))

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, its help ending with the exit codes."""
        cmd.epilog = EXIT_CODES
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are used, not by name."""
        del ctx
        return list(self.commands)


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attackgrid")
def main() -> None:
    """Launch, resume and query large grids of adversarial attacks on Ray."""


for command in (*specs.COMMANDS, *runs.COMMANDS, *answers.COMMANDS, specs.list_all, *contracts.COMMANDS):
    main.add_command(command)
