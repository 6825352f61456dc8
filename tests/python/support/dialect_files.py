"""Writes ONNX files as other projects' exporters write them, without our contract, each with a recording of its origin.

The names, shapes, dtypes and metadata are those of the exporters' own sources, which every function names. Where an
exporter needs a simulator, the function repeats its call of `torch.onnx.export` around a net of the same class.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

_STEPS = 40
_RESETS = (0, 7, 8, 23)
"""Steps before which the state is set to zeros; two in a row among them."""

State = dict[str, Tensor]
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""Observation `[1, n]` and state by input name -> action `[1, m]` and new state by input name."""


@dataclass(frozen=True)
class DialectFile:
    """A file and what the original Python answered.

    Attributes:
        path: the ONNX file.
        obs: `[T, n]` float32, the observation; inputs of the file side by side in `observations`' order.
        reset: `[T]` bool, the state is set to zeros before these steps.
        actions: `[T, m]` float32, the original's answer, with the state kept by the original's own rules.
        observations: columns of `obs` by the name of the input that takes them.
        states: output that feeds back, by the name of the state input; state inputs start as zeros.
        action: the output with the action.
        columns: leading columns of that output that are the action; further ones are the standard deviation.
        rows: rows that the file insists on; all rows are given the same values.
        is_init: input that takes `reset` itself, where there is one.
        counter: input that counts the steps since the reset, where there is one.
        constants: further inputs and their fixed values.
        metadata: `metadata_props` of the file.
    """

    path: Path
    obs: np.ndarray
    reset: np.ndarray
    actions: np.ndarray
    observations: Mapping[str, slice]
    states: Mapping[str, str]
    action: str
    columns: int
    rows: int = 1
    is_init: str | None = None
    counter: str | None = None
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, str]:
        return {entry.key: entry.value for entry in onnx.load(self.path, load_external_data=False).metadata_props}


# rl_games ------------------------------------------------------------------------------------------------------------


def rl_games_model(
    cell: str | None,
    *,
    obs_size: int = 5,
    action_size: int = 3,
    layers: int = 1,
    units: int = 8,
    separate: bool = False,
    before_mlp: bool = False,
    concat_input: bool = False,
    concat_output: bool = False,
    layer_norm: bool = False,
    seed: int = 0,
) -> nn.Module:
    """A continuous actor-critic of rl_games' own builder, in eval mode, with statistics that are not trivial."""
    from rl_games.algos_torch.model_builder import ModelBuilder

    torch.manual_seed(seed)
    network: dict[str, Any] = {
        "name": "actor_critic",
        "separate": separate,
        "space": {
            "continuous": {
                "mu_activation": "None",
                "sigma_activation": "None",
                "mu_init": {"name": "default"},
                "sigma_init": {"name": "const_initializer", "val": -0.5},
                "fixed_sigma": True,
            }
        },
        "mlp": {"units": [16, 12], "activation": "elu", "initializer": {"name": "default"}},
    }
    if cell is not None:
        network["rnn"] = {
            "name": cell,
            "units": units,
            "layers": layers,
            "before_mlp": before_mlp,
            "concat_input": concat_input,
            "concat_output": concat_output,
            "layer_norm": layer_norm,
        }
    params = {"algo": {"name": "a2c_continuous"}, "model": {"name": "continuous_a2c_logstd"}, "network": network}
    model: nn.Module = (
        ModelBuilder()
        .load(params)
        .build(
            {
                "actions_num": action_size,
                "input_shape": (obs_size,),
                "num_seqs": 1,
                "value_size": 1,
                "normalize_value": True,
                "normalize_input": True,
            }
        )
    )
    statistics: Any = model.running_mean_std
    statistics.running_mean.copy_(torch.linspace(-1.0, 2.0, obs_size, dtype=torch.float64))
    statistics.running_var.copy_(torch.linspace(0.2, 3.0, obs_size, dtype=torch.float64))
    return model.eval()


