"""Two modules joined to one policy: encoder and actor as files, the second's input put together in the function."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from real_files import real
from torch import Tensor, nn

import ganglion
from ganglion.cli.main import main
from ganglion.errors import ArtifactError, ExportError
from ganglion.policies import RecurrentPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HISTORY, FRAME, LATENT, COMMANDS, ACTIONS = 15, 5, 3, 2, 4


def network(inputs: int, outputs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 16), nn.ELU(), nn.Linear(16, outputs)).eval()


def foreign(module: nn.Module, path: Path, inputs: dict[str, int], outputs: list[str], **options: Any) -> Path:
    """As somebody's training script writes it: without a contract."""
    examples = tuple(torch.zeros(1, size) for size in inputs.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, examples, path, input_names=list(inputs), output_names=outputs, dynamo=False, **options
        )
    return path


class Memory(nn.Module):
    """A GRU cell in front of a layer, its state in its hand."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.cell, self.head = nn.GRUCell(inputs, 6), nn.Linear(6, outputs)

    def forward(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        after = self.cell(obs, hidden)
        return self.head(after), after


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, nn.Module, nn.Module]:
    folder = tmp_path_factory.mktemp("pair")
    encoder, actor = network(HISTORY, LATENT, 1), network(LATENT + FRAME + COMMANDS, ACTIONS, 2)
    first = foreign(encoder, folder / "encoder.onnx", {"history": HISTORY}, ["latent"], opset_version=17)
    second = foreign(actor, folder / "policy.onnx", {"obs": LATENT + FRAME + COMMANDS}, ["actions"], opset_version=17)
    return first, second, encoder, actor


def flown(path: Path, observations: np.ndarray, resets: frozenset[int] = frozenset()) -> np.ndarray:
    pilot = ganglion.load(path)
    actions = []
    for step, observation in enumerate(observations):
        if step in resets:
            pilot.reset()
        actions.append(pilot.step(observation).copy())
    return np.stack(actions)


FEEDS: dict[str, tuple[list[str], Callable[[Tensor, Tensor], Tensor], int]] = {
    # the latent, a part of the history and a new input, as tron1's controller does it
    "latent first": (
        ["latent", "history[-5:]", "commands:2"],
        lambda both, latent: torch.cat((latent, both[:, 10:15], both[:, 15:]), 1),
        HISTORY + COMMANDS,
    ),
    "latent between": (
        ["commands:2", "history[0:5]", "latent"],
        lambda both, latent: torch.cat((both[:, 15:], both[:, :5], latent), 1),
        HISTORY + COMMANDS,
    ),
    "latent in two": (
        ["latent[1:]", "frame:7", "latent[:1]"],
        lambda both, latent: torch.cat((latent[:, 1:], both[:, 15:], latent[:, :1]), 1),
        HISTORY + FRAME + COMMANDS,
    ),
}


@pytest.mark.parametrize("form", [".ganglion", ".onnx"])
@pytest.mark.parametrize("feed", FEEDS)
def test_the_second_gets_what_the_controller_gave_it(files, tmp_path: Path, feed: str, form: str) -> None:
    first, second, encoder, actor = files
    parts, by_hand, size = FEEDS[feed]
    report = ganglion.chain(first, second, tmp_path / f"joined{form}", feed=parts)
    assert report.contract.observation_size == size
    assert [spec.name for spec in report.contract.outputs] == ["actions", "encoder_latent"]
    observations = torch.randn(40, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = actor(by_hand(observations, encoder(observations[:, :HISTORY])))
    assert np.abs(flown(report.path, observations.numpy()) - expected.numpy()).max() < 1e-5


def test_what_was_estimated_can_be_read(files, tmp_path: Path) -> None:
    first, second, encoder, _ = files
    path = ganglion.chain(first, second, tmp_path / "joined.ganglion", feed=["latent", "frame:7"]).path
    pilot, observation = ganglion.load(path), torch.arange(22.0) / 22
    pilot.step(observation.numpy())
    with torch.no_grad():
        latent = encoder(observation[None, :HISTORY])[0]
    assert np.abs(pilot.output(1) - latent.numpy()).max() < 1e-6


def test_both_keep_their_memory(tmp_path: Path) -> None:
    """Two GRUs whose slots have one name; a reset clears both."""
    estimator, actor = Memory(6, 3, 4), Memory(9, 4, 5)
    hidden = {"hidden_in": 6}
    first = foreign(estimator, tmp_path / "estimator.onnx", {"obs": 6, **hidden}, ["velocity", "hidden_out"])
    second = foreign(actor, tmp_path / "actor.onnx", {"full": 9, **hidden}, ["actions", "hidden_out"])
    report = ganglion.chain(first, second, tmp_path / "joined.ganglion", feed=["obs", "velocity"])
    assert [slot.name for slot in report.contract.state] == ["estimator_hidden", "hidden"]
    observations = torch.randn(80, 6, generator=torch.Generator().manual_seed(6))
    expected, states = [], (torch.zeros(1, 6), torch.zeros(1, 6))
    with torch.no_grad():
        for step, observed in enumerate(observations.split(1)):
            if step == 41:
                states = torch.zeros(1, 6), torch.zeros(1, 6)
            velocity, one = estimator(observed, states[0])
            action, two = actor(torch.cat((observed, velocity), 1), states[1])
            states = one, two
            expected.append(action[0].numpy())
    assert np.abs(flown(report.path, observations.numpy(), frozenset({41})) - np.stack(expected)).max() < 1e-5


def test_inputs_of_their_own(files, tmp_path: Path) -> None:
    """A second file with two inputs: the latent goes where its name says, the rest is the policy's observation."""

    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network(FRAME + LATENT, ACTIONS, 7)

        def forward(self, obs: Tensor, latent: Tensor) -> Tensor:
            return self.body(torch.cat((obs, latent), 1))

    first, _, encoder, _ = files
    actor = Actor().eval()
    second = foreign(actor, tmp_path / "actor.onnx", {"obs": FRAME, "latent": LATENT}, ["actions"])
    report = ganglion.chain(first, second, tmp_path / "joined.ganglion")
    assert report.feed == {"obs": ("obs:5",), "latent": ("latent",)}
    assert [spec.name for spec in report.contract.inputs] == ["history", "obs"]
    observations = torch.randn(30, HISTORY + FRAME, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        expected = actor(observations[:, HISTORY:], encoder(observations[:, :HISTORY]))
    assert np.abs(flown(report.path, observations.numpy()) - expected.numpy()).max() < 1e-5


def test_an_input_of_its_own_may_have_the_name_of_an_output(files, tmp_path: Path) -> None:
    """What was not said to come from the first file does not come from it."""

    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network(FRAME + 2 * LATENT, ACTIONS, 14)

        def forward(self, obs: Tensor, latent: Tensor) -> Tensor:
            return self.body(torch.cat((obs, latent), 1))

    first, _, encoder, _ = files
    actor = Actor().eval()
    second = foreign(actor, tmp_path / "actor.onnx", {"obs": FRAME + LATENT, "latent": LATENT}, ["actions"])
    report = ganglion.chain(first, second, tmp_path / "joined.ganglion", feed={"obs": ["latent", "frame:5"]})
    assert [spec.name for spec in report.contract.inputs] == ["history", "frame", "latent"]
    observations = torch.randn(30, HISTORY + FRAME + LATENT, generator=torch.Generator().manual_seed(15))
    history, frame, own = observations.split([HISTORY, FRAME, LATENT], 1)
    with torch.no_grad():
        expected = actor(torch.cat((encoder(history), frame), 1), own)
    assert np.abs(flown(report.path, observations.numpy()) - expected.numpy()).max() < 1e-5


def test_our_own_files_keep_their_contract(tmp_path: Path) -> None:
    """Names, bounds and the period of both; any number of rows stays any number."""
    wrapped = ganglion.wrap(network(6, 2, 9), observation=6), ganglion.wrap(network(8, 3, 10), observation=8)
    assert all(isinstance(policy, RecurrentPolicy) for policy in wrapped)
    for policy, name in zip(wrapped, ("estimator", "actor"), strict=True):
        contract = policy.contract(batch=None, period_s=0.02)
        ganglion.export(policy, tmp_path / f"{name}.onnx", contract=contract)
    one, two = (ganglion.inspect(tmp_path / f"{name}.onnx") for name in ("estimator", "actor"))
    feed = [one.inputs[0].name, one.outputs[0].name]
    contract = ganglion.chain(
        tmp_path / "estimator.onnx", tmp_path / "actor.onnx", tmp_path / "a.onnx", feed=feed
    ).contract
    assert (contract.period_s, contract.batch) == (0.02, None)
    assert contract.outputs[0] == two.outputs[0]
    pilot = ganglion.load(tmp_path / "a.onnx", batch=5)
    observations = torch.randn(5, 6, generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        expected = wrapped[1](torch.cat((observations, wrapped[0](observations)[0]), 1))[0]
    assert np.abs(pilot.step(observations.numpy()) - expected.numpy()).max() < 1e-5


def test_periods_that_differ_are_refused(tmp_path: Path) -> None:
    for name, size, period in (("estimator", 6, 0.02), ("actor", 2, 0.005)):
        policy = ganglion.wrap(network(size, 2, 9), observation=size)
        ganglion.export(policy, tmp_path / f"{name}.onnx", contract=policy.contract(period_s=period))
    with pytest.raises(ArtifactError, match=r"period of 0\.02 s and the second at 0\.005 s"):
        ganglion.chain(tmp_path / "estimator.onnx", tmp_path / "actor.onnx", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_other_opsets_and_torchscript(files, tmp_path: Path) -> None:
    """The files of a pair need not come from one exporter."""
    first, _, encoder, actor = files
    second = foreign(actor, tmp_path / "body.onnx", {"obs": 10}, ["actions"], opset_version=11)
    torch.jit.trace(encoder, torch.zeros(1, HISTORY)).save(tmp_path / "adaptation.pt")
    observations = torch.randn(20, 22, generator=torch.Generator().manual_seed(12))
    with torch.no_grad():
        expected = actor(torch.cat((encoder(observations[:, :HISTORY]), observations[:, HISTORY:]), 1)).numpy()
    for source, latent in ((first, "latent"), (tmp_path / "adaptation.pt", "actions")):
        path = ganglion.chain(source, second, tmp_path / "joined.ganglion", feed=[latent, "rest:7"]).path
        assert np.abs(flown(path, observations.numpy()) - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("feed", "says"),
    [
        (None, r"not clear .no sizes are equal.*'latent' .3.*'history' .15.*'obs' .10"),
        (["latent", "history[-5:]"], r"'obs' has 10 elements, and latent 3 \+ history\[10:15\] 5 are 8"),
        (["lattent", "rest:7"], r"'lattent' is neither an output of the first file \('latent' \(3\)\)"),
        (["latent", "history:7"], r"the first file has 'history', of 15 elements"),
        (["latent", "history[9:16]"], r"'history' has 15 elements"),
        (["latent[2:2]", "rest:7"], r"'latent' has 3 elements"),
        (["rest:10"], r"nothing of the first file goes into the second one.*'latent' \(3\)"),
        (["latent", "a:3", "a:4"], r"'a' is a new input of 3 and of 4 elements"),
        (["latent", "rest:0"], r"at least one element"),
        ({"observation": ["latent", "rest:7"]}, r"has no input 'observation'; it has 'obs' \(10\)"),
    ],
)
def test_what_does_not_fit_says_what_there_is(files, tmp_path: Path, feed: Any, says: str) -> None:
    with pytest.raises(ExportError, match=says):
        ganglion.chain(files[0], files[1], tmp_path / "joined.ganglion", feed=feed)
    assert not list(tmp_path.iterdir())


def test_a_new_input_twice_is_one(files, tmp_path: Path) -> None:
    report = ganglion.chain(files[0], files[1], tmp_path / "a.ganglion", feed=["latent", "x:2", "x:2", "latent"])
    assert [spec.size for spec in report.contract.inputs] == [HISTORY, 2]


def test_real_files_of_one_robot(tmp_path: Path) -> None:
    """tron1: the encoder's latent, the newest frame and the commands, as its controller puts them together."""
    encoder, policy = (real(f"tron1-rl-deploy-python__isaaclab__{name}.onnx") for name in ("encoder", "policy"))
    runtime = pytest.importorskip("onnxruntime")
    one, two = (runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (encoder, policy))
    size, latent = one.get_inputs()[0].shape[-1], one.get_outputs()[0].shape[-1]
    rest = two.get_inputs()[0].shape[-1] - latent
    feed = [one.get_outputs()[0].name, f"frame_and_commands:{rest}"]
    pilot = ganglion.load(ganglion.chain(encoder, policy, tmp_path / "tron1.ganglion", feed=feed).path)
    generator = np.random.default_rng(13)
    for _ in range(64):
        observation = generator.normal(size=size + rest).astype(np.float32)
        (found,) = one.run(None, {one.get_inputs()[0].name: observation[:size]})  # these graphs have no batch axis
        whole = np.concatenate((found.reshape(-1), observation[size:]))
        (expected,) = two.run(None, {two.get_inputs()[0].name: whole})
        assert np.abs(pilot.step(observation) - expected.reshape(-1)).max() < 1e-4


def test_on_the_command_line(files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = files
    out = tmp_path / "joined.ganglion"
    assert main(["chain", str(first), str(second), "-o", str(out), "--feed", "latent,history[-5:],commands:2"]) == 0
    assert "'obs' is made of: latent, history[10:15], commands:2" in capsys.readouterr().out
    assert ganglion.inspect(out).observation_size == HISTORY + COMMANDS
    assert main(["chain", str(first), str(second), "-o", str(out)]) == 1
    assert f"next: ganglion chain {first} {second} -o {out} --feed latent,rest:7\n" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["chain", str(first), str(second), "-o", str(out), "--feed", "latent,,"])
