"""Drawn actions behind an action map: drawn inside, mapped then, and remembered as in training; on every engine."""

from __future__ import annotations

import dataclasses
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import ganglion
from ganglion.contract import ActionStage, Contract, StateSlot, TensorSpec, sealed
from ganglion.policies import (
    ActionMap,
    ActorDistributionNetwork,
    ActorPolicy,
    ArraySpec,
    BoundedArraySpec,
    DeployablePolicy,
    EnvSpec,
    GaussianLSTMPolicy,
    GaussianMLPModel,
    RecurrentPolicy,
    SkrlPolicy,
    time_step_spec,
)
from ganglion.policies.tf_agents.heads import NormalProjection
from ganglion.sampling import ActionSampler, mapped

pytestmark = pytest.mark.deep  # exports every policy that draws to every engine

SPEC = EnvSpec(gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (2,)))
MAPS = {
    "scaled": ActionMap([10.0, -4.0], [0.5, 0.0]),
    "clipped": ActionMap([1.0, 1.0], low=[-0.1, -math.inf], high=[0.1, 0.2]),
    "squashed": ActionMap([2.0, 0.5], [0.0, 1.0], low=[-1.5, 0.6], high=[1.9, 1.4], squash=True),
}
SUFFIXES = ("ganglion", "onnx", "pt")
ROUTES = (*((suffix, "automatic") for suffix in SUFFIXES), ("onnx", "native"))


class Categories(RecurrentPolicy):
    """Scores of five categories, and an index that stands for a number; remembers it."""

    state_layout = (StateSlot("prev_action", (1,)),)
    output_specs = (TensorSpec("actions", 1), TensorSpec("logits", 5))

    def __init__(self) -> None:
        super().__init__(EnvSpec(SPEC.observation_space, gym.spaces.Box(-1.0, 1.0, (1,))))
        self.layer = nn.Linear(4, 5)

    def forward(self, obs, hidden=None):
        hidden = self.init_hidden(*obs.shape[:-1]) if hidden is None else hidden
        logits = self.layer(torch.cat((obs, hidden), -1))
        index = logits.argmax(-1, keepdim=True).float()
        return index, logits, index


def garage(action_map: ActionMap | None) -> RecurrentPolicy:
    policy = GaussianLSTMPolicy(SPEC, hidden_dim=4, init_std=0.5)
    return policy if action_map is None else DeployablePolicy(policy, action_map=action_map)


def actor(squash: bool, clip: bool = True) -> ActorPolicy:
    spec = BoundedArraySpec((2,), torch.float32, "act", [-0.3, -1.0], [0.2, 1.0])
    network = ActorDistributionNetwork(
        ArraySpec((3,)),
        spec,
        (8,),
        continuous_projection_net=lambda size, leaf: NormalProjection(size, leaf, 5.0, squash=squash),
    )
    return ActorPolicy(time_step_spec(ArraySpec((3,))), spec, network, clip=clip)


def skrl(**clips) -> SkrlPolicy:
    spaces = {"observation_space": SPEC.observation_space, "action_space": SPEC.action_space, "device": "cpu"}
    return SkrlPolicy(GaussianMLPModel(**spaces, **clips, output_activation=None))


POLICIES = {
    **{name: lambda action_map=action_map: garage(action_map) for name, action_map in MAPS.items()},
    "map over map": lambda: DeployablePolicy(garage(MAPS["squashed"]), action_map=MAPS["scaled"]),
    "index": lambda: DeployablePolicy(Categories(), action_map=ActionMap([0.5], [-1.0], high=[0.8])),
    "actor": lambda: actor(squash=True),
    "actor, means beyond its bounds": lambda: actor(squash=False),
    "actor behind a map": lambda: DeployablePolicy(actor(squash=False), action_map=MAPS["scaled"]),
    "skrl": lambda: skrl(clip_actions=True),
    "skrl behind a map": lambda: DeployablePolicy(skrl(clip_actions=True), action_map=MAPS["squashed"]),
}