class _RlGamesWrapper(nn.Module):
    """`ModelWrapper` of rl_games' notebooks: normalises, then runs the network, without the distribution."""

    def __init__(self, model: nn.Module, outputs: int | None = None) -> None:
        super().__init__()
        self._model: Any = model
        self._mu_and_states = outputs is not None

    def forward(self, input_dict: dict[str, Any]) -> Any:
        inputs = dict(input_dict)
        inputs["obs"] = self._model.norm_obs(inputs["obs"])
        mu, sigma, value, states = self._model.a2c_network(inputs)
        return (mu, states) if self._mu_and_states else (mu, sigma, value, states)


def rl_games(
    folder: Path,
    cell: str | None = "lstm",
    *,
    layers: int = 1,
    separate: bool = False,
    names: str = "notebook",
    **options: Any,
) -> DialectFile:
    """The export of `notebooks/train_and_export_onnx_example_lstm_continuous.ipynb`, rl_games 1.6.5.

    The notebook gives an input and an output the same name, `out_state`, so the legacy exporter renames the input to
    `out_state.1`. With `names="trimmed"` only the mean and the states are outputs, as the adversaries of IsaacGymEnvs
    (DeXtreme) read them; `names="rnn"` takes those of rl_games' own test (`tests/test_lstm_onnx_export.py`).
    """
    from rl_games.algos_torch import flatten

    model: Any = rl_games_model(cell, layers=layers, separate=separate, **options)
    initial = model.get_default_rnn_state() if cell else ()
    initial = tuple(state.clone() for state in initial)
    parts = {0: [], 1: ["out_state"], 2: ["out_state", "hidden_state"], 4: ["a_h", "a_c", "c_h", "c_c"]}[len(initial)]
    if separate and cell == "gru":
        parts = ["a_h", "c_h"]
    if names == "rnn":
        parts = ["rnn_h", "rnn_c"][: len(initial)]
    leading = ["mu"] if names == "trimmed" else ["mu", "log_std", "value"]
    state_outputs = [f"{part}_out" for part in parts] if names == "rnn" else parts
    inputs = {"obs": torch.zeros(1, 5), "rnn_states": initial if cell else None}
    path = folder / f"rl_games_{cell or 'mlp'}_{names}.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapper = _RlGamesWrapper(model, 1 if names == "trimmed" else None)
        adapter = flatten.TracingAdapter(wrapper, inputs, allow_non_tensor=True)
        traced = torch.jit.trace(adapter, adapter.flattened_inputs, check_trace=False)
        torch.onnx.export(
            traced,
            adapter.flattened_inputs,
            str(path),
            input_names=["obs", *parts],
            output_names=[*leading, *state_outputs],
            dynamo=False,
        )
    # The exporter leaves the wrapper, and with it the statistics inside, in train mode.
    model.eval()
    suffix = "" if names == "rnn" else ".1"
    keys = [f"{part}{suffix}" for part in parts]

    def step(obs: Tensor, state: State) -> tuple[Tensor, State]:
        rnn_states = tuple(state[key] for key in keys) if keys else None
        answer = model({"is_train": False, "prev_actions": None, "obs": obs, "rnn_states": rnn_states})
        return answer["mus"], dict(zip(keys, answer["rnn_states"] or (), strict=True))

    zeros = dict(zip(keys, initial, strict=True))
    obs, reset, actions = _record(step, 5, zeros)
    return DialectFile(
        path, obs, reset, actions, {"obs": slice(0, 5)}, dict(zip(keys, state_outputs, strict=True)), "mu", 3
    )


# RLlib, old API stack ------------------------------------------------------------------------------------------------


