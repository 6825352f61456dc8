"""The tolerance that nobody gave: what float32 can hold of a policy, and not more."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import pytest
import torch
from export_policies import ModulePolicy
from real_files import real

import ganglion
from ganglion._foundation.rounding import LEAST, MULTIPLE, allowance, beyond, lost, nudged, several
from ganglion.contract import Contract
from ganglion.errors import ExportError, ParityError
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy
from ganglion.policies.garage.gaussian import GaussianLSTMPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.deep  # exports and verifies dozens of policies


def spec(observations: int, actions: int, bound: float = np.inf) -> EnvSpec:
    sizes = ((observations, bound), (actions, np.inf))
    return EnvSpec(*(gymnasium.spaces.Box(-limit, limit, (size,), np.float32) for size, limit in sizes))


def grown(policy: Any, times: float) -> Any:
    """Weights as they are after a long training."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(times)
    return policy


def wide_observations(seed: int) -> Any:
    """Sums of 45 products as large as 100: their roundings alone are near 1e-5."""
    torch.manual_seed(seed)
    return GRUPolicy(spec(45, 12, bound=300.0), hidden_size=4, num_recurrent_layers=1)


def large_weights(seed: int) -> Any:
    torch.manual_seed(seed)
    return grown(LSTMPolicy(spec(24, 6), hidden_size=32, num_recurrent_layers=1), 8.0)


def garage_lstm(seed: int, nonlinearity: Callable[[torch.Tensor], torch.Tensor] | None, times: float) -> Any:
    """Linear, or linear on one side: nothing bounds what the cell feeds back to itself."""
    torch.manual_seed(seed)
    made = GaussianLSTMPolicy(spec(8, 2, bound=1.0), hidden_dim=32, hidden_nonlinearity=nonlinearity)
    return grown(made, times)


def elu_actor(times: float, seed: int = 0) -> torch.nn.Sequential:
    """The actor of legged robots."""
    torch.manual_seed(seed)
    sizes = (45, 512, 256, 128, 12)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ELU()]
    return grown(torch.nn.Sequential(*layers[:-1]), times)


def foreign(module: torch.nn.Module, path: Path, size: int = 45) -> Path:
    """A file of somebody else's, without a contract."""
    names: dict[str, Any] = {"input_names": ["obs"], "output_names": ["actions"]}
    names["dynamic_axes"] = {"obs": {0: "batch"}, "actions": {0: "batch"}}
    torch.onnx.export(module, (torch.zeros(1, size),), str(path), dynamo=False, **names)
    return path


@pytest.mark.sampled(2)
@pytest.mark.parametrize("make", [wide_observations, large_weights])
@pytest.mark.parametrize("seed", range(4))
def test_a_policy_that_amplifies_rounding_is_exported_loaded_compiled_and_verified(
    make: Any, seed: int, tmp_path: Path
) -> None:
    policy = make(seed)
    path = tmp_path / "policy.onnx"
    contract = ganglion.export(policy, path, batch=None)
    assert contract.golden is not None
    assert contract.golden.tolerance == LEAST
    assert contract.golden.allowed is not None
    assert contract.golden.allowed.max() > LEAST
    ganglion.load(path)
    ganglion.compile(path, tmp_path / "policy.ganglion")
    ganglion.load(tmp_path / "policy.ganglion", batch=3)
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=300)
    assert report.ok, report.verdict
    assert report.lost == 0.0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("times", [1.0, 6.0, 30.0, 200.0])
def test_a_foreign_actor_with_grown_weights_is_compiled_loaded_and_verified(times: float, tmp_path: Path) -> None:
    path = foreign(elu_actor(times), tmp_path / "actor.onnx")
    compiled = tmp_path / "actor.ganglion"
    ganglion.compile(path, compiled)
    for batch in (None, 2, 3, 8):
        ganglion.load(compiled, batch=batch)
    for report in (ganglion.verify(path, steps=100), ganglion.verify(compiled, path, steps=100)):
        assert report.ok, report.verdict
        assert report.lost == 0.0