INSIDE = {
    **dict.fromkeys(("scaled", "clipped", "squashed", "map over map"), lambda: garage(None)),
    "actor": lambda: actor(squash=True, clip=False),
    "actor, means beyond its bounds": lambda: actor(squash=False, clip=False),
    "actor behind a map": lambda: actor(squash=False, clip=False),
    "skrl": lambda: skrl(),
    "skrl behind a map": lambda: skrl(),
}
"""The same without any map."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Policy, file and contract of a name and a suffix, written once."""
    folder, known = tmp_path_factory.mktemp("drawn"), {}

    def make(name: str, suffix: str):
        if (name, suffix) not in known:
            torch.manual_seed(0)  # the same policy for every suffix
            policy, path = POLICIES[name](), folder / f"{len(known)}.{suffix}"
            # A map that scales by 10 scales what rounding did before it as well.
            known[name, suffix] = policy, path, ganglion.export(policy, path, batch=None, tolerance=1e-4)
        return known[name, suffix]

    return make


def drawn(sampler: ActionSampler, pilot: ganglion.runtime.Policy) -> np.ndarray:
    names = [spec.name for spec in pilot.contract.outputs]
    unmapped = pilot.output("unmapped_mean") if "unmapped_mean" in names else None
    return sampler.draw(pilot.output(0), pilot.output(1), unmapped)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", POLICIES)