class _RllibNet(nn.Module):
    """`LSTMWrapper` around `FullyConnectedNetwork` of ray 2.60.0, rllib/models/torch/recurrent_net.py.

    Also a GRU in the same places, as RLlib's example of `RecurrentNetwork` has it. States are batch-major, `[B, cell]`.
    """

    def __init__(self, cell: str | None, obs_size: int, action_size: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(obs_size, 12)
        self.outputs = 2 * action_size
        self.cell = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](12, units, batch_first=True) if cell else None
        self.logits = nn.Linear(units if cell else 12, self.outputs)

    def forward(
        self, input_dict: Mapping[str, Tensor], state: list[Tensor], seq_lens: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        features = torch.tanh(self.hidden(input_dict["obs"].float()))
        if self.cell is None:
            return self.logits(features), state
        # add_time_dimension, rllib/policy/rnn_sequencing.py.
        sequences = seq_lens.shape[0]
        features = features.view((sequences, features.shape[0] // sequences, *features.shape[1:]))
        if isinstance(self.cell, nn.LSTM):
            features, (h, c) = self.cell(features, (state[0].unsqueeze(0), state[1].unsqueeze(0)))
            new_state = [h.squeeze(0), c.squeeze(0)]
        else:
            features, h = self.cell(features, state[0].unsqueeze(0))
            new_state = [h.squeeze(0)]
        return self.logits(features).reshape(-1, self.outputs), new_state


def rllib(folder: Path, cell: str | None = "lstm", *, opset: int = 12) -> DialectFile:
    """`TorchPolicyV2.export_model(onnx=opset)` of ray 2.60.0, rllib/policy/torch_policy_v2.py.

    The names are given in order: the entries of the dictionary, `state_ins`, `seq_lens`. Entries that the net does not
    read are dropped later. With two states in the list, as an LSTM has them, h is therefore called `state_ins` and c
    `seq_lens`; the lengths themselves lose their dynamic axis and become a constant of a Reshape, so that it takes
    the four rows of RLlib's dummy batch and no other number. With one state everything has its name.
    """
    torch.manual_seed(1)
    units = 6
    net = _RllibNet(cell, 4, 2, units).eval()
    rows = 4 if cell else 1
    count = {"lstm": 2, "gru": 1, None: 0}[cell]
    batch = {"obs": torch.zeros(32, 4)} | {f"state_in_{i}": torch.zeros(rows, units) for i in range(count)}
    if cell is None:
        # "Provide dummy state inputs if not an RNN".
        batch["state_in_0"] = torch.ones(1)
        batch["seq_lens"] = torch.ones(1)
    else:
        batch["seq_lens"] = torch.full((rows,), 32 // rows, dtype=torch.int32)
    states = [value for key, value in batch.items() if key.startswith("state_in_")]
    inputs = [*batch, "state_ins", "seq_lens"]
    path = folder / f"rllib_{cell or 'mlp'}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (batch, states, batch["seq_lens"]),
            str(path),
            export_params=True,
            opset_version=opset,
            do_constant_folding=True,
            input_names=inputs,
            output_names=["output", "state_outs"],
            dynamic_axes={key: {0: "batch_size"} for key in inputs},
            dynamo=False,
        )
    graph = onnx.load(path).graph
    outputs = [tensor.name for tensor in graph.output[1:]]
    pairs = dict(zip([tensor.name for tensor in graph.input[1:]], outputs, strict=False))
    recorded = _record(_rllib_step(net, list(pairs)[:count]), 4, {key: torch.zeros(1, units) for key in pairs})
    lengths = {"seq_lens": np.ones(1, np.int32)} if cell == "gru" else {}
    rows = 4 if cell == "lstm" else 1
    return DialectFile(path, *recorded, {"obs": slice(0, 4)}, pairs, "output", 2, rows, constants=lengths)


def rllib_named(folder: Path, cell: str = "lstm") -> DialectFile:
    """The names that RLlib's users give by hand: `obs, state_in_*, seq_lens -> output, state_out_*`; any batch."""
    torch.manual_seed(2)
    units = 6
    net = _RllibNet(cell, 4, 2, units).eval()
    count = {"lstm": 2, "gru": 1}[cell]
    states = [torch.zeros(1, units) for _ in range(count)]
    keys = [f"state_in_{i}" for i in range(count)]
    outputs = ["output", *(f"state_out_{i}" for i in range(count))]
    path = folder / f"rllib_named_{cell}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            ({"obs": torch.zeros(1, 4)}, states, torch.ones(1, dtype=torch.int32)),
            str(path),
            opset_version=14,
            input_names=["obs", *keys, "seq_lens"],
            output_names=outputs,
            dynamic_axes={key: {0: "batch_size"} for key in ("obs", *keys, "seq_lens", *outputs)},
            dynamo=False,
        )
    recorded = _record(_rllib_step(net, keys), 4, dict(zip(keys, states, strict=True)))
    pairs = dict(zip(keys, outputs[1:], strict=True))
    lengths = {"seq_lens": np.ones(1, np.int32)}
    return DialectFile(path, *recorded, {"obs": slice(0, 4)}, pairs, "output", 2, constants=lengths)


def _rllib_step(net: nn.Module, keys: Sequence[str]) -> Step:
    def step(obs: Tensor, state: State) -> tuple[Tensor, State]:
        output, new_state = net({"obs": obs}, [state[key] for key in keys], torch.ones(1, dtype=torch.int32))
        # Without cells the exporter's dummy state passes through.
        return output[:, :2], dict(zip(keys, new_state, strict=True)) or state

    return step


# TorchRL -------------------------------------------------------------------------------------------------------------


def torchrl_actor(
    cell: str = "lstm", *, obs_size: int = 4, action_size: int = 2, units: int = 6, layers: int = 1, seed: int = 3
) -> Any:
    """A recurrent actor as TorchRL's tutorials build it: an MLP, cells, an MLP, and a squashed Gaussian."""
    from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
    from torchrl.modules import MLP, GRUModule, LSTMModule, ProbabilisticActor, TanhNormal

    torch.manual_seed(seed)
    encoder = TensorDictModule(
        MLP(in_features=obs_size, out_features=8, num_cells=[10], activate_last_layer=True), ["observation"], ["embed"]
    )
    module = {"lstm": LSTMModule, "gru": GRUModule}[cell]
    cells = module(input_size=8, hidden_size=units, num_layers=layers, in_key="embed", out_key="features")
    head = TensorDictModule(
        nn.Sequential(MLP(in_features=units, out_features=2 * action_size, num_cells=[7]), NormalParamExtractor()),
        ["features"],
        ["loc", "scale"],
    )
    return ProbabilisticActor(
        TensorDictSequential(encoder, cells, head),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -2.0, "high": 2.0},
    )


class _UnbatchedStep(nn.Module):
    """Calls a TorchRL policy with tensors in the order of `in_keys` and returns the tensors of `out_keys`."""

    def __init__(self, policy: Any, in_keys: Sequence[str], out_keys: Sequence[Any]) -> None:
        super().__init__()
        self.policy = policy
        self.in_keys = list(in_keys)
        self.out_keys = list(out_keys)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        from tensordict import TensorDict

        batch_size = tensors[0].shape[:-1]
        data = self.policy(TensorDict(dict(zip(self.in_keys, tensors, strict=True)), batch_size=batch_size))
        return tuple(data.get(key) for key in self.out_keys)


def torchrl(
    folder: Path, cell: str = "lstm", *, dynamo: bool = True, batched: bool = False, layers: int = 1
) -> DialectFile:
    """`torchrl.modules.export_onnx_policy` of TorchRL's main branch, repeated for torchrl 0.14.1, which lacks it.

    Inputs are the policy's `in_keys`, outputs `action` and the entries under `next`, nested keys joined by `_`, for one
    step without a batch axis; `batched=True` keeps a batch axis of one, as a `torch.onnx.export` by hand does.

    `GRUModule.forward` of 0.14.1 asks `is_init.any()` in Python: the dynamo exporter refuses it, the legacy exporter
    writes a file without `is_init`, whose state the caller resets.
    """
    from torchrl.envs.utils import ExplorationType, set_exploration_type

    units = 6
    policy = torchrl_actor(cell, layers=layers, units=units).eval()
    parts = ["recurrent_state_h", "recurrent_state_c"] if cell == "lstm" else ["recurrent_state"]
    in_keys = ["observation", "is_init", *parts]
    step_module = _UnbatchedStep(policy, in_keys, ["action", *(("next", part) for part in parts)])
    lead = (1,) if batched else ()
    example = (
        torch.zeros(*lead, 4),
        torch.zeros(*lead, 1, dtype=torch.bool),
        *(torch.zeros(*lead, layers, units) for _ in parts),
    )
    outputs = ["action", *(f"next_{part}" for part in parts)]
    path = folder / f"torchrl_{cell}_{'dynamo' if dynamo else 'legacy'}{'_batched' if batched else ''}.onnx"
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step_module,
            example,
            str(path),
            opset_version=18,
            input_names=in_keys,
            output_names=outputs,
            dynamo=dynamo,
            verbose=False,
        )

        def step(obs: Tensor, state: State) -> tuple[Tensor, State]:
            start = torch.zeros(1, 1, dtype=torch.bool)
            action, *new_state = step_module(obs, start, *(state[part] for part in parts))
            return action, dict(zip(parts, new_state, strict=True))

        recorded = _record(step, 4, {part: torch.zeros(1, layers, units) for part in parts})
    pairs = dict(zip(parts, outputs[1:], strict=True))
    present = any(tensor.name == "is_init" for tensor in onnx.load(path, load_external_data=False).graph.input)
    is_init = "is_init" if present else None
    return DialectFile(path, *recorded, {"observation": slice(0, 4)}, pairs, "action", 2, is_init=is_init)


