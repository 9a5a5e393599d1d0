"""The packages that a spec's components need and this machine lacks: a warning, since another may be to run it."""

from collections.abc import Iterator

from grid.plan.asked import GridSpec
from tasks import packages, registry
from tasks.config import Component


def missing_packages(spec: GridSpec) -> list[str]:
    """A line for each component and package that is not installed here, with the command that installs it."""
    named = dict.fromkeys((component.kind, component.name) for component in _components(spec))
    return [line for kind, name in named for line in packages.lacking(registry.describe(kind, name))]


def _components(spec: GridSpec) -> Iterator[Component]:
    for block in spec.blocks:
        yield from (part for parts in block.parts.values() for component in parts for part in _with_parts(component))
        for asked in block.asked:
            yield from asked.under.components
            yield from (part for _, part in asked.source if isinstance(part, Component))


def _with_parts(component: Component) -> tuple[Component, ...]:
    return (component, *component.parts)
