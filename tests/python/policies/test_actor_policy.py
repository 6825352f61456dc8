"""What actor policies do beyond recorded numbers, with the facts recorded from the original (TF-Agents)."""

from __future__ import annotations

import copy
import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from actor_cases import (
    ACTION,
    DISCRETE,
    FACTS,
    OBSERVATION,
    SMALL,
    Memory,
    masked_policy,
    observed,
    policy_of,
    recurrent,
    rnn_network,
    shaken,
    split,
    time_step,
)
from torch import nn

from ganglion import load
from ganglion.errors import GanglionError
from ganglion.export import export
from ganglion.policies.tf_agents.actor import ActorPolicy
from ganglion.policies.tf_agents.heads import CategoricalProjection, NormalProjection, TanhProjection
from ganglion.policies.tf_agents.networks import (
    ActorDistributionNetwork,
    ActorNetwork,
    ActorRnnNetwork,
)
from ganglion.policies.tf_agents.recurrence import RecurrentLayers
from ganglion.policies.tf_agents.specs import (
    ActorTimeStep,
    ActorTrajectory,
    ArraySpec,
    BoundedArraySpec,
    PolicyInfo,
    PolicyStep,
    space_of,
    time_step_spec,
)
from ganglion.policies.tf_agents.weights import tensor_normalizer

# Every recorded fact: the test that shows the same here, or why ganglion does something else.
DECISIONS = {
    "distribution.state_omitted_on_rnn": "`distribution()` without state: zero state, as `action()` does",
    "ctor.emit_log_probability_kwarg": "`validate_args`, `emit_log_probability`: constructor arguments",
    "ctor.validate_args_kwarg": "`validate_args`, `emit_log_probability`: constructor arguments",
    "action.unbatched": "unbatched time step for recurrent nets: works",
}
OTHERWISE = {
    "ctor.time_step_spec_not_timestep": "ValueError, as the base class documents, not AttributeError by accident",
    "action_shape_mismatch_not_detected": "ValueError: a wrong shape never gets through",
}
DIFFERENCES = Path(__file__).parents[3] / "docs" / "DIFFERENCES.md"
SAVER = {
    "policy_saver.train_step_not_variable": "PolicySaver: train_step",
    "policy_saver.names_required": "PolicySaver: names of inputs and outputs",
    "policy_saver.rnn_action_without_state": "PolicySaver: the state",
}
"""Facts without a counterpart, each with its row in DIFFERENCES.md."""


class Free(ActorNetwork):
    """Gives whatever `result(observation)` makes; may be changed after the policy has been built."""

    def __init__(self, result: Any, action_spec: Any = ACTION) -> None:
        super().__init__(OBSERVATION, action_spec)
        self.result = result

    def forward(self, observation: Any, step_type: Any, network_state: Any, mask: Any) -> Any:  # noqa: ARG002
        return self.result(observation), network_state


class Normalised(ActorDistributionNetwork):
    """With batch normalisation before the dense layers."""

    def __init__(self) -> None:
        super().__init__(OBSERVATION, ACTION, (6,))
        self.batch_norm = nn.BatchNorm1d(5)

    def forward(self, observation: Any, *args: Any) -> Any:
        return super().forward(self.batch_norm(observation), *args)


def fact(name: str) -> Any:
    return FACTS[name]["result"]


def test_every_fact_is_accounted_for() -> None:
    source = inspect.getsource(inspect.getmodule(fact))  # type: ignore[arg-type]
    shown = set(re.findall(r'(?:fact\(|FACTS\[)"([^"]+)"', source))
    shown |= {*UPDATES, *BATCHNORM, *BAD_TAUS, *REFUSED, "constraint_splitter.create_variables_fails_or_masks"}
    assert len(FACTS) == 61
    assert set(FACTS) == shown | set(DECISIONS) | set(OTHERWISE) | set(SAVER)
    rows = DIFFERENCES.read_text(encoding="utf-8")
    assert all(f"| {row} |" in rows for row in SAVER.values())


# --- construction ---


def test_defaults() -> None:
    policy = recurrent()
    recorded = fact("defaults")
    assert {name: getattr(policy, name) for name in recorded} == recorded
    assert not any(module.training for module in policy.modules())
    assert policy_of(rnn_network(), name="walker").name == "walker"

    class TallWalker(ActorPolicy):
        pass

    network = rnn_network()
    assert TallWalker(time_step_spec(OBSERVATION), ACTION, network).name == "tall_walker"