# exploy --------------------------------------------------------------------------------------------------------------

_JOINTS = ("FL_hip", "FL_knee", "FR_hip", "FR_knee")
_EXPLOY_INPUTS = {
    "obj.robot.base.ang_vel_b_rt_w_in_b": slice(0, 3),
    "obj.robot.joints.pos": slice(3, 7),
    "obj.robot.joints.vel": slice(7, 11),
    "cmd.se2_velocity.base_velocity": slice(11, 14),
}
_EXPLOY_STATES = (
    "memory.actions",
    "memory.joint_pos.processed_actions",
    "memory.actor_hidden_state_0",
    "memory.actor_hidden_state_1",
)


class _ExployStep(nn.Module):
    """`OnnxEnvironmentExporter.forward`: observations, actor, action terms; or the action terms alone."""

    def __init__(self, units: int = 6) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3 + 4 + 4 + 3 + 4, units)
        self.mlp = nn.Sequential(nn.Linear(units, 8), nn.ELU(), nn.Linear(8, 4))
        self.register_buffer("default", torch.tensor([[0.1, -0.8, -0.1, -0.7]]))
        self.scale = 0.25
        self.process_only = False

    def forward(self, data: dict[str, Tensor]) -> tuple[Tensor, ...]:
        last, processed, h, c = (data[f"{name}.in"] for name in _EXPLOY_STATES)
        default: Any = self.default
        obs = torch.cat([data["obj.robot.base.ang_vel_b_rt_w_in_b"], data["obj.robot.joints.pos"] - default], dim=1)
        obs = torch.cat([obs, data["obj.robot.joints.vel"] * 0.05, data["cmd.se2_velocity.base_velocity"], last], dim=1)
        if self.process_only:
            actions, obs = last * 1.0, torch.zeros_like(obs)
        else:
            features, (h, c) = self.lstm(obs.unsqueeze(0), (h, c))
            actions = self.mlp(features.squeeze(0))
            processed = default + self.scale * actions
        still = torch.zeros_like(processed)
        return actions, obs, processed * 1.0, still, still * 1.0, actions * 1.0, processed * 1.0, h * 1.0, c * 1.0


