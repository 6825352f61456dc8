"""Experiments and seeds, beyond what garage was recorded to do."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ganglion.training import ExperimentContext, get_seed, set_seed, wrap_experiment
from ganglion.training.launch_archive import archive_launch_repo, describe_launch
from ganglion.training.seeding import apart


@pytest.fixture
def cwd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganglion.training.launch_archive.launcher", lambda: None)
    return tmp_path


def experiment(ctxt, **values):  # noqa: ARG001
    return Path(ctxt.snapshot_dir)


@pytest.mark.usefixtures("cwd")
def test_variant_of_any_values() -> None:
    folder = wrap_experiment(experiment)(
        array=np.arange(3), number=np.float32(0.5), path=Path("a/b"), kind=dict, function=np.mean, other={1: {2}}
    )
    assert json.loads((folder / "variant.json").read_text()) == {
        "array": [0, 1, 2],
        "number": 0.5,
        "path": "a/b",
        "kind": "builtins.dict",
        "function": "numpy.mean",
        "other": {"1": "{2}"},
    }


@pytest.mark.usefixtures("cwd")
@pytest.mark.parametrize("options", [{"name": "../../x"}, {"name": "/x"}, {"name_parameters": "passed"}])
def test_names_stay_inside(options) -> None:
    with pytest.raises(ValueError, match="leads out of the folder"):
        wrap_experiment(**options)(experiment)(a="x/../../../../y")
    assert not Path("data").exists()


@pytest.mark.usefixtures("cwd")
def test_unknown_mode_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="unknown snapshot mode 'sometimes'"):
        wrap_experiment(snapshot_mode="sometimes")
    with pytest.raises(ValueError, match="unknown snapshot mode 'sometimes'"):
        wrap_experiment(experiment)({"snapshot_mode": "sometimes"})
    with pytest.raises(ValueError, match="unknown snapshot mode"):
        ExperimentContext("x", "sometimes")
    assert not Path("data").exists()


@pytest.mark.usefixtures("cwd")
def test_a_file_is_in_the_way() -> None:
    Path("there").touch()
    assert wrap_experiment(log_dir="there")(experiment)() == Path("there_1")
    with pytest.raises(FileExistsError):
        wrap_experiment(log_dir="there", use_existing_dir=True)(experiment)()


@pytest.mark.usefixtures("cwd")
def test_return_value_and_docs_pass_through() -> None:
    @wrap_experiment(name="n")
    def documented(ctxt, a=1):
        """Text."""
        return ctxt.snapshot_dir, a

    assert documented.__doc__ == "Text."
    assert documented(a=2)[1] == 2
    assert describe_launch() == {}


def repository(folder: Path) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(("git", *identity, *command), cwd=folder, check=True)


def test_archive_leaves_experiments_and_deleted_files_out(tmp_path, monkeypatch) -> None:
    for name in ("exp.py", "gone.py", "sub dir/ü.txt", "data/local/old.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    repository(tmp_path)
    (tmp_path / "gone.py").unlink()
    monkeypatch.setattr("ganglion.training.launch_archive.launcher", lambda: tmp_path / "exp.py")
    archive_launch_repo(tmp_path / "data", exclude=tmp_path / "data" / "local")
    with tarfile.open(tmp_path / "data" / "launch_archive.tar.xz") as archive:
        assert archive.getnames() == ["exp.py", "sub dir/ü.txt"]
    assert describe_launch()["githash"].endswith("-dirty")
    (tmp_path / "gone.py").write_text("x")
    (tmp_path / "data" / "launch_archive.tar.xz").unlink()
    assert not describe_launch()["githash"].endswith("-dirty")


def test_script_without_a_repository(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr("ganglion.training.launch_archive.launcher", lambda: tmp_path / "exp.py")
    assert describe_launch() == {"launcher": str(tmp_path / "exp.py")}
    archive_launch_repo(tmp_path, exclude=tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("PATH", "")
    assert describe_launch() == {"launcher": str(tmp_path / "exp.py")}


def test_set_seed() -> None:
    draws = []
    for seed in (4294967294 + 5, 5):
        set_seed(seed)
        assert get_seed() == 5
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    for seed in (1.5, True, "1"):
        with pytest.raises(TypeError, match="the seed must be an int"):
            set_seed(seed)
    assert get_seed() == 5


def test_apart() -> None:
    def draw(words):
        with apart(np.random.SeedSequence(words)):
            return random.random(), np.random.rand(), torch.rand(1).item()

    one = draw([1, 2])
    torch.rand(1), random.random(), np.random.rand()
    assert draw([1, 2]) == one
    assert not set(draw([1, 3])) & set(one)


def test_an_exception_puts_the_generators_back() -> None:
    set_seed(1)
    expected = torch.rand(1)
    set_seed(1)
    with pytest.raises(KeyError), apart(np.random.SeedSequence(0)):
        torch.rand(5)
        raise KeyError
    assert torch.equal(torch.rand(1), expected)


def test_importing_costs_no_ray_and_no_tensorboard() -> None:
    code = "import sys, ganglion.training; sys.exit(any(name in sys.modules for name in ('ray', 'tensorboard')))"
    subprocess.run((sys.executable, "-c", code), check=True)


@pytest.mark.usefixtures("cwd")
def test_the_function_may_be_named() -> None:
    experiment = wrap_experiment(function=lambda ctxt, seed=1: (ctxt.snapshot_mode, seed), archive_launch_repo=False)
    assert experiment(seed=3) == ("last", 3)