def test_every_engine_draws_maps_and_remembers_what_python_does(exported, name):
    runs = []
    for suffix, engine in ROUTES:
        policy, path, contract = exported(name, suffix)
        assert contract.action_map == policy.action_stages != ()
        assert ganglion.inspect(path).action_map == contract.action_map
        pilot = ganglion.load(path, engine=engine, batch=3, sample_seed=7)
        sampler = ActionSampler(pilot.contract, 7, batch=3)
        generator, actions = np.random.default_rng(0), []
        for step in range(30):
            if step % 11 == 10:
                rows = np.array([True, False, True])
                pilot.reset(rows)
                sampler.reset(rows)
            action = pilot.step(generator.normal(size=(3, 3)).astype(np.float32))
            np.testing.assert_array_equal(action, drawn(sampler, pilot))
            # As torch maps it, and as the policy was trained: it remembers what it drew, not the command.
            own = torch.from_numpy(sampler.own_action)
            np.testing.assert_allclose(action, policy.as_command(own), rtol=1e-5, atol=1e-6)
            if (place := contract.previous_action) is not None:
                np.testing.assert_array_equal(pilot.state()[:, place], sampler.own_action)
            actions.append(action)
        runs.append(np.stack(actions))
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], atol=1e-4)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", INSIDE)
def test_commands_are_those_of_what_the_policy_draws_without_a_map(exported, tmp_path, name):
    policy, path, _ = exported(name, "ganglion")
    torch.manual_seed(0)
    ganglion.export(INSIDE[name](), tmp_path / "inside.ganglion", batch=None)
    inside, pilot = (ganglion.load(file, batch=4, sample_seed=5) for file in (tmp_path / "inside.ganglion", path))
    assert inside.contract.action_map == ()
    for observation in np.random.default_rng(0).normal(size=(10, 4, 3)).astype(np.float32):
        own, command = inside.step(observation), pilot.step(observation)
        np.testing.assert_allclose(command, policy.as_command(torch.from_numpy(own)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(pilot.state(), inside.state(), atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_spread_is_mapped_and_bounds_hold(exported, suffix):
    def actions(name: str) -> tuple[np.ndarray, np.ndarray]:
        pilot = ganglion.load(exported(name, suffix)[1], batch=500, sample_seed=1)
        action = pilot.step(np.ones((500, 3), np.float32))
        return action, pilot.state()[:, :2]

    scaled, own = actions("scaled")
    np.testing.assert_allclose(own.std(0), 0.5, rtol=0.1)
    np.testing.assert_allclose(scaled.std(0), own.std(0) * [10.0, 4.0], rtol=1e-4)
    (clipped, _), (squashed, _) = actions("clipped"), actions("squashed")
    assert np.abs(clipped[:, 0]).max() == np.float32(0.1) and clipped[:, 1].max() == np.float32(0.2)
    assert clipped[:, 1].min() < -0.5
    assert (squashed >= np.float32([-1.5, 0.6])).all() and (squashed <= np.float32([1.9, 1.4])).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["scaled", "clipped", "squashed", "map over map"])
@pytest.mark.parametrize("seed", [None, 3])
def test_telling_what_was_executed_changes_nothing_and_another_command_is_taken_back(exported, suffix, name, seed):
    policy, path, contract = exported(name, suffix)
    silent, told = (ganglion.load(path, batch=2, sample_seed=seed) for _ in range(2))
    place = contract.previous_action
    for observation in np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32):
        action = silent.step(observation)
        np.testing.assert_array_equal(told.step(observation), action)
        told.set_applied_action(action)
        np.testing.assert_array_equal(told.state(), silent.state())
    # What else was executed is what the policy would have given for it, in torch as in C++.
    own = np.array([[0.05, -0.4], [0.02, 0.1]], np.float32)
    command = policy.as_command(torch.from_numpy(own))
    before = torch.from_numpy(told.state())
    told.set_applied_action(command.numpy())
    np.testing.assert_allclose(told.state()[:, place], own, atol=1e-5)
    np.testing.assert_allclose(policy.with_applied_action(before, command), told.state(), atol=1e-6)
    assert torch.equal(policy.with_applied_action(before, policy.as_command(before[:, place])), before)


def test_the_outermost_commands_are_taken_back_to_finite_numbers(exported):
    pilot = ganglion.load(exported("squashed", "ganglion")[1])
    pilot.step(np.ones(3, np.float32))
    pilot.set_applied_action(np.array([3e38, -3e38], np.float32))
    assert 8.0 < pilot.state()[0] < 9.0 and -9.0 < pilot.state()[1] < -8.0
    pilot.step(np.ones(3, np.float32))


def test_a_mean_that_flies_is_remembered_as_the_policy_gave_it(exported):
    pilot = ganglion.load(exported("scaled", "ganglion")[1])
    action = pilot.step(np.ones(3, np.float32))
    np.testing.assert_array_equal(pilot.state()[:2], pilot.output("unmapped_mean"))
    np.testing.assert_allclose(action, pilot.state()[:2] * [10.0, -4.0] + [0.5, 0.0], rtol=1e-6)


def test_clipped_means_of_skrl_fly_as_they_are_and_only_draws_are_clipped(tmp_path):
    policy = skrl(clip_actions=True)
    with torch.no_grad():
        policy.model.net[-1].bias += 3.0
    ganglion.export(policy, tmp_path / "policy.ganglion")
    observation = np.ones(3, np.float32)
    assert ganglion.load(tmp_path / "policy.ganglion").step(observation).min() > 1.5
    pilot = ganglion.load(tmp_path / "policy.ganglion", sample_seed=1)
    actions = np.stack([pilot.step(observation) for _ in range(100)])
    assert actions.max() == 1.0 and actions.min() >= -1.0
    assert skrl().action_stages == skrl(clip_mean_actions=True).action_stages == ()


def test_bounds_in_the_contract_are_those_of_the_map():
    first, log_std, unmapped = garage(MAPS["clipped"]).output_specs
    assert (first.name, log_std.name, unmapped.name) == ("mean", "log_std", "unmapped_mean")
    assert (first.low, first.high) == ((-np.float32(0.1), -math.inf), (np.float32(0.1), np.float32(0.2)))
    assert (unmapped.low, unmapped.high) == ((), ())
    squashed = ActionMap([2.0, 0.5], [0.0, 1.0], low=[-1.5, -math.inf], squash=True)
    assert squashed.bounds() == ((-1.5, 0.5), (2.0, 1.5))
    assert ActionMap([2.0, 0.0], [0.0, 1.0]).bounds() == ((-math.inf, 1.0), (math.inf, 1.0))
    assert ActionMap([1.0], low=[3.0], squash=True).bounds() == ((3.0,), (3.0,))
    assert ActionMap([2.0]).bounds() == ((), ())
    assert skrl(clip_actions=True).output_specs[0].high == (1.0, 1.0)


@pytest.mark.parametrize("engine", ["automatic", "native"])
def test_nothing_is_drawn_from_a_file_that_does_not_say_what_becomes_of_it(tmp_path, engine):
    import onnx

    ganglion.export(garage(None), tmp_path / "ours.onnx")
    model = onnx.load(tmp_path / "ours.onnx")
    del model.metadata_props[:]
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    with pytest.raises(ganglion.GanglionError, match="nothing says what becomes of a drawn action"):
        ganglion.load(path, engine=engine, sample_seed=1)
    pilot = ganglion.load(path, engine=engine)
    assert pilot.contract.action_map is None and pilot.contract.distribution is None
    with pytest.raises(ganglion.GanglionError, match="nothing says how a remembered action becomes a command"):
        pilot.set_applied_action(np.zeros(2, np.float32))
    with pytest.raises(ganglion.GanglionError, match="no actions can be drawn"):
        ActionSampler(pilot.contract, 1)


def test_a_sampler_asks_for_the_mean_that_is_not_mapped():
    contract = garage(MAPS["scaled"]).contract()
    zeros = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="give the output 'unmapped_mean'"):
        ActionSampler(contract, 1).draw(zeros, zeros)