def test_state_and_info_specs() -> None:
    policy = recurrent()
    assert fact("policy_state_spec").count("shape=(8,), dtype=tf.float32") == 2
    assert isinstance(policy.policy_state_spec, list)
    assert [(leaf.shape, leaf.dtype) for leaf in policy.policy_state_spec] == [((8,), torch.float32)] * 2
    assert policy.info_spec == () and fact("info_spec") == "()"


def refused(name: str) -> Any:
    """Does what the original refused; every entry must be refused here too, with the same class of exception."""
    step = time_step(observed())
    policy = recurrent()
    zeros = torch.zeros
    nested = ActorPolicy(
        time_step_spec({"a": OBSERVATION}), ACTION, ActorDistributionNetwork({"a": OBSERVATION}, ACTION)
    )
    two = [DISCRETE, DISCRETE]

    def overridden() -> Any:
        class Own(ActorPolicy):
            def action(self, *args: Any) -> Any:
                return args

        return Own(time_step_spec(OBSERVATION), ACTION, rnn_network())

    def changed(result: Any) -> Any:
        network = Free(lambda obs: obs[:, :2])
        made = policy_of(network, clip=name.endswith(".clip"))
        network.result = result
        return made.action(step)

    return {
        "get_initial_state.kwarg_required": lambda: policy.get_initial_state(),  # type: ignore[call-arg]
        "action.state_wrong_shape": lambda: policy.action(step, [zeros(3, 7), zeros(3, 8)]),
        "action.state_wrong_structure": lambda: policy.action(step, [zeros(3, 8)]),
        "action.state_tuple_instead_of_list": lambda: policy.action(step, (zeros(3, 8), zeros(3, 8))),
        "action.obs_wrong_dim": lambda: policy.action(time_step(zeros(3, 6))),
        "action.obs_wrong_dtype": lambda: policy.action(time_step(zeros(3, 5, dtype=torch.float64))),
        "action.not_a_timestep": lambda: policy.action(zeros(3, 5)),  # type: ignore[arg-type]
        "action.missing_observation_key": lambda: nested.action(time_step({"b": zeros(3, 5)})),
        "ctor.actor_network_not_network": lambda: ActorPolicy(
            time_step_spec(OBSERVATION),
            ACTION,
            nn.Linear(5, 2),  # type: ignore[arg-type]
        ),
        "ctor.output_spec_mismatch": lambda: ActorPolicy(
            time_step_spec(OBSERVATION), BoundedArraySpec((3,), torch.float32, None, -1, 1), rnn_network()
        ),
        "ctor.det_output_spec_mismatch": lambda: ActorPolicy(
            time_step_spec(OBSERVATION),
            BoundedArraySpec((3,), torch.float32, None, -1, 1),
            ActorRnnNetwork(OBSERVATION, ACTION, **SMALL),
        ),
        "ctor.splitter_continuous": lambda: policy_of(
            rnn_network(), observation_and_action_constraint_splitter=lambda obs: (obs, obs)
        ),
        "ctor.splitter_two_discrete": lambda: policy_of(
            rnn_network(two), observation_and_action_constraint_splitter=lambda obs: (obs, obs)
        ),
        "update.length_mismatch": lambda: policy.update(policy_of(rnn_network(input_fc_layer_params=()))),
        "override_public_method": overridden,
        "action_dtype_mismatch.clip": lambda: changed(lambda obs: obs[:, :2].double()),
        "action_dtype_mismatch.noclip": lambda: changed(lambda obs: obs[:, :2].double()),
    }[name]()


