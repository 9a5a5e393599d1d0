"""Whether the files of a dataset lie under a data root, and whether they are its own: told from its facts.

Opens small files alone, so that it takes milliseconds, and no torch. Knows nothing of how a dataset is read: one that
declares no `files` lacks none.
"""

import functools
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath

from tasks import registry
from tasks.config import Component
from tasks.facts import DatasetFacts, chosen

_LARGEST = 2**20
"""Bytes of a file that is looked into. Files of labels are smaller, and labels tell data sets apart."""


def outside(*names: str | None) -> Iterator[str]:
    """Why folders and files that a spec names cannot be read: those that lead out of the data root."""
    for name in names:
        if name is not None and not stays_inside(name):
            yield f"{name!r} is not inside the data root: give a relative path without '..'"


def stays_inside(name: str) -> bool:
    """Whether a folder or file that a spec names cannot lead out of the data root, by its name alone."""
    named = PureWindowsPath(name)  # knows both kinds of slashes
    return not (named.anchor or ".." in named.parts or "\0" in name)


def lacking(dataset: Component, splits: Iterable[str], root: Path, *, download: bool = False) -> list[str]:
    """What keeps splits of a dataset from being read, a line each: files that are missing, or another data set's.

    With `download`, what a dataset fetches by itself is no lack.
    """
    splits = list(splits)
    facts = registry.describe("dataset", dataset.name).facts
    fetched = chosen(facts.fetched, dataset.parameters)
    how = "`--download` fetches them" if fetched else "they are not downloaded for you"
    absent = [] if fetched and download else _absent(_patterns(dataset, facts, splits), root)
    lines = [f"{dataset.name} is missing in {_listed(absent, root)}: {how}"] if absent else []
    generated = dataset.parameters.get("generated")
    if "train" in splits and isinstance(generated, str) and _absent([glob.escape(generated)], root):
        lines.append(f"{dataset.name} is also to be trained on {root / generated}, which is missing")
    return lines + mistaken(dataset, splits, root)


def mistaken(dataset: Component, splits: Iterable[str], root: Path) -> list[str]:
    """Each file of some splits that is known to be another data set's, such as Fashion-MNIST's in MNIST's folder.

    A file that is nobody's is let be: it may be a part of the data, or made for a test. `unknown` has those.
    """
    facts = registry.describe("dataset", dataset.name).facts
    found = _digests(dataset, facts, splits, root)
    others = {path: _owners().get(digest) for path, digest in found if digest != facts.digests.get(path)}
    return [f"{dataset.name}: {root / path} is {other}'s" for path, other in others.items() if other]


def unknown(dataset: Component, splits: Iterable[str], root: Path) -> list[str]:
    """Each file of some splits that is there, but is neither the published one nor a known one of another data set."""
    facts = registry.describe("dataset", dataset.name).facts
    return [
        f"{dataset.name}: {root / path} is not the published file"
        for path, digest in _digests(dataset, facts, splits, root)
        if facts.digests.get(path, digest) != digest and digest not in _owners()
    ]


def _patterns(dataset: Component, facts: DatasetFacts, splits: Iterable[str]) -> list[str]:
    """The paths below the root that some splits are read from, `*` as in a shell; each once."""
    values = {name: glob.escape(str(value)) or "." for name, value in dataset.parameters.items()}
    paths = [path for split in splits for path in chosen(facts.files.get(split), dataset.parameters) or ()]  # type: ignore[call-overload] # a split is one of the keys
    return list(dict.fromkeys(re.sub(r"{(\w+)}", lambda named: values.get(named[1], named[0]), path) for path in paths))


def _absent(patterns: Iterable[str], root: Path) -> list[str]:
    """Those of which there is nothing, or a folder in the place of a file."""
    return [pattern for pattern in patterns if not any(_found(pattern, root))]


def _found(pattern: str, root: Path) -> Iterator[bool]:
    if stays_inside(pattern):
        for name in glob.iglob(pattern, root_dir=root):  # noqa: PTH207 - what cannot be looked at is not there
            yield name.endswith("/") or os.path.isfile(root / name)  # noqa: PTH113 - the same


def _listed(patterns: list[str], root: Path) -> str:
    """The folder that they are in, and their names there."""
    inside = [pattern.rstrip("/").rpartition("/")[0] for pattern in patterns]
    folder = os.path.commonpath(inside) if all(inside) else ""
    names = [pattern[len(folder) + 1 if folder else 0 :] for pattern in patterns]
    return f"{root / folder}: {', '.join(names)}"


def _digests(dataset: Component, facts: DatasetFacts, splits: Iterable[str], root: Path) -> Iterator[tuple[str, str]]:
    """The SHA-256 of each small file of some splits."""
    for path in _patterns(dataset, facts, splits):
        file = root / path
        try:
            if stays_inside(path) and file.is_file() and file.stat().st_size <= _LARGEST:
                yield path, hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:  # which the loader says when it reads it
            continue


@functools.cache
def _owners() -> dict[str, str]:
    """By its digest, the dataset whose file that is."""
    found = [(name, registry.describe("dataset", name).facts.digests) for name in registry.built_in("dataset")]
    return {digest: name for name, digests in reversed(found) for digest in digests.values()}
