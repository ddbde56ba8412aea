"""Reading files that came from elsewhere: checksums, extraction that cannot leave its folder, downloads."""

import hashlib
import http.client
import lzma
import os
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infwidth.data.workplace import workplace
from infwidth.errors import DataError

DECIDES_NUMBERS = False

LARGEST_MEMBER = 1 << 28
"""Bytes of the largest file that is read out of an archive: an archive of a few kilobytes can hold terabytes."""


def first_file(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    """The first file of one of these names in the first of the folders that has one."""
    names = tuple(names)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def checksum(path: Path, algorithm: str) -> str:
    """Hex digest of a file, read in blocks."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_member(archive: Path, name: str, size: int) -> None:
    """DataError for an entry that would leave the folder it is extracted to, or that is far larger than any we need."""
    parts = Path(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or ":" in name:
        raise DataError(
            f"{archive} holds the entry {name!r}, which would leave the folder it is extracted to; do not use this "
            "archive."
        )
    if size > LARGEST_MEMBER:
        raise DataError(f"{archive} holds the entry {name!r} of {size / 1e9:.1f} GB; do not use this archive.")


def zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in a zip archive, in order, each verified by its CRC; nothing is extracted.

    Raises DataError for a truncated or damaged archive and for an entry that must not be there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check_member(path, info.filename, info.file_size)
                if not info.is_dir():
                    yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as e:
        raise DataError(f"{path} is not a whole zip archive ({e}); delete it and fetch it again.") from e


def tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in a tar archive of any compression, in order, read as a stream.

    Raises DataError for a truncated or damaged archive, and for an entry that must not be there.
    """
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                _check_member(path, member.name, member.size)
                if member.isfile():
                    yield member.name, archive.extractfile(member).read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as e:
        raise DataError(f"{path} is not a whole tar archive ({e}); delete it and fetch it again.") from e


@dataclass(frozen=True)
class Download:
    """A file at its official address with its official checksum; None where only its contents have one, which is
    compared when they are read."""

    url: str
    digest: str | None
    algorithm: str = "md5"

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def fetch(self, folder: Path) -> Path:
        """Download into ``folder`` with progress; the file appears only once it is whole and verified.

        Raises DataError if there is no connection or no room, or the checksum is wrong.
        """
        from torchvision.datasets.utils import download_url

        target = folder / self.filename
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)
        with workplace(target) as temporary:
            try:
                download_url(self.url, str(temporary), self.filename)
                self._verify(temporary / self.filename)
                os.replace(temporary / self.filename, target)
            except (OSError, http.client.HTTPException) as e:
                raise DataError(f"{self.url} could not be downloaded ({getattr(e, 'reason', e)}).") from e
            finally:
                socket.setdefaulttimeout(timeout)
        return target

    def _verify(self, path: Path) -> None:
        found = checksum(path, self.algorithm) if self.digest else None
        if found != self.digest:
            raise DataError(
                f"{self.url} arrived with {self.algorithm} {found} instead of {self.digest}; the download was "
                "discarded."
            )