REFUSED = [
    "get_initial_state.kwarg_required", "action.state_wrong_shape", "action.state_wrong_structure",
    "action.state_tuple_instead_of_list", "action.obs_wrong_dim", "action.obs_wrong_dtype", "action.not_a_timestep",
    "action.missing_observation_key", "ctor.actor_network_not_network", "ctor.output_spec_mismatch",
    "ctor.det_output_spec_mismatch", "ctor.splitter_continuous", "ctor.splitter_two_discrete",
    "update.length_mismatch", "override_public_method", "action_dtype_mismatch.clip", "action_dtype_mismatch.noclip",
]  # fmt: skip
ERRORS = {"ValueError": ValueError, "TypeError": TypeError, "NotImplementedError": NotImplementedError}
MESSAGES = {
    "action.state_wrong_shape": r"\(3, 7\); expected \(\.\.\., \*\(8,\)\)",
    "action.obs_wrong_dim": r"\(3, 6\); expected \(\.\.\., \*\(5,\)\)",
    "ctor.output_spec_mismatch": r"\(1, 2\); expected \(\.\.\., \*\(3,\)\)",
    "update.length_mismatch": r"has \d+ variables, the target \d+",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_original_refuses(name: str) -> None:
    recorded = FACTS[name]
    assert not recorded["ok"]
    with pytest.raises(ERRORS[recorded["error_type"]], match=MESSAGES.get(name)):
        refused(name)


def test_where_we_do_otherwise() -> None:
    for name, kwargs in (
        ("emit_log_probability", {"emit_log_probability": True}),
        ("validate_args", {"validate_args": 0}),
    ):
        assert not FACTS[f"ctor.{name}_kwarg"]["ok"]
        assert getattr(recurrent(**kwargs), name) == kwargs[name]
    with pytest.raises(ValueError, match="time_step_spec must be an ActorTimeStep, not ArraySpec"):
        ActorPolicy(OBSERVATION, ACTION, rnn_network())  # type: ignore[arg-type]
    network = Free(lambda obs: obs[:, :2])
    policy = policy_of(network)
    assert FACTS["action_shape_mismatch_not_detected"]["ok"]
    network.result = lambda obs: obs.new_zeros(len(obs), 7)
    with pytest.raises((ValueError, RuntimeError)):
        policy.action(time_step(observed()))
    network.result = lambda obs: obs.new_zeros(len(obs) + 1, 2)
    with pytest.raises(ValueError, match=r"\(4,\) in front, the time step has \(3,\)"):
        policy.action(time_step(observed()))


class NoSuper(ActorPolicy):
    """As people forget it; `also` is what a constructor may do nevertheless."""

    def __init__(self, also: Any = None) -> None:
        if also is not None:
            also(self)


@pytest.mark.parametrize("also", [None, nn.Module.__init__])
@pytest.mark.parametrize(
    "use",
    [
        lambda policy: policy.action(time_step(observed())),
        lambda policy: policy.distribution(time_step(observed())),
        lambda policy: policy.get_initial_state(3),
        lambda policy: policy.update(recurrent()),
        lambda policy: policy.variables(),
        lambda policy: policy.trainable_variables,
        lambda policy: policy.policy_step_spec,
        lambda policy: policy.trajectory_spec,
    ],
)
def test_a_constructor_that_does_not_call_super(use: Any, also: Any) -> None:
    assert FACTS["no_super_init"]["error_type"] == "RuntimeError"
    with pytest.raises(RuntimeError, match=r"NoSuper is not complete: call super\(\).__init__\(\)"):
        use(NoSuper(also))


def test_specs_of_what_is_recorded() -> None:
    policy = recurrent(emit_log_probability=True)
    step = policy.policy_step_spec
    assert step == PolicyStep(policy.action_spec, policy.policy_state_spec, policy.info_spec)
    times = policy.time_step_spec
    assert policy.trajectory_spec == policy.collect_data_spec
    assert policy.trajectory_spec == ActorTrajectory(
        times.step_type, times.observation, step.action, step.info, times.step_type, times.reward, times.discount
    )
    # The names, in their order, of TF-Agents' own tuple.
    fields = "step_type observation action policy_info next_step_type reward discount"
    assert ActorTrajectory._fields == tuple(fields.split())


def test_variables_by_what_training_may_change() -> None:
    policy = policy_of(Normalised())
    trained = {id(one) for one in policy.trainable_variables}
    others = {id(one) for one in policy.non_trainable_variables}
    assert trained == {id(one) for one in policy.parameters()}
    assert trained | others == {id(one) for one in policy.variables()}
    assert not trained & others


def test_the_name_is_the_tenth_argument() -> None:
    network = rnn_network()
    arguments = ((), (), None, True, False, None, "walker")
    assert ActorPolicy(time_step_spec(OBSERVATION), ACTION, network, *arguments).name == "walker"


# --- what `PolicySaver` is there: a file ---


@pytest.mark.deep
def test_a_written_policy_gives_the_same(tmp_path: Path) -> None:
    policy, path = shaken(recurrent()), tmp_path / "policy.ganglion"
    export(policy, path, batch=3)
    pilot, state, same = load(path), policy.get_initial_state(3), True
    for _ in range(4):
        step = time_step(observed())
        expected, state, _ = policy.distribution(step, state)
        same &= bool(torch.allclose(torch.from_numpy(pilot.step(step.observation.numpy())), expected.mean, atol=1e-5))
    assert same is fact("policy_saver.roundtrip")["equal"]


def test_what_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "policy.ganglion"
    policy = recurrent()
    wrong: Any = {"a": 1}
    for name, error, write in (
        (FACTS["policy_saver.bad_batch_size"], GanglionError, lambda: export(policy, path, batch=0)),
        (FACTS["policy_saver.not_policy"], TypeError, lambda: export(3, path)),  # type: ignore[arg-type]
        (
            FACTS["policy_saver.metadata_not_variable"],
            GanglionError,
            lambda: export(policy, path, contract=policy.contract(provenance=wrong)),
        ),
    ):
        assert not name["ok"]
        with pytest.raises(error):
            write()
        assert not path.exists()


def test_without_validation_other_dtypes_get_through() -> None:
    network = Free(lambda obs: obs[:, :2])
    policy = policy_of(network, clip=False, validate_args=False)
    network.result = lambda obs: obs[:, :2].double()
    assert fact("action_dtype_mismatch.noclip_novalidate") == "<dtype: 'float64'>"
    assert policy.action(time_step(observed())).action.dtype == torch.float64


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"observation_normalizer": nn.Identity()}, TypeError, "must be an ObservationNormalizer, not Identity"),
        (
            {"observation_normalizer": tensor_normalizer([0.0], [1.0])},
            ValueError,
            "has 1 elements but the network takes 5",
        ),
        ({"policy_state_spec": [ArraySpec((7,)), ArraySpec((8,))]}, ValueError, r"\(7,\); expected \(\.\.\., \*\(8,\)"),
        ({"policy_state_spec": [ArraySpec((8,))]}, ValueError, r"keys \[0\]; expected \[0, 1\]"),
        ({"info_spec": [ArraySpec(())], "emit_log_probability": True}, ValueError, "must be a dict"),
    ],
)
def test_parts_that_do_not_fit(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        recurrent(**kwargs)


def test_the_network_must_take_the_observation() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4\); expected \(\.\.\., \*\(5,\)\)"):
        ActorPolicy(time_step_spec(ArraySpec((4,))), ACTION, rnn_network())
    with pytest.raises(ValueError, match="structure"):
        ActorPolicy(time_step_spec({"obs": OBSERVATION}), ACTION, rnn_network())


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="torch dtype"):
        ArraySpec((2,), "float32")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"torch.nn.LSTM or torch.nn.GRU, not RNN"):
        RecurrentLayers([nn.RNN(5, 8)])
    with pytest.raises(TypeError, match="nest of ArraySpecs"):
        space_of({"a": 3})
    policy = recurrent()
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor, not ndarray"):
        policy.action(time_step(observed())._replace(observation=observed().numpy()))
    with pytest.raises(TypeError, match="step_type must be"):
        policy.action(time_step(observed())._replace(step_type=torch.ones(3)))
    with pytest.raises(TypeError, match="must be an ActorPolicy"):
        policy.update(nn.Linear(1, 1))  # type: ignore[arg-type]


