"""Where the source of a module lies, found without importing it or a package that it is in.

`check` reads foreign components and runs none of their code. Knows nothing of what a source declares.
"""

import sys
from contextlib import suppress
from pathlib import Path

RAISED = (Exception, SystemExit)
"""What somebody's component may raise: SystemExit too, which would end the process as if all were well."""


class ComponentSourceError(ValueError):
    """A component's source cannot be read, or does not keep the rules of a declaration; the message says which."""


def source_of(module: str) -> Path:
    """The file of a module, `package.module`. Raises ComponentSourceError where there is none, or no Python source."""
    top, *below = module.split(".")
    if not all(part.isidentifier() for part in (top, *below)):
        raise ComponentSourceError(f"{_shown(module)} is no name of a module: package.module is wanted")
    found = _top(top)
    if found is None:
        raise ComponentSourceError(
            f"there is no module {_shown(top)}: it is neither installed, nor here, nor on PYTHONPATH"
        )
    origin, folders = found
    for depth, name in enumerate(below, 1):
        found = _in(folders, name)
        if found is None:
            raise ComponentSourceError(f"there is no module {_shown('.'.join([top, *below[:depth]]))}")
        origin, folders = found
    if origin is None or not origin.endswith(".py"):
        raise ComponentSourceError(f"module {_shown(module)} has no Python source, from which a component is read")
    return Path(origin)


def search_here() -> None:
    """Have Python look for modules in the current folder as well, behind all others: what runs components does."""
    with suppress(OSError):  # a folder that somebody has removed
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)


def _top(name: str) -> tuple[str | None, list[Path]] | None:
    """The file and, of a package, the folders of a module without dots, also in the current folder.

    A finder of the import system may only look, and runs nothing of it.
    """
    for finder in sys.meta_path:
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec.origin, [Path(folder) for folder in spec.submodule_search_locations or ()]
    return _in([Path()], name)


def _in(folders: list[Path], name: str) -> tuple[str | None, list[Path]] | None:
    """The file and, of a package, the folders of a module that lies in some folders."""
    namespace = []
    for folder in folders:
        package, module = folder / name, folder / f"{name}.py"
        try:
            if (package / "__init__.py").is_file():
                return str(package / "__init__.py"), [package]
            if module.is_file():
                return str(module), []
            if package.is_dir():
                namespace.append(package)
        except OSError:  # a name that is too long for the file system
            continue
    return (None, namespace) if namespace else None


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:57]}...")