@pytest.mark.sampled(3)
@pytest.mark.parametrize("nonlinearity", [None, torch.relu], ids=["linear", "relu"])
@pytest.mark.parametrize("seed", range(20))
def test_a_cell_that_nothing_bounds_is_exported_compiled_and_loaded(
    nonlinearity: Any, seed: int, tmp_path: Path
) -> None:
    policy = garage_lstm(seed, nonlinearity, (1.0, 1.5, 2.0, 2.5)[seed % 4])
    path = tmp_path / "policy.onnx"
    ganglion.export(policy, path, batch=None)
    ganglion.compile(path, tmp_path / "policy.ganglion")
    ganglion.load(path)
    ganglion.load(tmp_path / "policy.ganglion")
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=60)
    assert report.ok, report.verdict
    assert report.lost < 0.8


def test_a_policy_that_does_not_is_held_to_the_least(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = GRUPolicy(spec(8, 2), hidden_size=16, num_recurrent_layers=1)
    contract = ganglion.export(policy, tmp_path / "policy.ganglion")
    assert contract.golden is not None
    assert contract.golden.tolerance == LEAST
    assert contract.golden.rounding is None
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=50)
    assert report.tolerance == LEAST
    assert not any(tensor.by_rounding for comparison in report.comparisons for tensor in comparison.tensors)


# faults that are planted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [wide_observations, large_weights])
def test_another_policy_is_found_in_spite_of_it(make: Any, tmp_path: Path) -> None:
    policy = make(0)
    ganglion.export(policy, tmp_path / "policy.ganglion")
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.001)
    report = ganglion.verify(tmp_path / "policy.ganglion", other, steps=200)
    assert not report.ok


def _swap_gates(policy: Any) -> None:
    weight = policy.rnn_layers.weight_ih_l0
    first, second = weight[:32].clone(), weight[32:64].clone()
    weight[:32], weight[32:64] = second, first