# --- state ---


@pytest.mark.parametrize("size", [None, 3, 0])
def test_initial_state(size: int | None) -> None:
    shapes = {None: fact("get_initial_state.None"), 3: fact("get_initial_state.3"), 0: fact("get_initial_state.0")}
    state = recurrent().get_initial_state(size)
    assert [list(leaf.shape) for leaf in state] == shapes[size]
    assert not any(leaf.any() for leaf in state)


def test_structure_of_states() -> None:
    assert policy_of(ActorDistributionNetwork(OBSERVATION, ACTION)).get_initial_state(2) == ()
    stacked = policy_of(rnn_network(lstm_size=(8, 6))).get_initial_state(2)
    assert [[tuple(leaf.shape) for leaf in layer] for layer in stacked] == [[(2, 8), (2, 8)], [(2, 6), (2, 6)]]
    gru = {"lstm_size": None, "rnn_construction_fn": nn.GRU, "rnn_construction_kwargs": {"hidden_size": 4}}
    assert policy_of(rnn_network(**gru)).get_initial_state(2).shape == (2, 4)


def test_missing_state_is_the_initial_one() -> None:
    policy, step = shaken(recurrent()), time_step(observed())
    action = policy.action(step)
    assert [list(leaf.shape) for leaf in action.state] == fact("action.state_omitted_on_rnn")
    assert not FACTS["distribution.state_omitted_on_rnn"]["ok"]
    zero = policy.distribution(step, policy.get_initial_state(3))
    assert torch.equal(policy.distribution(step).action.mean, zero.action.mean)


def test_rows_at_a_first_step_are_reset() -> None:
    policy, obs = shaken(recurrent()), observed()
    state = [torch.randn(3, 8), torch.randn(3, 8)]
    found = policy.distribution(time_step(obs, [0, 1, 2]), state)
    fresh, kept = policy.distribution(time_step(obs)), policy.distribution(time_step(obs), state)
    recorded = fact("automatic_state_reset_rowwise")
    assert torch.equal(found.action.mean[0], fresh.action.mean[0]) == recorded["row0_as_zero_state"]
    assert torch.equal(found.action.mean[1], kept.action.mean[1]) == recorded["row1_keeps_state"]
    assert torch.equal(found.action.mean[2], kept.action.mean[2]) == fact("LAST_does_not_reset")
    assert not torch.equal(fresh.action.mean[0], kept.action.mean[0])


