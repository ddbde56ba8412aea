"""Archives and downloads: what would leave its folder, what is too large, what is not whole."""

import errno
import functools
import http.server
import io
import os
import tarfile
import threading
import zipfile

import pytest
import torchvision.datasets.utils

from infwidth.data import archives
from infwidth.errors import DataError


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "a/../../outside.png", "C:\\outside.png"])
def test_an_entry_that_leaves_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr(name, b"x")
    with pytest.raises(DataError, match="would leave the folder"):
        list(archives.zip_members(tmp_path / "evil.zip"))


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "a/../../outside.png"])
def test_an_entry_of_a_tar_that_leaves_its_folder_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "evil.tar.xz", "w:xz") as t:
        entry = tarfile.TarInfo(name)
        entry.size = 1
        t.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="would leave the folder"):
        list(archives.tar_members(tmp_path / "evil.tar.xz"))


def test_an_entry_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.png", bytes(1001))
    with tarfile.open(tmp_path / "bomb.tar.xz", "w:xz") as t:
        entry = tarfile.TarInfo("a.png")
        entry.size = 1001
        t.addfile(entry, io.BytesIO(bytes(1001)))
    for read, name in ((archives.zip_members, "bomb.zip"), (archives.tar_members, "bomb.tar.xz")):
        with pytest.raises(DataError, match=f"{name} holds the entry 'a.png' of .* GB; do not use"):
            list(read(tmp_path / name))


@pytest.fixture
def served(tmp_path):
    """Address of a local web server over a folder with x.zip."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x.zip").write_bytes(b"content")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # torchvision leaves an HTTPError's file open
def test_a_download_is_verified_before_it_appears(tmp_path, served):
    good = archives.Download(f"{served}/x.zip", "9a0364b9e99bb480dd25e1f0284c8555")
    assert good.fetch(tmp_path / "raw").read_bytes() == b"content"
    (tmp_path / "raw" / "x.zip").unlink()
    with pytest.raises(DataError, match="arrived with md5 9a0364b9e99bb480dd25e1f0284c8555 instead of 0000"):
        archives.Download(f"{served}/x.zip", "0" * 32).fetch(tmp_path / "raw")
    with pytest.raises(DataError, match="could not be downloaded"):
        archives.Download(f"{served}/absent.zip", "0" * 32).fetch(tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_download_that_does_not_end_leaves_nothing(tmp_path, monkeypatch, error):
    def stop(url, folder, filename):
        with open(os.path.join(folder, filename), "wb") as f:
            f.write(b"half")
        raise error

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", stop)
    with pytest.raises((DataError, KeyboardInterrupt), match="No space left on device|^$"):
        archives.Download("https://nowhere/x.zip", None).fetch(tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())
