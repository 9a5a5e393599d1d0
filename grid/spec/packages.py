"""The packages that a spec's components need and this machine lacks: a warning, since another may be to run it."""

from grid.plan.asked import GridSpec
from tasks import packages, registry


def missing_packages(spec: GridSpec) -> list[str]:
    """A line for each component and package that is not installed here, with the command that installs it."""
    components = (component for block in spec.blocks for component in block.components())
    named = dict.fromkeys((component.kind, component.name) for component in components)
    return [line for kind, name in named for line in packages.lacking(registry.describe(kind, name))]