@pytest.mark.parametrize("automatic", [True, False])
def test_automatic_reset_can_be_turned_off(automatic: bool) -> None:
    policy = policy_of(Memory(), automatic_state_reset=automatic)
    state = torch.full((2, 2), 0.5)
    found = policy.action(time_step(observed(2), [0, 1]), state).action
    assert found.tolist() == [[0.0 if automatic else 0.5] * 2, [0.5] * 2]
    # With a time axis the first step of each row decides.
    found = policy.action(time_step(torch.randn(2, 3, 5), [[0, 1, 1], [1, 0, 1]]), state).action
    assert found[:, 0, 0].tolist() == [0.0 if automatic else 0.5, 0.5]


def test_sequences_equal_steps() -> None:
    for network in (rnn_network(lstm_size=(8, 6)), rnn_network(lstm_size=(8, 8))):
        policy = shaken(policy_of(network))
        obs, kinds = torch.randn(4, 9, 5), torch.randint(0, 3, (4, 9))
        state = start = [[torch.randn(4, leaf.size) for leaf in layer] for layer in network.state_spec]
        whole = policy.distribution(time_step(obs, kinds), start)
        for t in range(9):
            step = policy.distribution(time_step(obs[:, t], kinds[:, t]), state)
            state = step.state
            torch.testing.assert_close(step.action.mean, whole.action.mean[:, t], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(state, whole.state, atol=1e-6, rtol=1e-5)


def test_layers_of_the_users_own_choice_are_not_reset_inside_a_sequence() -> None:
    network = rnn_network(lstm_size=None, rnn_construction_fn=nn.LSTM, rnn_construction_kwargs={"hidden_size": 8})
    policy, obs = shaken(policy_of(network)), torch.randn(2, 4, 5)
    mid = policy.distribution(time_step(obs, torch.ones(2, 4))).action.mean
    first = policy.distribution(time_step(obs, torch.tensor([[1, 1, 0, 1]]))).action.mean
    assert torch.equal(first, mid)
    cells = shaken(recurrent())
    mid = cells.distribution(time_step(obs, torch.ones(2, 4))).action.mean
    first = cells.distribution(time_step(obs, torch.tensor([[1, 1, 0, 1]]))).action.mean
    assert torch.equal(first[:, :2], mid[:, :2]) and not torch.allclose(first[:, 2:], mid[:, 2:])


def test_unbatched_steps() -> None:
    assert not FACTS["action.unbatched"]["ok"]
    policy, obs = shaken(recurrent(emit_log_probability=True)), observed()
    state = policy.get_initial_state(None)
    found = policy.action(time_step(obs[0]), state)
    assert found.action.shape == (2,) and found.info.log_probability.shape == ()
    assert [leaf.shape for leaf in found.state] == [(8,), (8,)]
    rows = policy.distribution(time_step(obs))
    torch.testing.assert_close(policy.distribution(time_step(obs[0])).action.mean, rows.action.mean[0])
    masked = masked_policy().action(time_step({"obs": obs[0], "mask": torch.tensor([False, True, False, False])}))
    assert masked.action == 1 and masked.action.shape == ()


@pytest.mark.parametrize(
    ("obs", "step_type", "rows", "message"),
    [
        ((3, 5), (2,), 3, r"step_type has shape \(2,\) and the observation has \(3,\)"),
        ((3, 5), (3, 1), 3, r"step_type has shape \(3, 1\) and the observation has \(3,\)"),
        ((2, 2, 2, 5), (2, 2, 2), 2, r"\(batch, time\)"),
        ((3, 5), (3,), 2, r"policy_state has \(2,\) in front; with a time step of \(3,\) expected \(3,\)"),
        ((3, 4, 5), (3, 4), 4, r"policy_state has \(4,\) in front; with a time step of \(3, 4\) expected \(3,\)"),
        ((5,), (), 1, r"policy_state has \(1,\) in front; with a time step of \(\) expected \(\)"),
    ],
)
def test_axes_in_front_must_fit(obs: Any, step_type: Any, rows: int, message: str) -> None:
    policy = recurrent()
    step = ActorTimeStep(torch.ones(step_type, dtype=torch.int32), (), (), torch.zeros(obs))
    for call in (policy.action, policy.distribution):
        with pytest.raises(ValueError, match=message):
            call(step, policy.get_initial_state(rows))


# --- observations and actions ---


def test_extra_keys_are_pruned() -> None:
    spec = {"a": ArraySpec((2,)), "b": [ArraySpec(())]}
    policy = policy_of(ActorDistributionNetwork(spec, ACTION, (4,)))
    observation = {"a": torch.randn(3, 2), "b": [torch.randn(3)]}
    expected = policy.distribution(time_step(observation)).action.mean
    extra = time_step({**observation, "A": torch.zeros(3)})
    assert [list(policy.action(extra).action.shape)] == fact("action.extra_observation_keys_are_pruned")
    assert torch.equal(policy.distribution(extra).action.mean, expected)


def test_only_bounded_actions_are_clipped() -> None:
    spec = [ArraySpec((2,)), ACTION]
    policy = policy_of(Free(lambda obs: [torch.full((len(obs), 2), 99.0)] * 2, spec))
    step = time_step(observed(1))
    found = policy.action(step).action
    assert [leaf[0].tolist() for leaf in found] == fact("clip_only_for_BoundedTensorSpec")
    assert all((d.mean == 99.0).all() for d in policy.distribution(step).action)
    assert policy_of(policy.actor_network, clip=False).action(step).action[1].tolist() == [[99.0, 99.0]]


def test_masked_actions_are_never_taken() -> None:
    policy, mask = shaken(masked_policy(emit_log_probability=True)), torch.rand(500, 4) < 0.4
    mask[torch.arange(500), torch.randint(0, 4, (500,))] = True
    observation = {"obs": torch.randn(500, 5), "mask": mask}
    found = policy.action(time_step(observation))
    assert found.action.dtype == torch.int32
    assert mask[torch.arange(500), found.action.long()].all()
    assert found.info.log_probability.isfinite().all()
    assert not mask[:, 0].all() and (found.action == 0).any()
    logits = policy.distribution(time_step(observation)).action.raw_logits
    assert (logits[~mask] == torch.finfo(torch.float32).min).all()
    assert logits.isfinite().all()
    # The flat function takes the mask as its second input.
    actions, flat, *_ = policy(torch.cat((observation["obs"], mask), 1))
    assert torch.equal(flat, logits)
    assert mask[torch.arange(500), actions[:, 0].long()].all()
    assert [(spec.name, spec.size) for spec in policy.input_specs] == [("obs", 5), ("mask", 4)]
    assert (policy.input_specs[1].low, policy.input_specs[1].high) == ((0.0,) * 4, (1.0,) * 4)


def test_masks_of_other_kinds() -> None:
    observation = {"obs": observed(), "mask": torch.tensor([[0, 1, 0, 1]] * 3)}
    numbers = {"obs": OBSERVATION, "mask": ArraySpec((4,), torch.int64)}
    policy = ActorPolicy(
        time_step_spec(numbers), DISCRETE, rnn_network(DISCRETE), observation_and_action_constraint_splitter=split
    )
    logits = policy.distribution(time_step(observation)).action.raw_logits
    assert (logits == torch.finfo(torch.float32).min).tolist() == [[True, False, True, False]] * 3
    several = BoundedArraySpec((2,), torch.int64, None, 0, 3)
    head = CategoricalProjection(5, several)
    assert head(observed(), torch.ones(3, 4, dtype=torch.bool)).raw_logits.shape == (3, 2, 4)
    shared = head(observed(), torch.tensor([[True, False, True, True]] * 3))
    assert (shared.raw_logits[:, :, 1] == torch.finfo(torch.float32).min).all()
    for mask in (torch.ones(3, 3), torch.ones(4), torch.ones(1, 4), torch.ones(3, 1, 4)):
        with pytest.raises(ValueError, match=rf"mask has shape {re.escape(str(tuple(mask.shape)))}; expected \(3, 4\)"):
            head(observed(), mask.bool())
    for other in (NormalProjection(5, ACTION), TanhProjection(5, ACTION)):
        with pytest.raises(NotImplementedError, match="discrete"):
            other(observed(), torch.ones(3, 2, dtype=torch.bool))


def test_log_probability_is_that_of_the_unclipped_sample() -> None:
    # A wide distribution: about half of the samples are clipped.
    policy = recurrent(emit_log_probability=True)
    with torch.no_grad():
        policy.actor_network.projections[0].std_layer.bias.fill_(4.0)
    recorded, step = fact("emit_log_probability"), time_step(observed(200))
    assert type(policy.info_spec).__name__ == recorded["info_type"]
    distribution = policy.distribution(step)
    assert distribution.info.log_probability == recorded["distribution_info"]
    torch.manual_seed(5)
    found = policy.action(step)
    torch.manual_seed(5)
    sample = distribution.action.rsample()
    torch.testing.assert_close(found.info.log_probability, distribution.action.log_prob(sample))
    clipped = distribution.action.log_prob(found.action)
    assert recorded["log_prob"] != recorded["log_prob_of_clipped_action"]
    assert (clipped != found.info.log_probability).any()
    assert found.info.log_probability.shape == (200,)


def test_info_specs_with_log_probability() -> None:
    policy = recurrent(emit_log_probability=True, info_spec={"x": ArraySpec(())})
    assert sorted(policy.info_spec) == ["log_probability", "x"]
    assert "'log_probability': Bounded" in fact("emit_log_probability.dict_info_spec")
    limits = policy.info_spec["log_probability"]
    assert (limits.shape, limits.minimum, limits.maximum) == ((), (-math.inf,), (0.0,))

    class WithInfo(ActorPolicy):
        def _distribution(self, time_step: ActorTimeStep, policy_state: Any) -> PolicyStep:
            return super()._distribution(time_step, policy_state)._replace(info={"x": torch.zeros(3)})

    informed = WithInfo(
        time_step_spec(OBSERVATION),
        ACTION,
        rnn_network(),
        info_spec={"x": ArraySpec(())},
        emit_log_probability=True,
    )
    assert sorted(informed.action(time_step(observed())).info) == ["log_probability", "x"]
    with pytest.raises(TypeError, match="info: the structure"):
        policy.action(time_step(observed()))
    nested = policy_of(
        rnn_network([ACTION, BoundedArraySpec((2,), torch.int64, None, 0, 2)]), emit_log_probability=True
    )
    info = nested.action(time_step(observed())).info
    assert isinstance(info, PolicyInfo)
    assert [leaf.shape for leaf in info.log_probability] == [(3,), (3,)]


def test_seeds_work_as_in_the_original() -> None:
    policy, step = recurrent(), time_step(observed())
    recorded = fact("action.seed_repeatability")

    def draw(seed: int | None) -> torch.Tensor:
        return policy.action(step, seed=seed).action

    torch.manual_seed(3)
    first, second = draw(7), draw(7)
    torch.manual_seed(3)
    again, other = draw(7), draw(8)
    assert torch.equal(first, second) == recorded["two_calls_same_seed_equal"]
    assert torch.equal(first, again) == recorded["after_set_seed_equal"]
    assert not torch.equal(second, other)
    torch.manual_seed(3)
    plain = draw(None)
    torch.manual_seed(3)
    assert torch.equal(draw(None), plain)


def test_gradients_flow_through_actions() -> None:
    for network in (rnn_network(), ActorRnnNetwork(OBSERVATION, ACTION, **SMALL)):
        policy = policy_of(network, clip=False)
        policy.action(time_step(observed())).action.sum().backward()
        heads = list(network.projections.parameters())
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in heads)


