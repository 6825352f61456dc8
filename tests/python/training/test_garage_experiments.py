"""What garage's `wrap_experiment`, `Snapshotter` and `Trainer` were recorded to do. Every case is here.

garage's snapshots are `.pkl` files, ours `.pt`; texts of messages are our own. `DIFFERENT` holds the cases that come
out otherwise on purpose.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_parts import config, ten_steps

from ganglion.training import (
    NotSetupError,
    SnapshotNotFoundError,
    Snapshotter,
    Trainer,
    get_seed,
    set_seed,
    wrap_experiment,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "garage" / "experiment_cases.json"
CASES = {case["case"]: case for case in json.loads(GOLDEN.read_text(encoding="utf-8"))}

DIFFERENT = {
    "wrap.exception_leaves_logger_outputs": {"outputs_left": 0, "prefixes_left": []},
    "snapshotter.load.params_and_itr.first": "itr_3.pt",
    # garage raises its own NotAFileError, and an IndexError where there are only other files.
    "snapshotter.load.all.7": SnapshotNotFoundError,
    "snapshotter.load.params_only.3": SnapshotNotFoundError,
    "snapshotter.load.foreign_pkl": FileNotFoundError,
    # The number of the sampler's calls is kept, and sampler, generators and policy are parts of the snapshot.
    "trainer.train_and_snapshot": {
        "keys": ["algo", "env", "objects", "policy", "random", "sampler", "seed", "stats", "train_args"]
    },
}


def expected(name: str):
    case = CASES[name]
    if name in DIFFERENT and not isinstance(DIFFERENT[name], dict):
        return DIFFERENT[name]
    if not case["ok"]:
        return {"ValueError": ValueError, "TypeError": TypeError, "NotSetupError": NotSetupError}.get(
            case["error_type"], FileNotFoundError
        )
    result = json.loads(json.dumps(case["result"]).replace(".pkl", ".pt"))
    return {**result, **DIFFERENT[name]} if name in DIFFERENT else result


@pytest.fixture
def cwd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganglion.training.launch_archive.launcher", lambda: None)
    return tmp_path


def shown(ctxt, cwd: Path) -> dict:
    return {
        "snapshot_dir": ctxt.snapshot_dir.replace(str(cwd), "$CWD"),
        "snapshot_mode": ctxt.snapshot_mode,
        "snapshot_gap": ctxt.snapshot_gap,
    }


def my_exp(ctxt, seed, lr=0.5):  # noqa: ARG001
    return ctxt


def named(ctxt, seed, lr=0.5, name_="x"):  # noqa: ARG001
    return Path(ctxt.snapshot_dir).name


named.__name__ = "my_exp"


def test_directories_are_numbered(cwd) -> None:
    experiment = wrap_experiment(my_exp)
    results = [shown(experiment(seed=1), cwd) for _ in range(3)]
    visible = str(inspect.signature(experiment))
    assert [*results, experiment.__name__, visible] == expected("wrap.default_dirs_are_sequential")


def test_files(cwd) -> None:
    wrap_experiment(my_exp)(seed=1)
    files = sorted(path.relative_to(cwd).as_posix() for path in cwd.rglob("*") if path.is_file())
    variant = json.loads((cwd / "data/local/experiment/my_exp/variant.json").read_text())
    assert {"files": files, "variant": variant} == expected("wrap.files_written")


@pytest.mark.usefixtures("cwd")
@pytest.mark.parametrize("name", NAMED := ["wrap.name_parameters_passed", "wrap.name_parameters_all"])
def test_name_parameters(name) -> None:
    experiment = wrap_experiment(name_parameters=name.rpartition("_")[2])(named)
    names = [experiment(seed=1), experiment(lr=0.1, seed=2), experiment(seed=3, name_="a/b")]
    assert names == expected(name)
    # An explicit folder has its own name.
    assert experiment({"log_dir": "a/b"}, seed=3) == "b"


def test_existing_directory(cwd) -> None:
    experiment = wrap_experiment(use_existing_dir=True)(my_exp)
    folders = [shown(experiment(seed=seed), cwd)["snapshot_dir"] for seed in (1, 2)]
    assert folders == expected("wrap.use_existing_dir")


@pytest.mark.usefixtures("cwd")
def test_log_dir() -> None:
    experiment = wrap_experiment(log_dir="some/where", prefix="p", name="n")(my_exp)
    assert [experiment(seed=1).snapshot_dir for _ in range(2)] == expected("wrap.log_dir_overrides_name_and_prefix")


def test_name_prefix_snapshot(cwd) -> None:
    experiment = wrap_experiment(name="nm", prefix="pf", snapshot_mode="gap", snapshot_gap=3)(my_exp)
    assert shown(experiment(seed=1), cwd) == expected("wrap.name_prefix_snapshot")


def test_call_time_options(cwd) -> None:
    experiment = wrap_experiment(my_exp)
    options = {"name": "over", "snapshot_mode": "all"}
    assert shown(experiment(options, seed=1), cwd) == expected("wrap.call_time_options_dict")


def wrong_first(context):
    return context


def nothing():
    return None


WRAP_ERRORS = {
    "wrap.name_parameters_bad": lambda: wrap_experiment(name_parameters="some")(my_exp),
    "wrap.call_time_options_unknown_key": lambda: wrap_experiment(my_exp)({"bogus": 1}, seed=1),
    "wrap.positional_argument": lambda: wrap_experiment(my_exp)(1),
    "wrap.first_param_not_ctxt": lambda: wrap_experiment(wrong_first),
    "wrap.no_params": lambda: wrap_experiment(nothing),
    "wrap.decorate_two": lambda: wrap_experiment(name="x")(my_exp, my_exp),
    "wrap.missing_required": lambda: wrap_experiment(my_exp)(),
}


@pytest.mark.parametrize("name", WRAP_ERRORS)
def test_wrap_errors(name, cwd) -> None:
    with pytest.raises(expected(name)):
        WRAP_ERRORS[name]()
    # Only a call that gets to the function makes a folder.
    assert (cwd / "data/local/experiment/my_exp").exists() == (name == "wrap.missing_required")


@pytest.mark.usefixtures("cwd")
def test_exception_closes_the_logger() -> None:
    contexts = []

    @wrap_experiment
    def fails(ctxt):
        contexts.append(ctxt)
        ctxt.logger.record("TotalEnvSteps", 1)
        ctxt.logger.dump(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    logger = contexts[0].logger
    found = {"outputs_left": int(logger._writer is not None), "prefixes_left": list(logger.prefixes)}
    assert found == expected("wrap.exception_leaves_logger_outputs")


def test_archive(tmp_path) -> None:
    """A script in a repository of its own, with a large file and an ignored one."""
    (tmp_path / ".gitignore").write_text("ignored.txt\ndata\n")
    (tmp_path / "ignored.txt").write_text("x")
    (tmp_path / "exp.py").write_text(
        "from ganglion.training import wrap_experiment\n"
        "@wrap_experiment\n"
        "def my_exp(ctxt):\n"
        "    print(ctxt.snapshot_dir)\n"
        "my_exp()\n"
    )
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", ".gitignore", "exp.py"), ("commit", "-q", "-m", "first")):
        subprocess.run(("git", *identity, *command), cwd=tmp_path, check=True)
    (tmp_path / "untracked.txt").write_text("x")
    (tmp_path / "large.bin").write_bytes(b"\0" * (8 << 20))
    done = subprocess.run((sys.executable, "exp.py"), cwd=tmp_path, check=True, capture_output=True, text=True)
    folder = Path(done.stdout.strip())
    metadata = json.loads((folder / "metadata.json").read_text())
    commit, _, dirty = metadata["githash"].partition("-")
    assert len(commit) == 40
    metadata["githash"] = f"<40hex>-{dirty}"
    with tarfile.open(folder / "launch_archive.tar.xz") as archive:
        names = sorted(archive.getnames())
    warned = "archive_launch_repo=False" in done.stderr
    assert {"metadata": metadata, "archive": names, "warned": warned} == expected("wrap.archive")


SNAPSHOTS = [
    "snapshotter.all.gap1",
    "snapshotter.last.gap1",
    "snapshotter.gap.gap2",
    "snapshotter.gap_and_last.gap2",
    "snapshotter.gap_overwrite.gap2",
    "snapshotter.none.gap1",
    "snapshotter.gap.gap1",
    "snapshotter.none.gap5",
    "snapshotter.all.gap3",
]
REFUSED = [
    "snapshotter.bogus.gap1",
    "snapshotter.last.gap2",
    "snapshotter.gap_overwrite.gap1",
]
LOADED = [
    "snapshotter.load.all.last",
    "snapshotter.load.all.first",
    "snapshotter.load.all.2",
    "snapshotter.load.all.10",
    "snapshotter.load.all.7",
    "snapshotter.load.all.bogus",
    "snapshotter.load.params_only.last",
    "snapshotter.load.params_only.first",
    "snapshotter.load.params_only.3",
    "snapshotter.load.params_and_itr.last",
    "snapshotter.load.params_and_itr.first",
    "snapshotter.load.empty",
    "snapshotter.load.foreign_pkl",
]


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_snapshot_modes(name, tmp_path) -> None:
    _, mode, gap = name.split(".")
    snapshotter = Snapshotter(tmp_path / "s", mode, int(gap[3:]))
    assert (tmp_path / "s").is_dir()
    after = {}
    for itr in range(5):
        snapshotter.save_itr_params(itr, {"itr": itr})
        after[str(itr)] = sorted(path.name for path in (tmp_path / "s").iterdir())
    content = {}
    for file in after["4"]:
        content[file] = torch.load(tmp_path / "s" / file, weights_only=True)["content"]["itr"]
        which = "last" if file == "params.pt" else file[4:-3]
        assert snapshotter.load(tmp_path / "s", which) == {"itr": content[file]}
    assert {"after_each_itr": after, "content": content} == expected(name)


@pytest.mark.parametrize("name", REFUSED)
def test_snapshot_modes_that_do_not_exist(name, tmp_path) -> None:
    """garage refuses an unknown mode at the first save; here the constructor does."""
    _, mode, gap = name.split(".")
    with pytest.raises(expected(name)):
        Snapshotter(tmp_path / "s", mode, int(gap[3:]))
    assert not (tmp_path / "s").exists()


FOLDERS = {
    "all": ["itr_0", "itr_2", "itr_10"],
    "params_only": ["params"],
    "params_and_itr": ["params", "itr_3"],
    "empty": [],
    "foreign_pkl": [],
}


@pytest.mark.parametrize("name", LOADED)
def test_loading(name, tmp_path) -> None:
    folder, itr = [*name.split(".")[2:], "last"][:2]
    for stem in FOLDERS[folder]:
        Snapshotter(tmp_path, "all").save_itr_params(0, {"file": f"{stem}.pt"})
        (tmp_path / "itr_0.pt").rename(tmp_path / f"{stem}.pt.new")
    for path in tmp_path.glob("*.new"):
        path.rename(path.with_suffix(""))
    if folder == "foreign_pkl":
        (tmp_path / "other.pt").write_bytes(b"x")
    outcome = expected(name)
    loads = [itr, int(itr)] if itr.isdigit() else [itr]
    for which in loads:
        if isinstance(outcome, type):
            with pytest.raises(outcome):
                Snapshotter(tmp_path).load(tmp_path, which)
        else:
            assert Snapshotter(tmp_path).load(tmp_path, which) == {"file": outcome}


class FakeSampler:
    def obtain_episodes(self, update, num_steps, weights):  # noqa: ARG002
        return ten_steps()


class FakeAlgorithm:
    def __init__(self, sampler=None):
        self._sampler, self.policy, self.seen = sampler, SimpleNamespace(), []

    def train(self, trainer):
        count = 0.0
        self.seen = []
        for epoch in trainer.step_epochs():
            self.seen.append([epoch, trainer.step_itr])
            trainer.obtain_samples(trainer.step_itr)
            trainer.step_itr += 1
            count += 1.0
        return count


class FakeEnvironment:
    pass


BEFORE_SETUP = {
    "trainer.train_before_setup": lambda trainer: trainer.train(1),
    "trainer.save_before_setup": lambda trainer: trainer.save(0),
    "trainer.resume_before_restore": lambda trainer: trainer.resume(),
}


@pytest.mark.parametrize("name", BEFORE_SETUP)
def test_trainer_before_setup(name, tmp_path) -> None:
    with pytest.raises(expected(name), match="call "):
        BEFORE_SETUP[name](Trainer(config(tmp_path)))


def test_no_sampler(tmp_path) -> None:
    trainer = Trainer(config(tmp_path), allow_pickle=True)
    trainer.setup(FakeAlgorithm(), FakeEnvironment())
    with pytest.raises(expected("trainer.obtain_samples_without_sampler"), match="no sampler"):
        trainer.train(1, batch_size=7)


@pytest.fixture
def trained(tmp_path):
    set_seed(5)
    algo = FakeAlgorithm(FakeSampler())
    trainer = Trainer(config(tmp_path / "one", "all"), allow_pickle=True, progress=False)
    trainer.setup(algo, FakeEnvironment())
    return trainer, algo, trainer.train(n_epochs=3, batch_size=7)


def test_train_and_snapshot(trained, tmp_path) -> None:
    trainer, algo, ret = trained
    content = Snapshotter(tmp_path / "two").load(tmp_path / "one")
    found = {
        "ret": ret,
        "seen": algo.seen,
        "files": sorted(path.name for path in (tmp_path / "one").iterdir()),
        "keys": sorted(content),
        "seed": content["seed"],
        "total_epoch": content["stats"]["total_epoch"],
        "total_itr": content["stats"]["total_itr"],
        "total_env_steps": trainer.total_env_steps,
        "start_epoch": content["train_args"]["start_epoch"],
        "n_epochs": content["train_args"]["n_epochs"],
    }
    assert found == expected("trainer.train_and_snapshot")


RESUMED = {
    "trainer.restore_resume_nothing_left": ("last", {}),
    "trainer.restore_resume_more": ("last", {"n_epochs": 5}),
    "trainer.restore_resume_from_epoch1": (1, {}),
    "trainer.restore_resume_n_epochs_0": ("last", {"n_epochs": 0}),
    "trainer.restore_resume_batch0": ("last", {"n_epochs": 5, "batch_size": 0}),
}


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("name", RESUMED)
def test_restore_and_resume(name, tmp_path) -> None:
    epoch, arguments = RESUMED[name]
    set_seed(77)
    trainer = Trainer(config(tmp_path / "two", "all"), allow_pickle=True, progress=False)
    with pytest.warns(UserWarning, match="unpickled"):
        args = trainer.restore(tmp_path / "one", epoch, allow_pickle=True)
    restored = dict(vars(args))
    args.n_epochs = 99  # a copy
    ret = trainer.resume(**arguments)
    found = {
        "train_args_after_restore": restored,
        "ret": ret,
        "seen": trainer.algo.seen,
        "files": sorted(path.name for path in (tmp_path / "two").iterdir()),
        "total_env_steps": trainer.total_env_steps,
        "seed_after": get_seed(),
        "batch_size": trainer._train_args.batch_size,
    }
    assert found == expected(name)


def test_environment_variable(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GANGLION_EXAMPLE_TEST_N_EPOCHS", "1")
    trainer = Trainer(config(tmp_path, "none"))
    trainer.setup(FakeAlgorithm(FakeSampler()))
    assert trainer.train(3, batch_size=7) == expected("trainer.env_var_overrides_epochs")
    monkeypatch.setenv("GANGLION_EXAMPLE_TEST_N_EPOCHS", "one")
    with pytest.raises(ValueError, match="GANGLION_EXAMPLE_TEST_N_EPOCHS must be a number"):
        trainer.train(3, batch_size=7)


def test_get_env_copy(tmp_path) -> None:
    trainer = Trainer(config(tmp_path))
    environment = FakeEnvironment()
    trainer.setup(FakeAlgorithm(), environment)
    same = trainer.get_env_copy() is environment
    assert isinstance(trainer.get_env_copy(), FakeEnvironment)
    trainer.setup(FakeAlgorithm(), None)
    assert {"same": same, "none": trainer.get_env_copy()} == expected("trainer.get_env_copy")


def test_no_case_is_left_out() -> None:
    alone = re.findall(r'expected\("([a-z_.]+)"\)', Path(__file__).read_text(encoding="utf-8"))
    covered = {*alone, *NAMED, *WRAP_ERRORS, *SNAPSHOTS, *REFUSED, *LOADED, *BEFORE_SETUP, *RESUMED}
    assert covered == set(CASES)
    assert len(CASES) == 54
    assert set(DIFFERENT) <= covered