def test_an_exported_contract_keeps_the_map(tmp_path):
    policy = garage(MAPS["scaled"])
    without = dataclasses.replace(policy.contract(), action_map=())
    with pytest.raises(ganglion.ExportError, match="action map"):
        ganglion.export(policy, tmp_path / "policy.ganglion", contract=without)


class Softsign(ActionMap):
    """Is no map that a contract can say."""

    def forward(self, action):
        return torch.nn.functional.softsign(action)


def test_a_map_that_does_something_else_than_it_says_is_refused(tmp_path):
    policy = garage(Softsign([1.0, 1.0]))
    with pytest.raises(ganglion.ExportError, match="as_command of the policy differs from its action_stages"):
        ganglion.export(policy, tmp_path / "policy.ganglion")
    policy.as_command = lambda own: own
    with pytest.raises(ganglion.ExportError, match="forward of the policy differs from its action_stages"):
        ganglion.export(policy, tmp_path / "policy.ganglion")
    assert not list(tmp_path.iterdir())


def test_a_contract_cannot_name_another_output_to_draw_around(tmp_path):
    policy = garage(MAPS["scaled"])
    contract = policy.contract()
    mean, log_std, unmapped = contract.outputs
    renamed = dataclasses.replace(contract, outputs=(mean, log_std, dataclasses.replace(unmapped, name="raw")))
    with pytest.raises(ganglion.ExportError, match="actions are drawn by the names of outputs"):
        ganglion.export(policy, tmp_path / "policy.ganglion", contract=renamed)
    # Without a distribution nothing is drawn, so the names are free.
    plain = dataclasses.replace(contract, outputs=(dataclasses.replace(mean, name="actions"), log_std, unmapped))
    assert ganglion.export(policy, tmp_path / "policy.ganglion", contract=plain).distribution is None


def test_twin_of_tanh():
    values = np.concatenate([np.linspace(-12.0, 12.0, 4001), [0.0, -0.0, 1e-30, 5e-3, 800.0, -3e38]]).astype(np.float32)
    found = mapped((ActionStage(squash=True),), values[:, None])[:, 0]
    np.testing.assert_array_max_ulp(found, np.tanh(values.astype(np.float64)).astype(np.float32), 1)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"scale": (1.0,)}, "list of 1 numbers; the action has 2 elements"),
        ({"scale": (1.0, math.inf)}, "not finite"),
        ({"low": (0.0, 2.0), "high": (1.0, 1.0)}, "lower bound above the upper"),
        ({"low": (0.0, math.nan)}, "no number"),
    ],
)
def test_maps_that_are_none(stage, message):
    with pytest.raises(ganglion.ArtifactError, match=message):
        Contract(
            (TensorSpec("obs", 1),),
            (TensorSpec("mean", 2), TensorSpec("log_std", 2)),
            action_map=(ActionStage(**stage),),
        )


def test_contracts_keep_maps_to_the_bit():
    outputs = (TensorSpec("mean", 2), TensorSpec("log_std", 2))
    stages = (ActionStage(True, (0.1, 3.0), (0.0, -1e-30), (-math.inf, 0.5), (1.5, math.inf)), ActionStage())
    for action_map in (stages, None, ()):
        contract = Contract((TensorSpec("obs", 1),), outputs, action_map=action_map)
        assert Contract.from_json(contract.to_json()).action_map == action_map
    assert '"action_map"' not in Contract((TensorSpec("obs", 1),), outputs).to_json()
    with pytest.raises(ganglion.ArtifactError, match="at most 16"):
        Contract((TensorSpec("obs", 1),), outputs, action_map=(ActionStage(),) * 17)
    damaged = contract.to_json()[:-1] + ',"action_map":[{"squash":1,"scale":[],"offset":[],"low":[],"high":[]}]}'
    with pytest.raises(ganglion.ArtifactError, match="squash is 1"):
        Contract.from_json(sealed(damaged))