def test_normalisation_comes_behind_the_splitter() -> None:
    normalizer = tensor_normalizer([1.0] * 5, [4.0] * 5)
    x = torch.tensor([[1.0, 3.0, -1.0, 1e6, -1e6]])
    expected = torch.tensor([[0.0, 2.0 / math.sqrt(4.001), -2.0 / math.sqrt(4.001), 5.0, -5.0]])
    torch.testing.assert_close(normalizer(x), expected)
    network = rnn_network(DISCRETE)
    policy, plain = masked_policy(network, observation_normalizer=normalizer), masked_policy(network)
    mask = torch.tensor([[True, True, False, True]])
    found = policy.distribution(time_step({"obs": x, "mask": mask})).action.raw_logits
    assert torch.equal(found, plain.distribution(time_step({"obs": normalizer(x), "mask": mask})).action.raw_logits)
    assert torch.equal(policy(torch.cat((x, mask), 1))[1], found)
    count = int(normalizer.count)
    policy.action(time_step({"obs": x, "mask": mask}))
    assert int(normalizer.count) == count and torch.equal(normalizer.mean, torch.ones(5))


def test_variables_include_the_normaliser() -> None:
    recorded = fact("variables_include_normalizer")
    network = rnn_network()
    with_it = policy_of(network, observation_normalizer=tensor_normalizer([0.0] * 5, [1.0] * 5)).variables()
    assert recorded["n_with"] > recorded["n_without"]
    # Ours has mean, variance and count.
    assert len(with_it) == len(policy_of(network).variables()) + 3
    assert with_it[0] is next(network.parameters())


