"""Reading files that came from elsewhere: checksums, extraction that cannot leave its folder, downloads."""

import hashlib
import lzma
import shutil
import socket
import tarfile
import urllib.error
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infwidth.errors import DataError


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


def zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in a zip archive, in order, each verified by its CRC.

    Raises DataError for a truncated or damaged archive and for an entry that would leave the folder it is extracted to.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                parts = Path(info.filename.replace("\\", "/")).parts
                if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in info.filename:
                    raise DataError(
                        f"{path} holds the entry {info.filename!r}, which would leave the folder it is extracted to; do not use this archive."
                    )
                if not info.is_dir():
                    yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as e:
        raise DataError(f"{path} is not a whole zip archive ({e}); delete it and fetch it again.") from e


def tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in a tar archive of any compression, in order, read as a stream; nothing is extracted.

    Raises DataError for a truncated or damaged archive, and for an entry that would leave the folder it is extracted to.
    """
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                parts = Path(member.name.replace("\\", "/")).parts
                if member.name.startswith(("/", "\\")) or ".." in parts:
                    raise DataError(
                        f"{path} holds the entry {member.name!r}, which would leave the folder it is extracted to; do not use this archive."
                    )
                if member.isfile():
                    yield member.name, archive.extractfile(member).read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as e:
        raise DataError(f"{path} is not a whole tar archive ({e}); delete it and fetch it again.") from e


@dataclass(frozen=True)
class Download:
    """A file at its official address with its official checksum; None where only its contents have one, checked when they are read."""

    url: str
    digest: str | None
    algorithm: str = "md5"

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def fetch(self, folder: Path) -> Path:
        """Download into ``folder`` with progress; the file appears only once it is whole and verified.

        Raises DataError if there is no connection or the checksum is wrong.
        """
        from torchvision.datasets.utils import download_url

        target, partial = folder / self.filename, folder / f".{self.filename}.partial"
        partial.unlink(missing_ok=True)
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download_url(self.url, str(folder), partial.name)
        except (urllib.error.URLError, OSError) as e:
            partial.unlink(missing_ok=True)
            raise DataError(f"{self.url} could not be downloaded ({getattr(e, 'reason', e)}).") from e
        finally:
            socket.setdefaulttimeout(timeout)
        found = checksum(partial, self.algorithm) if self.digest else None
        if found != self.digest:
            partial.unlink()
            raise DataError(
                f"{self.url} arrived with {self.algorithm} {found} instead of {self.digest}; the download was discarded."
            )
        shutil.move(partial, target)
        return target
