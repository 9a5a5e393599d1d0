"""The options that commands share: each means the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from grid.questions import FORMATS

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

spec_argument = click.argument("spec", metavar="SPEC")
store_argument = click.argument("store", metavar="STORE")
store_option = click.option("--store", required=True, help="Directory or bucket of the results.")
profile_option = click.option("--profile", help="Use the spec's overrides of this name.")
set_option = click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one value.")
shard_option = click.option(
    "--shard-size", type=click.IntRange(1), default=100, show_default=True, help="Samples per task and file."
)
grid_option = click.option("--grid", metavar="NAME", help="Only this grid. Default: every one in the store.")
where_option = click.option(
    "--where", multiple=True, metavar="AXIS=VALUE,...",
    help="Only what has these values, as in a spec's exclude: head=softmax,attack.steps=10,seed=[0,1].",
)  # fmt: skip
over_option = click.option(
    "--over", multiple=True, metavar="AXIS",
    help="One line for those that differ only on this axis (seed, activation.cap): mean, sd, range, interval.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object, also on errors.")
format_option = click.option("--format", "form", type=click.Choice(FORMATS), help="Default: text.")
output_option = click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write here.")


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, listed by `--help` in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


spec_options = together(spec_argument, profile_option, set_option)
printing_options = together(format_option, json_option, output_option)
data_root_option = click.option(
    "--data-root", type=click.Path(path_type=Path), envvar="ATTACKGRID_DATA", show_envvar=True,
    help="Where datasets lie. Default: the user's cache.",
)  # fmt: skip
execution_options = together(
    click.option("--address", default="local", show_default=True, help="local, inline, auto or HOST:PORT."),
    click.option("--cpus", type=click.IntRange(1), help="CPU workers (inline: threads). Default: all."),
    click.option("--gpus", type=click.IntRange(0), help="GPUs to use. Default: all there are."),
    click.option("--gpu-fraction", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 help="Share of a GPU per worker."),
    click.option("--pretend-gpus", is_flag=True, help="Let a local Ray believe in --gpus that are not there."),
    data_root_option,
    click.option("--download", is_flag=True, help="Download datasets that are missing."),
    shard_option,
    click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True,
                 help="Samples attacked at a time; halved when a GPU runs out of memory."),
    click.option("--fixed-batch", type=click.IntRange(1),
                 help="Pad every model pass to this many images: rounding cannot depend on the batch."),
    click.option("--quiet", is_flag=True, help="No progress."),
    json_option,
)  # fmt: skip
"""The options of `launch` and `resume`: where and how, never what."""