def test_training_flag() -> None:
    network, step = Normalised(), time_step(observed(50) * 3.0 + 1.0)
    before = copy.deepcopy(network.batch_norm.state_dict())
    evaluating = policy_of(network).distribution(step).action.mean
    # Building a policy leaves no trace in the statistics.
    assert all(torch.equal(value, before[name]) for name, value in network.batch_norm.state_dict().items())
    policy = policy_of(network, training=True)
    assert policy.training and network.batch_norm.training
    assert (
        torch.equal(policy.distribution(step).action.mean, evaluating)
        == fact("training_flag_changes_output_batchnorm")["equal"]
    )


# --- update ---

UPDATES = {
    "update.tau1.0": {"tau": 1.0},
    "update.tau0.25": {"tau": 0.25},
    "update.tau0.0": {"tau": 0.0},
    "update.sorted": {"sort_variables_by_name": True},
}
BAD_TAUS = {
    "update.tau-0.1": {"tau": -0.1},
    "update.tau1.5": {"tau": 1.5},
    "update.tau_non_trainable2": {"tau_non_trainable": 2.0},
}
BATCHNORM = {
    "update.batchnorm.tau0.25.tntNone": (0.25, None),
    "update.batchnorm.tau0.25.tnt1.0": (0.25, 1.0),
    "update.batchnorm.tau0.25.tnt0.0": (0.25, 0.0),
    "update.batchnorm.tau0.0.tnt1.0": (0.0, 1.0),
    "update.batchnorm.tau1.0.tnt0.5": (1.0, 0.5),
}