def exploy_metadata() -> dict[str, str]:
    """The entries that exploy writes, `exporter/core/exporter.py` and the frameworks' `metadata`."""
    return {
        "model_source": json.dumps({"wandb": "team/project/run"}),
        "date_exported (YYMMDD.HHMMSS)": "260801.120000",
        "exploy_version": json.dumps("0.1.0"),
        "obs_term_names": json.dumps(["base_ang_vel", "joint_pos", "joint_vel", "command", "actions"]),
        "decimation": "4",
        "sim_dt": "0.005",
        "update_rate": "200.0",
        "base_names": json.dumps({"robot": "base"}),
        "cmd.se2_velocity.base_velocity": json.dumps(
            {"ranges": {"lin_vel_x": [-1.5, 1.5], "lin_vel_y": [-0.75, 0.75], "ang_vel_z": [-2.5, 2.5]}}
        ),
        "obj.robot.joints": json.dumps({"joint_names": list(_JOINTS)}),
        "output.joint_targets.joint_pos": json.dumps(
            {
                "type": "joint_targets",
                "names": list(_JOINTS),
                "stiffness": [25.0, 25.5, 25.0, 25.5],
                "damping": [0.5, 0.625, 0.5, 0.625],
            }
        ),
    }


def exploy(folder: Path, *, decimation: int = 1, wrapped: bool = True) -> DialectFile:
    """`export_environment_as_onnx` of exploy (rai-opensource/exploy, python/exploy/exporter/core).

    `wrapped=True` is the main file: an `If` on `ctx.step_count % decimation`, whose else branch processes the actions
    again. `wrapped=False` is the file of one step that exploy leaves beside it, with the same metadata.
    """
    torch.manual_seed(4)
    step_module = _ExployStep().eval()
    shapes = {"memory.actions": (1, 4), "memory.joint_pos.processed_actions": (1, 4)}
    zeros = {f"{name}.in": torch.zeros(shapes.get(name, (1, 1, 6))) for name in _EXPLOY_STATES}
    data = {name: torch.zeros(1, part.stop - part.start) for name, part in _EXPLOY_INPUTS.items()} | zeros
    outputs = ["actions", "obs", *(f"output.joint_targets.joint_pos.{kind}" for kind in ("pos", "vel", "effort"))]
    outputs += [f"{name}.out" for name in _EXPLOY_STATES]
    branches = []
    for name, process_only in (("default", False), ("process_actions", True)):
        step_module.process_only = process_only
        path = folder / f"exploy_{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                step_module,
                (data, {}),
                str(path),
                export_params=True,
                opset_version=20,
                input_names=list(data),
                output_names=outputs,
                do_constant_folding=False,
                dynamo=False,
            )
        branches.append(onnx.load(path))
    step_module.process_only = False
    model = _decimated(*branches, decimation) if wrapped else branches[0]
    for key, value in exploy_metadata().items():
        model.metadata_props.add(key=key, value=value)
    path = folder / f"exploy_{'wrapped' if wrapped else 'default'}.onnx"
    onnx.save(model, path)
    held: dict[str, Any] = {"count": 0, "outputs": None}

    def step(obs: Tensor, state: State) -> tuple[Tensor, State]:
        if all(bool((state[key] == value).all()) for key, value in zeros.items()):
            held["count"] = 0
        step_module.process_only = wrapped and held["count"] % decimation != 0
        inputs = {name: obs[:, part] for name, part in _EXPLOY_INPUTS.items()} | state
        result = dict(zip(outputs, step_module(inputs), strict=True))
        held["count"] += 1
        return result["actions"], {f"{name}.in": result[f"{name}.out"] for name in _EXPLOY_STATES}

    recorded = _record(step, 14, zeros)
    pairs = {f"{name}.in": f"{name}.out" for name in _EXPLOY_STATES}
    # The plain file has no use for the processed actions of the step before, so the exporter drops that input.
    present = {tensor.name for tensor in model.graph.input}
    pairs = {key: value for key, value in pairs.items() if key in present}
    counter = "ctx.step_count" if wrapped else None
    return DialectFile(path, *recorded, _EXPLOY_INPUTS, pairs, "actions", 4, counter=counter)


