"""Whole files, atomically, on a local path or in a bucket. Knows nothing of what the files mean.

A commit writes a temporary name, flushes it to the disk and links it to its final name: the final name appears whole
or not at all, and where it already exists the first commit wins. A bucket has no link; there a single put does it.
"""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import fs

from grid.errors import StoreError

_TRIES = 20
"""How often something is tried in which another process may interfere, by removing a folder or putting a file there."""


class Files:
    """Files under one root. Paths are relative to it, with forward slashes. Every OSError becomes a StoreError."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.local = "://" not in location
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._fs: fs.FileSystem
        if self.local:
            self._fs, self.root = fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
            return
        try:
            self._fs, self.root = fs.FileSystem.from_uri(location)
        except (OSError, ValueError) as error:
            raise StoreError(f"{location}: not a store location: {error}") from error

    def absolute(self, path: str) -> str:
        """The path as the file system itself names it."""
        return str(PurePosixPath(self.root) / path) if path else self.root

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that name."""
        return bool(self._info(path).type != fs.FileType.NotFound)

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is no file."""
        info = self._info(path)
        return int(info.size) if info.type == fs.FileType.File else None

    def read(self, path: str) -> bytes:
        """A whole file. Raises FileNotFoundError if there is none."""
        try:
            with self._fs.open_input_stream(self.absolute(path)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self.absolute(path)}: cannot be read: {error}") from error

    def open(self, path: str) -> pa.NativeFile:
        """A file for reading anywhere in it. Raises OSError."""
        return self._fs.open_input_file(self.absolute(path))

    def here(self, path: str) -> str:
        """The file as a local path: itself, or a copy of what a bucket has, which lasts as long as this object."""
        if self.local:
            return self.absolute(path)
        self._copies = self._copies or tempfile.TemporaryDirectory(prefix="attackgrid-")
        copy = Path(self._copies.name) / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(self.read(path))
        return str(copy)

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted, temporary ones left out; none if there is no such folder."""
        if self.local:
            try:
                return sorted(name for name in os.listdir(self.absolute(folder)) if not name.startswith("."))  # noqa: PTH208 - a Path per entry costs seconds in a large store
            except FileNotFoundError:
                return []
            except OSError as error:
                raise StoreError(f"{self.absolute(folder)}: cannot be listed: {error.strerror}") from error
        selector = fs.FileSelector(self.absolute(folder), allow_not_found=True)
        return sorted(i.base_name for i in self._fs.get_file_info(selector) if not i.base_name.startswith("."))

    def walk(self, folder: str) -> Iterator[str]:
        """Every file `folder/<name>/<file>`, in order."""
        for name in self.names(folder):
            for file in self.names(f"{folder}/{name}"):
                yield f"{folder}/{name}/{file}"

    def commit(self, path: str, data: bytes | memoryview, *, replace: bool = False) -> bool:
        """Make `path` hold `data`, whole. False if it was there already and `replace` is not set."""
        if not replace and self.exists(path):
            return False
        target = self.absolute(path)
        try:
            if self.local:
                return _commit_local(Path(target), data, replace=replace)
            with self._fs.open_output_stream(target) as stream:
                stream.write(data)
        except OSError as error:
            raise self._cannot_write(path, error) from error
        return True

    def commit_folder(self, path: str, contents: Mapping[str, bytes], *, marker: str) -> bool:
        """Make `path` a folder with these files, all or none; `marker` is the file that says it is whole.

        False if a whole one was there first. On a bucket the marker is put last.
        """
        if self.exists(f"{path}/{marker}"):
            return False
        try:
            if self.local:
                return _commit_local_folder(Path(self.absolute(path)), contents, marker)
        except OSError as error:
            raise self._cannot_write(path, error) from error
        for name in sorted(contents, key=lambda name: name == marker):
            self.commit(f"{path}/{name}", contents[name], replace=True)
        return True

    def append(self, path: str, text: str) -> None:
        """Add text at the end of a local file; on a bucket, where nothing can be appended, do nothing."""
        if not self.local:
            return
        try:
            target = Path(self.absolute(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise self._cannot_write(path, error) from error

    def set_aside(self, path: str) -> str:
        """Rename a file or folder so that nothing reads it any more, keeping its content. Returns the new path."""
        aside = f"{path}.aside-{uuid.uuid4().hex[:8]}"
        try:
            self._fs.move(self.absolute(path), self.absolute(aside))
        except OSError as error:
            raise self._cannot_write(path, error) from error
        return aside

    def remove(self, path: str) -> None:
        """Remove one file; nothing happens if it is gone."""
        try:
            self._fs.delete_file(self.absolute(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot_write(path, error) from error

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it; nothing happens if it is gone."""
        for tries_left in reversed(range(_TRIES)):
            try:
                self._fs.delete_dir(self.absolute(path))
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not tries_left:  # another process has just put a file there
                    raise self._cannot_write(path, error) from error
            else:
                return

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return self._fs.get_file_info(self.absolute(path))
        except OSError as error:
            raise StoreError(f"{self.absolute(path)}: cannot be looked up: {error}") from error

    def _cannot_write(self, path: str, error: OSError) -> StoreError:
        reason = error.strerror or str(error)
        return StoreError(f"{self.absolute(path)}: cannot be written: {reason}. Nothing stored so far is lost.")


def _write(path: Path, data: bytes | memoryview) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _commit_local(target: Path, data: bytes | memoryview, *, replace: bool) -> bool:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # there is no folder yet, or another process has just removed it
            return _commit_once(target, data, replace=replace)
        with suppress(FileExistsError):  # made by another process, and gone again before this one has looked
            target.parent.mkdir(parents=True, exist_ok=True)
    return _commit_once(target, data, replace=replace)


def _commit_once(target: Path, data: bytes | memoryview, *, replace: bool) -> bool:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        _write(temporary, data)
        if replace:
            temporary.replace(target)
        else:
            target.hardlink_to(temporary)  # unlike a rename, a link never overwrites: the first commit wins
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _commit_local_folder(target: Path, contents: Mapping[str, bytes], marker: str) -> bool:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(parents=True)
    try:
        for name, data in contents.items():
            _write(temporary / name, data)
        if target.exists() and not (target / marker).exists():
            target.rename(target.with_name(f"{target.name}.aside-{uuid.uuid4().hex[:8]}"))
        temporary.rename(target)  # onto a folder that is not empty this fails: the first commit wins
    except OSError:
        if (target / marker).exists():
            return False
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True
