"""Packages that components need, looked for without importing them."""

import importlib.util
from typing import Any

from tasks.registry import Description

_INSTALL = {
    "art": "pip install 'attackgrid[peers]'",
    "foolbox": "pip install 'attackgrid[peers]'",
    # It asks for requests 2.25, which is years behind, although no attack uses it.
    "torchattacks": "pip install 'attackgrid[peers]' && pip install --no-deps torchattacks",
}


def install(package: str) -> str:
    """The command that installs a package, known by the name that it is imported by."""
    return _INSTALL.get(package, f"pip install {package}")


def lacking(described: Description[Any]) -> list[str]:
    """What a component needs that is not installed here, a line for each package with the command to install it."""
    return [
        f"{described.kind} {described.name!r} needs the package {package!r}, which is not installed: {install(package)}"
        for package in described.facts.requires
        if not _is_installed(package)
    ]


def _is_installed(package: str) -> bool:
    try:
        found = importlib.util.find_spec(package.partition(".")[0])
    except ValueError:  # a module that was put in place without saying where it comes from
        return True
    return found is not None and found.origin is not None  # a folder of that name is no package