def _decimated(model_a: onnx.ModelProto, model_b: onnx.ModelProto, decimation: int) -> onnx.ModelProto:
    """`construct_decimation_wrapper`, exploy's exporter/core/utils/onnx.py."""
    helper, models = onnx.helper, (model_a, model_b)

    def copies(pick: Callable[[Any], Any]) -> list[onnx.ValueInfoProto]:
        found = {tensor.name: tensor for model in models for tensor in pick(model.graph)}
        return [
            helper.make_tensor_value_info(
                tensor.name,
                tensor.type.tensor_type.elem_type,
                [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.type.tensor_type.shape.dim],
            )
            for tensor in found.values()
        ]

    inputs, outputs = copies(lambda graph: graph.input), copies(lambda graph: graph.output)
    model_a.graph.name, model_b.graph.name = "default", "process_actions"
    for model in models:
        del model.graph.input[:]
    nodes = [
        helper.make_node("Mod", ["ctx.step_count", "decimation"], ["is_event"]),
        helper.make_node("Equal", ["is_event", "zero"], ["cond"]),
        helper.make_node(
            "If", ["cond"], [tensor.name for tensor in outputs], then_branch=model_a.graph, else_branch=model_b.graph
        ),
    ]
    int32 = onnx.TensorProto.INT32
    graph = helper.make_graph(
        nodes,
        "decimation_wrapper",
        [helper.make_tensor_value_info("ctx.step_count", int32, []), *inputs],
        outputs,
        [helper.make_tensor("decimation", int32, (), [decimation]), helper.make_tensor("zero", int32, (), [0])],
    )
    model = helper.make_model(
        graph,
        producer_name="construct_decimation_wrapper",
        opset_imports=[helper.make_operatorsetid("", 20)],
        ir_version=11,
    )
    onnx.checker.check_model(model)
    return model