def snapshot(policy: ActorPolicy) -> list[torch.Tensor]:
    return [variable.detach().clone() for variable in policy.variables()]


@pytest.mark.parametrize("case", UPDATES)
def test_update(case: str) -> None:
    source, target = shaken(recurrent()), shaken(recurrent())
    theirs, before = snapshot(source), snapshot(target)
    target.update(source, **UPDATES[case])
    recorded, tau = fact(case), UPDATES[case].get("tau", 1.0)
    assert recorded["matches_formula"]
    for old, new, now in zip(before, theirs, target.variables(), strict=True):
        torch.testing.assert_close(now.detach(), (1.0 - tau) * old + tau * new)
    unchanged = all(torch.equal(old, now) for old, now in zip(before, target.variables(), strict=True))
    assert unchanged == recorded["unchanged"]
    assert all(torch.equal(old, now) for old, now in zip(theirs, source.variables(), strict=True))


@pytest.mark.parametrize("case", BATCHNORM)
def test_update_of_what_is_not_trained(case: str) -> None:
    source, target = policy_of(Normalised()), policy_of(Normalised())
    for policy, value in ((source, 1.0), (target, 0.0)):
        for variable in policy.variables():
            variable.detach().fill_(value)
    tau, tau_non_trainable = BATCHNORM[case]
    target.update(source, tau, tau_non_trainable)
    recorded = fact(case)
    trained = {float(parameter.detach().unique()) for parameter in target.parameters()}
    buffers = {
        float(b.unique()) for name, b in target.named_buffers() if name.endswith(("running_mean", "running_var"))
    }
    assert (sorted(trained), sorted(buffers)) == (recorded["trainable"], recorded["non_trainable"])
    counter = target.actor_network.batch_norm.num_batches_tracked
    assert counter == (recorded["non_trainable"] != [0.0])


@pytest.mark.parametrize("case", BAD_TAUS)
def test_update_refuses_fractions_out_of_range(case: str) -> None:
    assert FACTS[case]["error_type"] == "ValueError"
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        recurrent().update(recurrent(), **BAD_TAUS[case])
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        recurrent().update(recurrent(), tau=math.nan)


def test_update_refuses_other_shapes_and_changes_nothing() -> None:
    target = recurrent()
    before = snapshot(target)
    with pytest.raises(ValueError, match=r"has shape \(9, 5\), .* has \(7, 5\)"):
        target.update(policy_of(rnn_network(input_fc_layer_params=(9,))))
    assert all(torch.equal(old, now) for old, now in zip(before, target.variables(), strict=True))


def test_sorting_pairs_modules_that_were_made_in_another_order() -> None:
    class Pair(ActorNetwork):
        def __init__(self, names: str) -> None:
            super().__init__(OBSERVATION, ACTION)
            for name in names:
                self.add_module(name, nn.Linear(5, 2))

        def forward(self, observation: Any, step_type: Any, network_state: Any, mask: Any) -> Any:  # noqa: ARG002
            return self.a(observation) - self.b(observation), network_state

    source, target = policy_of(Pair("ab")), policy_of(Pair("ba"))
    step = time_step(observed())
    target.update(source, sort_variables_by_name=True)
    assert torch.equal(target.action(step).action, source.action(step).action)
    target.update(source)
    assert not torch.equal(target.action(step).action, source.action(step).action)
