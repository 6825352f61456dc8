"""The LibTorch engine is run out of a cache folder, so nobody else may be able to put one there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganglion.errors import EngineUnavailableError
from ganglion.runtime import libtorch_build


@pytest.fixture
def torch(tmp_path, monkeypatch):
    """A folder that stands for torch, with the library built already in a cache of this user alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def build(_, library):
        libtorch_build._make_folder(library.parent)
        library.write_bytes(b"library")
        library.chmod(0o755)

    monkeypatch.setattr(libtorch_build, "_compile", build)
    monkeypatch.setattr(libtorch_build.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(libtorch_build.metadata, "version", lambda _: "2.0")
    return tmp_path / "torch"


def test_what_only_this_user_can_write_is_used(torch):
    old = os.umask(0)
    try:
        library = libtorch_build.build_libtorch_engine(torch)
    finally:
        os.umask(old)
    assert library.read_bytes() == b"library"
    assert library.parent.stat().st_mode & 0o777 == 0o700
    assert libtorch_build.build_libtorch_engine(torch, build=False) == library


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o757])
@pytest.mark.parametrize("level", ["library", "folder", "cache"])
def test_what_others_can_write_is_refused(torch, mode, level):
    library = libtorch_build.build_libtorch_engine(torch)
    path = {"library": library, "folder": library.parent, "cache": library.parent.parent}[level]
    path.chmod(mode)
    for build in (True, False):
        with pytest.raises(EngineUnavailableError, match=r"other users may write to it.*GANGLION_LIBTORCH") as caught:
            libtorch_build.build_libtorch_engine(torch, build=build)
        assert f"'{path}'" in str(caught.value)


def test_a_folder_that_is_not_there_yet_in_one_that_others_can_write(torch, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(EngineUnavailableError, match="other users may write to it"):
        libtorch_build.build_libtorch_engine(torch)
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "cache").chmod(0o1777)  # as /tmp: nobody renames what is not theirs
    libtorch_build.build_libtorch_engine(torch)


def test_links_are_looked_through(torch, tmp_path):
    library = libtorch_build.build_libtorch_engine(torch)
    elsewhere = tmp_path / "open"
    elsewhere.mkdir()
    library.rename(elsewhere / "library.so")
    library.symlink_to(elsewhere / "library.so")
    assert libtorch_build.build_libtorch_engine(torch) == library
    elsewhere.chmod(0o777)
    with pytest.raises(EngineUnavailableError, match=f"'{elsewhere}': other users"):
        libtorch_build.build_libtorch_engine(torch)


def test_what_belongs_to_somebody_else_is_refused(torch, monkeypatch):
    library = libtorch_build.build_libtorch_engine(torch)
    owner = os.geteuid() or 12345
    if os.geteuid() == 0:
        os.chown(library, owner, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(EngineUnavailableError, match=f"belongs to user {owner}"):
        libtorch_build.build_libtorch_engine(torch)
    assert Path(library).exists()