FAULTS: dict[str, Callable[[Any], Any]] = {
    "a bias of the gates off by 1e-4": lambda policy: policy.rnn_layers.bias_ih_l0.add_(1e-4),
    "a bias of the action off by 1e-4": lambda policy: policy.output_layer.bias.add_(1e-4),
    "one weight of 4096 off by a hundredth": lambda policy: policy.rnn_layers.weight_hh_l0[5, 7].mul_(1.01),
    "two gates in each other's place": _swap_gates,
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("times", [1.0, 8.0, 16.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_at_any_size_of_the_weights(fault: str, times: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = grown(LSTMPolicy(spec(24, 6), hidden_size=32, num_recurrent_layers=1), times)
    wrong = copy.deepcopy(policy)
    with torch.no_grad():
        FAULTS[fault](wrong)
    ganglion.export(wrong, tmp_path / "policy.ganglion", batch=None)
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=150)
    assert not report.ok
    assert all(not comparison.ok for comparison in report.comparisons)
    assert "C++ native" in str(report.comparisons[1].first_divergence)


@pytest.mark.parametrize(("times", "least"), [(1.0, 1e-4), (6.0, 1e-3), (30.0, 1.0)])
def test_how_large_a_fault_of_a_grown_actor_is_still_found(times: float, least: float, tmp_path: Path) -> None:
    """Of outputs as large as 0.3, 240 and 140,000: a bias, and the constant of an activation."""
    path = foreign(elu_actor(times), tmp_path / "actor.onnx")
    for name in ("bias", "activation"):
        wrong = elu_actor(times)
        with torch.no_grad():
            if name == "bias":
                wrong[6].bias.add_(least)
            else:
                wrong[1].alpha = 1.001
        report = ganglion.verify(foreign(wrong, tmp_path / f"{name}.onnx"), path, steps=60)
        assert not report.ok, name


def test_a_state_that_is_not_reset_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganglion.verify.steppers.runtime import PilotStepper

    policy = large_weights(0)
    ganglion.export(policy, tmp_path / "policy.ganglion", batch=None)
    monkeypatch.setattr(PilotStepper, "reset", lambda *_: None)
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=150)
    native = report.comparisons[1]
    assert not native.ok
    assert native.first_divergence is not None
    assert report.trajectory.reset[native.first_divergence.step].any()


def test_a_program_with_a_fault_is_refused_and_the_compiler_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler with another constant in its ELU, for a graph of large weights."""
    from ganglion.compiler import interpreter

    path = foreign(elu_actor(6.0), tmp_path / "actor.onnx")
    monkeypatch.setitem(interpreter._UNARY, "elu", lambda x, p: interpreter._elu(x, 1.001 * p["alpha"]))
    with pytest.raises(ExportError, match=r"In float64 the graph gives .* defect of the compiler"):
        ganglion.compile(path, tmp_path / "actor.ganglion")
    assert not (tmp_path / "actor.ganglion").exists()


def test_an_engine_that_computes_badly_is_not_called_a_defect_of_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = importlib.import_module("ganglion.compiler.prove")
    path = foreign(elu_actor(1.0), tmp_path / "actor.onnx")
    right = prove.record

    def recorded(model: Any) -> Any:
        golden = right(model)
        golden.outputs[3, 0, 2] += 0.01
        return golden

    monkeypatch.setattr(prove, "record", recorded)
    with pytest.raises(ExportError, match="So the program is right") as caught:
        ganglion.compile(path, tmp_path / "actor.ganglion")
    assert "defect" not in str(caught.value)


def test_the_runtime_refuses_a_golden_run_beyond_what_rounding_does(tmp_path: Path) -> None:
    from ganglion.compiler import file

    ganglion.compile(foreign(elu_actor(30.0), tmp_path / "actor.onnx"), tmp_path / "actor.ganglion")
    program, contract = file.read(tmp_path / "actor.ganglion")
    assert contract.golden is not None
    assert contract.golden.allowed is not None
    size = float(contract.golden.allowed[3, 0, 2])
    for change, fine in ((0.2 * size, True), (3.0 * size, False)):
        _, fresh = file.read(tmp_path / "actor.ganglion")
        assert fresh.golden is not None
        fresh.golden.outputs[3, 0, 2] += np.float32(change)
        changed = tmp_path / "changed.ganglion"
        changed.write_bytes(file.to_bytes(program, fresh)[0])
        if fine:
            ganglion.load(changed)
            continue
        with pytest.raises(
            ParityError, match=r"step 3, row 0, output element 2; .* or, by element, what rounding does"
        ):
            ganglion.load(changed, batch=3)


class Drawn(torch.nn.Module):
    """A little chance, which is no rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1e-3 * torch.rand_like(x)


def test_chance_is_not_taken_for_rounding(tmp_path: Path) -> None:
    calm = ModulePolicy(torch.nn.Identity(), spec(8, 4))
    drawn = ModulePolicy(Drawn(), spec(8, 4))
    drawn.load_state_dict(calm.state_dict())
    with pytest.raises(ExportError):
        ganglion.export(drawn, tmp_path / "drawn.pt")
    ganglion.export(calm, tmp_path / "policy.ganglion")
    assert not ganglion.verify(tmp_path / "policy.ganglion", drawn, steps=50).ok


# demands, files of before, and what is said -----------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-9, LEAST])
def test_a_tolerance_that_is_given_is_a_demand(tolerance: float, tmp_path: Path) -> None:
    policy = grown(large_weights(0), 2.0)
    with pytest.raises(ExportError, match=f"tolerance {tolerance:.3g}"):
        ganglion.export(policy, tmp_path / "policy.ganglion", tolerance=tolerance)
    assert not list(tmp_path.iterdir())
    ganglion.export(policy, tmp_path / "policy.ganglion")
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=100, tolerance=tolerance)
    assert not report.ok
    assert json.loads(report.to_json())["demanded"] is True


def test_a_demand_stays_one_when_the_file_is_compiled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = GRUPolicy(spec(8, 2), hidden_size=16, num_recurrent_layers=1)
    ganglion.export(policy, tmp_path / "policy.onnx", tolerance=LEAST)
    ganglion.compile(tmp_path / "policy.onnx", tmp_path / "policy.ganglion")
    golden = ganglion.inspect(tmp_path / "policy.ganglion").golden
    assert golden is not None
    assert golden.demanded
    assert golden.allowed is None


def test_a_golden_run_without_the_entry_is_read_as_before() -> None:
    text = Contract.to_json(_recorded())
    assert '"rounding"' not in text
    golden = Contract.from_json(text).golden
    assert golden is not None
    assert golden.rounding is None
    assert not golden.demanded


@pytest.mark.parametrize(
    ("entry", "said"), [("[0.1]", "fill"), ("[0.1, -1.0]", "not negative"), ("[1, 2, 3, 4]", "are")]
)
def test_a_damaged_entry_is_refused(entry: str, said: str) -> None:
    from ganglion.errors import ArtifactError

    document = json.loads(Contract.to_json(_recorded()))
    del document["contract_sha256"]
    document["format"] = 1
    document["golden"]["rounding"] = json.loads(entry)
    with pytest.raises(ArtifactError, match=said):
        Contract.from_json(json.dumps(document))


def _recorded() -> Contract:
    from ganglion.contract import Golden, TensorSpec

    golden = Golden(np.zeros((2, 1, 1), np.float32), np.zeros((2, 1), np.bool_), np.zeros((2, 1, 1), np.float32), 3e-4)
    return Contract((TensorSpec("obs", 1),), (TensorSpec("actions", 1),), (), (), golden=golden)


def test_all_three_distances_are_reported(tmp_path: Path) -> None:
    path = foreign(elu_actor(30.0), tmp_path / "actor.onnx")
    report = ganglion.verify(path, steps=60)
    assert "or what rounding does in float32" in report.verdict
    assert "from float64 it is" in report.verdict
    for comparison in json.loads(report.to_json())["comparisons"]:
        (actions,) = comparison["outputs"]
        assert 0.0 < actions["from_float64"] < 0.1
        assert 0.0 < actions["reference_from_float64"] < 0.1
    assert report.reference_from_float64.keys() == {"actions"}
    report.save(tmp_path / "report.html")
    assert "to float64" in (tmp_path / "report.html").read_text()


def test_a_reference_that_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth is what the reference's function gives in float64, whatever its own float32 run makes of it."""
    from ganglion.verify.steppers import onnx

    path = foreign(elu_actor(6.0), tmp_path / "actor.onnx")
    right = onnx.run_step
    monkeypatch.setattr(onnx, "run_step", lambda *given: [values + np.float32(0.5) for values in right(*given)])
    report = ganglion.verify(path, steps=60)
    assert not report.ok
    assert "so the reference is wrong" in report.verdict


def test_without_a_float64_run_the_reference_is_judged_by_its_own_rounding(tmp_path: Path) -> None:
    class Insists(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = torch.nn.Linear(12, 256), torch.nn.ELU(), torch.nn.Linear(256, 12)
            self.actor = grown(torch.nn.Sequential(*layers), 30.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            done: torch.Tensor = self.actor(x.to(torch.float32))
            return done

    policy = ModulePolicy(Insists(), spec(45, 12))
    ganglion.export(policy, tmp_path / "policy.ganglion", batch=None)
    ganglion.load(tmp_path / "policy.ganglion", batch=3)
    report = ganglion.verify(tmp_path / "policy.ganglion", policy, steps=60)
    assert report.ok, report.verdict
    assert report.truth.startswith("nothing runs in float64")
    assert report.reference_from_float64 == {}


@pytest.mark.parametrize(
    "name",
    [
        "Lite3_rl_deploy__ppo__policy.onnx",
        "holosoma__g1_29dof__ppo_g1_29dof.onnx",
        "godot_rl_agents_examples__onnx__model.onnx",
    ],
)
def test_a_public_file_is_not_called_wrong_for_rounding(name: str, tmp_path: Path) -> None:
    report = ganglion.verify(real(name), steps=200)
    assert report.ok, report.verdict
    ganglion.compile(real(name), tmp_path / "policy.ganglion")
    ganglion.load(tmp_path / "policy.ganglion")


# the measure ------------------------------------------------------------------------------------------------------


def test_observations_are_moved_to_their_neighbours() -> None:
    observation = np.ones((2, 1, 3), np.float32)
    for seed in (0, 1):
        moved = nudged(observation, seed)
        assert (moved != observation).all()
        assert np.abs(moved - observation).max() <= 2.0**-23
    assert not np.array_equal(nudged(observation, 0), nudged(observation, 1))


def test_the_allowance_follows_rounding_from_step_to_step_and_forgets_it_at_a_reset() -> None:
    truth = np.ones((40, 1, 2))
    run = truth.astype(np.float32)
    run[5:20, 0, 0] += np.float32(1e-3)
    reset = np.zeros((40, 1), np.bool_)
    reset[20] = True
    allowed = allowance(truth, [run], reset, 0)
    assert allowed[4, 0, 0] == pytest.approx(MULTIPLE * 1e-3, rel=1e-3)  # looked ahead
    assert (allowed[:3, 0, 0] == 0.0).all()
    assert allowed[19, 0, 0] > 0.0
    assert (allowed[20:] == 0.0).all()
    assert (allowed[:, :, 1] == 0.0).all()


def test_a_memory_that_rounding_has_taken_is_not_judged_until_the_reset() -> None:
    truth = np.ones((40, 1, 3))
    run = truth.astype(np.float32)
    run[10, 0, 2] += np.float32(0.01)  # 16 times that is a part of its range
    run[30, 0, 2] += np.float32(0.5)  # and of that all of it
    reset = np.zeros((40, 1), np.bool_)
    reset[25] = True
    allowed = allowance(truth, [run], reset, 1)
    assert allowed[24, 0, 0] == pytest.approx(0.16, rel=1e-3)
    assert allowed[26, 0, 0] == 0.0
    assert allowed[35, 0, 0] > 1e38
    assert lost(truth[:, :, :2], allowed[:, :, :2])[:, 0].nonzero()[0].tolist() == [*range(8, 25), *range(28, 40)]


def test_only_what_is_beyond_the_tolerance_is_kept_with_two_digits() -> None:
    expected = np.asarray([[[1.0, 100.0, 0.0]]], np.float32)
    allowed = np.asarray([[[1.234e-4, 5e-4, 9e-6]]], np.float32)
    kept = beyond(expected, LEAST, allowed)
    assert kept is not None
    assert kept.ravel().tolist() == pytest.approx([1.3e-4, 0.0, 0.0])
    assert beyond(expected, 1.0, allowed) is None


def test_several_runs_differ_in_their_roundings_alone() -> None:
    observation, calls = np.ones((2, 1, 3), np.float32), []

    def run(given):
        calls.append(given.shape)
        return given * np.float32(1000.0)

    plain, *others = several(run, observation, run(observation))
    assert np.array_equal(plain, observation * 1000.0)
    assert len(others) == 3 and calls == [(2, 1, 3)] * 5
    side_by_side = several(run, observation, plain, pure=True)
    assert np.array_equal(side_by_side, [plain, *others]) and calls[5:] == [(2, 3, 3)]
    assert all(0.0 < np.abs(other - plain).max() < 1e-3 for other in others)
