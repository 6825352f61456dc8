"""`ganglion export SNAPSHOT_DIR`: the policy of a training run becomes an artifact."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

import ganglion
from ganglion.cli import main
from ganglion.data import EnvSpec
from ganglion.policies import DeployablePolicy, GaussianLSTMPolicy, GRUPolicy, LSTMPolicy, ObservationNormalizer
from ganglion.training import Trainer

BOX = gymnasium.spaces.Box
SPEC = EnvSpec(BOX(-1.0, 1.0, (3,)), BOX(-1.0, 1.0, (2,)))


class Moving:
    """An algorithm whose policy is another one behind every epoch."""

    def __init__(self, policy, **fields):
        self.policy = policy
        for name, value in fields.items():
            setattr(self, name, value)

    def train(self, trainer):
        for epoch in trainer.step_epochs():
            with torch.no_grad():
                next(self.policy.parameters()).fill_(0.1 * (epoch + 1))
            trainer.step_itr += 1

    def state_dict(self):
        return self.policy.state_dict()

    def load_state_dict(self, state):
        self.policy.load_state_dict(state)


class OwnPolicy(GRUPolicy):
    """What the house does not know by name."""


def make(kind=GRUPolicy, spec=SPEC):
    torch.manual_seed(0)
    return kind(spec, 4, 1)


def train(folder, algo, mode="all", epochs=3, keep_policy=True):
    folder.mkdir(exist_ok=True)
    config = SimpleNamespace(snapshot_dir=str(folder), snapshot_mode=mode, snapshot_gap=1)
    trainer = Trainer(config, keep_policy=keep_policy, progress=False)
    trainer.setup(algo)
    trainer.train(epochs)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    return train(tmp_path_factory.mktemp("run"), Moving(make()))


def answer(path):
    pilot = ganglion.load(path)
    return np.array([pilot.step(np.full(3, 0.3, np.float32)) for _ in range(3)])


def expected(epoch):
    policy = make()
    with torch.no_grad():
        next(policy.parameters()).fill_(0.1 * (epoch + 1))
        hidden, actions = None, []
        for _ in range(3):
            action, hidden = policy(torch.full((3,), 0.3), hidden)
            actions.append(action.numpy())
    return np.array(actions)


@pytest.mark.parametrize(
    ("arguments", "epoch"), [((), 2), (("--itr", "last"), 2), (("--itr", "first"), 0), (("--itr", "1"), 1)]
)
def test_the_policy_of_a_snapshot_becomes_an_artifact(run, tmp_path, capsys, arguments, epoch):
    target = tmp_path / "policy.ganglion"
    assert main(["export", str(run), "-o", str(target), *arguments, "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["contract"]["provenance"]["policy"]
        == "ganglion.policies.pyrado.rnn.GRUPolicy"
    )
    np.testing.assert_allclose(answer(target), expected(epoch), rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected(epoch), expected((epoch + 1) % 3), atol=1e-3)


def test_a_snapshot_file_does_as_well(run, tmp_path):
    target = tmp_path / "policy.pt"
    assert main(["export", str(run / "itr_1.pt"), "-o", str(target)]) == 0
    np.testing.assert_allclose(answer(target), expected(1), rtol=1e-5, atol=1e-6)


@pytest.mark.deep
def test_a_snapshot_is_a_reference_to_verify_with(run, tmp_path, capsys):
    target = tmp_path / "policy.pt"
    assert main(["export", str(run), "-o", str(target), "--itr", "2"]) == 0
    assert main(["verify", str(target), "--policy", str(run), "--steps", "20"]) == 0
    assert main(["verify", str(target), "--policy", str(run / "itr_0.pt"), "--steps", "20"]) == 1
    capsys.readouterr()


def test_what_is_deployed_goes_before_what_explores(tmp_path):
    deployed = DeployablePolicy(make(LSTMPolicy), ObservationNormalizer([1.0] * 3, [4.0] * 3))
    folder = train(tmp_path / "run", Moving(make(), deployed_policy=deployed), "last")
    target = tmp_path / "policy.pt"
    assert main(["export", str(folder), "-o", str(target)]) == 0
    with torch.no_grad():
        first, _ = deployed(torch.full((3,), 0.3))
    np.testing.assert_allclose(answer(target)[0], first.numpy(), rtol=1e-5, atol=1e-6)


def refused(capsys, tmp_path, *arguments):
    status = main(["export", *map(str, arguments), "-o", str(tmp_path / "policy.pt")])
    assert not (tmp_path / "policy.pt").exists()
    return status, capsys.readouterr().err


def test_folders_and_iterations_that_do_not_exist(run, tmp_path, capsys):
    status, message = refused(capsys, tmp_path, run, "--itr", 7)
    assert status == 1 and "no snapshot of iteration 7; there are iterations 0, 1, 2" in message
    status, message = refused(capsys, tmp_path, tmp_path)
    assert status == 1 and "holds no snapshot: neither params.pt nor itr_N.pt" in message
    status, message = refused(capsys, tmp_path, tmp_path / "nothing")
    assert status == 1 and "nothing" in message
    script = tmp_path / "script.py"
    script.write_text("policy = None")
    status, message = refused(capsys, tmp_path, script, "--itr", 1)
    assert status == 2 and "--itr goes with a folder of snapshots" in message
    status, message = refused(capsys, tmp_path, run, "--itr", 1, "--from", "sb3")
    assert status == 2 and "not with --from" in message
    with pytest.raises(SystemExit) as caught:
        refused(capsys, tmp_path, run, "--itr", "-1")
    assert caught.value.code == 2


def test_runs_without_a_policy_that_can_be_exported(tmp_path, capsys):
    none = train(tmp_path / "none", Moving(torch.nn.Linear(2, 2)), "last")
    status, message = refused(capsys, tmp_path, none)
    assert status == 1 and "Moving has no RecurrentPolicy as its `deployed_policy` or `policy`" in message
    torch.manual_seed(0)
    other = train(tmp_path / "other", Moving(OwnPolicy(SPEC, 4, 1)), "last", keep_policy=False)
    status, message = refused(capsys, tmp_path, other)
    assert status == 1 and "it was trained with Trainer(ctxt, keep_policy=False)" in message
    assert "Trainer.restore(folder, algo=algo)" in message


def test_policies_of_other_libraries_are_kept(tmp_path):
    torch.manual_seed(0)
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=4)
    folder = train(tmp_path / "run", Moving(policy), "last")
    target = tmp_path / "policy.pt"
    assert main(["export", str(folder), "-o", str(target)]) == 0
    with torch.no_grad():
        first, *_ = policy(torch.full((3,), 0.3))
    np.testing.assert_allclose(answer(target)[0], first.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: {**document, "ganglion_snapshot": 99}, "snapshot format 99 is newer than"),
        (lambda _: {"weights": torch.zeros(3)}, "is no snapshot of ganglion"),
        (lambda document: {**document, "content": {"stats": {}}}, "was not written by a Trainer"),
        (
            lambda document: {**document, "content": {"policy": torch.zeros(9, dtype=torch.uint8)}},
            "params.pt': the policy in the",
        ),
    ],
    ids=["newer", "foreign", "by hand", "damaged"],
)
def test_snapshots_of_another_kind(run, tmp_path, capsys, change, message):
    folder = tmp_path / "run"
    folder.mkdir()
    document = torch.load(run / "itr_0.pt", weights_only=True)
    torch.save(change(document), folder / "params.pt")
    status, text = refused(capsys, tmp_path, folder)
    assert status == 1 and message in text
    (folder / "params.pt").write_bytes(b"no snapshot at all")
    status, text = refused(capsys, tmp_path, folder)
    assert status == 1 and "is no readable snapshot" in text