# rsl_rl, Isaac Lab, mjlab --------------------------------------------------------------------------------------------


def rsl_rl(
    folder: Path,
    cell: str | None = "lstm",
    *,
    layers: int = 1,
    opset: int = 18,
    dynamo: bool = False,
    external: bool = False,
    name: str | None = None,
) -> DialectFile:
    """`model.as_onnx` of rsl_rl 5.5.1: `obs, h_in, c_in -> actions, h_out, c_out`, with its empirical normaliser.

    Args:
        folder: where to write.
        cell: "lstm", "gru" or None.
        layers: layers of cells.
        opset: operator set.
        dynamo: the exporter that torch takes by itself since 2.9, which writes the weights to `<file>.data`.
        external: put the weights of the legacy exporter's file into `<file>.data` too.
        name: of the file, without its ending.
    """
    from rsl_rl.models import MLPModel, RNNModel
    from tensordict import TensorDict

    torch.manual_seed(5)
    observations = TensorDict({"policy": torch.zeros(1, 5)}, batch_size=[1])
    options: dict[str, Any] = {"hidden_dims": [12, 8], "obs_normalization": True}
    if cell is not None:
        options |= {"rnn_type": cell, "rnn_hidden_dim": 6, "rnn_num_layers": layers}
    kind: Any = MLPModel if cell is None else RNNModel
    model = kind(observations, {"actor": ["policy"]}, "actor", 3, **options)
    model.obs_normalizer.update(torch.randn(64, 5) * torch.arange(1.0, 6.0) + 0.5)
    model.eval()
    exported = model.as_onnx(verbose=False).eval()
    exporter = "dynamo" if dynamo else "legacy"
    path = folder / f"{name or f'rsl_rl_{cell}{layers}_{exporter}{opset}'}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            exported.get_dummy_inputs(),
            str(path),
            export_params=True,
            opset_version=opset,
            input_names=exported.input_names,
            output_names=exported.output_names,
            dynamo=dynamo,
            verbose=False,
        )
    if external:
        with_weights = onnx.load(path)
        onnx.save(with_weights, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    keys = exported.input_names[1:]
    zeros = {key: torch.zeros(layers, 1, 6) for key in keys}

    def step(obs: Tensor, state: State) -> tuple[Tensor, State]:
        # The model itself keeps the state; zeros stand for its own `reset`.
        if all(bool((state[key] == 0.0).all()) for key in keys):
            model.reset()
        action = model(TensorDict({"policy": obs}, batch_size=[1]))
        hidden = model.get_hidden_state() if keys else ()
        return action, dict(zip(keys, hidden if isinstance(hidden, tuple) else (hidden,), strict=True))

    recorded = _record(step, 5, zeros)
    pairs = dict(zip(keys, exported.output_names[1:], strict=True))
    return DialectFile(path, *recorded, {"obs": slice(0, 5)}, pairs, "actions", 3)


def gru_without_linear_before_reset(folder: Path) -> tuple[DialectFile, DialectFile]:
    """A good GRU file, and the same with the attribute dropped, which changes what the file computes.

    torch 2.9 and 2.10's own exporter with onnxscript 0.5.6 to 0.6.2 wrote such files: microsoft/onnxscript issue 2852,
    pytorch/pytorch issue 189225; onnxscript 0.7 writes the attribute.
    """
    good = rsl_rl(folder, "gru", name="gru_good")
    model = onnx.load(good.path)
    for node in model.graph.node:
        if node.op_type == "GRU":
            kept = [attribute for attribute in node.attribute if attribute.name != "linear_before_reset"]
            del node.attribute[:]
            node.attribute.extend(kept)
    path = folder / "gru_dropped.onnx"
    onnx.save(model, path)
    return good, DialectFile(path, good.obs, good.reset, good.actions, good.observations, good.states, "actions", 3)


def mjlab_metadata() -> dict[str, Any]:
    """What `get_base_metadata` returns (mujocolab/mjlab, src/mjlab/rl/exporter_utils.py), for three joints."""
    return {
        "run_path": "local",
        "joint_names": ["hip_joint", "knee_joint", "ankle_joint"],
        "joint_stiffness": [20.0, 40.17923, 14.25062],
        "joint_damping": [1.0, 2.5579, 0.9072],
        "default_joint_pos": [0.0, -0.31249, 1e-4],
        "command_names": ["twist"],
        "observation_names": ["base_ang_vel", "command"],
        "observation_terms_scale": [1.0, 0.5],
        "observation_terms_flatten_history_dim": [True, True],
        "observation_terms_history_length": [0, 0],
        "observation_terms_clip": [[float("-inf"), float("inf")], [-100.0, 100.0]],
        "action_scale": [0.54754, 0.35066, 0.43857],
    }


def mjlab(folder: Path, cell: str | None = None, *, scalar_scale: bool = False) -> DialectFile:
    """mjlab's file: rsl_rl's export, then `attach_metadata_to_onnx`, which writes lists as comma-separated values.

    Args:
        folder: where to write.
        cell: "lstm", "gru" or None.
        scalar_scale: the action term has one scale, which mjlab writes as a plain number.
    """
    file = rsl_rl(folder, cell, name=f"mjlab_{cell or 'mlp'}")
    metadata = mjlab_metadata()
    if scalar_scale:
        metadata["action_scale"] = 0.5
    model = onnx.load(file.path)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=_csv(value) if isinstance(value, list) else str(value))
    onnx.save(model, file.path)
    return file


def _csv(values: Sequence[Any]) -> str:
    """`list_to_csv_str`: numbers with three decimals (truth values are numbers too), anything else as it is."""
    return ",".join(f"{value:.3f}" if isinstance(value, (int, float)) else str(value) for value in values)


# Recording -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _record(step: Step, obs_size: int, zeros: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs the original over observations of a fixed seed; its state is set to zeros at `_RESETS`."""
    obs = torch.from_numpy(np.random.default_rng(11).normal(0.0, 1.5, (_STEPS, obs_size)).astype(np.float32))
    reset = np.zeros(_STEPS, bool)
    reset[list(_RESETS)] = True
    state = {key: value.clone() for key, value in zeros.items()}
    actions = []
    for row, start in zip(obs, reset, strict=True):
        if start:
            state = {key: value.clone() for key, value in zeros.items()}
        action, state = step(row.unsqueeze(0), state)
        actions.append(action.squeeze(0).numpy().copy())
    return obs.numpy(), reset, np.stack(actions)
