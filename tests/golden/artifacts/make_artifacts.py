"""Writes the small artifacts in this folder, which the C++ and Python tests of the runtime load.

Run it by hand after a change of the file format, from an environment that also has rsl-rl-lib (5.5 or newer; not
needed by the tests): `PYTHONPATH=tests/python/support python tests/golden/artifacts/make_artifacts.py`.

* `lstm.onnx`, `lstm.pt`: an LSTM policy of 2 layers, one row; `gru_batch4.onnx`, `gru_batch4.pt`: four rows;
  `rnn_any.onnx`: any number of rows.
* `faulty.onnx`, `faulty.pt`: a policy that fails on demand; see `FaultyPolicy`.
* `lstm.ganglion`, `gru_batch4.ganglion`, `rnn_any.ganglion`, `faulty.ganglion`, `rsl_rl_lstm.ganglion`,
  `rsl_rl_gru.ganglion`: the same policies compiled for the native engine.
* `gaussian.ganglion`: mean and log_std, and the last action as state, any number of rows; `categorical.ganglion`: an
  index and logits.
* `rsl_rl_lstm.onnx`, `rsl_rl_gru.onnx`, `rsl_rl_lstm.pt`: written by rsl_rl's own exporters, no contract inside;
  `rsl_rl_lstm.csv`, `rsl_rl_gru.csv`: what rsl_rl's own modules did, one line per step: reset, observation, action.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import onnx
import torch
from distribution_policies import CategoricalPolicy, GaussianPolicy

import ganglion
from ganglion.compiler import compile_onnx, file
from ganglion.contract import StateSlot
from ganglion.policies import EnvSpec, GRUPolicy, LSTMPolicy, RecurrentPolicy, RNNPolicy

HERE = Path(__file__).parent


class FaultyPolicy(RecurrentPolicy):
    """Action `table[obs[0]] * exp(obs[1])`, state `h + exp(-obs[1])`, second output: the new state.

    An observation [9, 0] makes the engine fail (index out of range), [0, 1000] gives an infinite action, and
    [0, -1000] a finite action with an infinite state. With `clamped` the index cannot leave the table, as the native
    engine demands.
    """

    def __init__(self, clamped: bool = False) -> None:
        spaces = gym.spaces.Box(np.float32([0, -1]), np.float32([3, 1])), gym.spaces.Box(-5.0, 5.0, (1,))
        super().__init__(EnvSpec(*spaces))
        self.clamped = clamped
        self.register_buffer("table", torch.tensor([[1.0], [2.0], [3.0], [4.0]]))

    @property
    def hidden_size(self) -> int:
        return 1

    @property
    def state_layout(self) -> tuple[StateSlot, ...]:
        return (StateSlot("sum", (1,)),)

    @property
    def output_specs(self) -> tuple[ganglion.TensorSpec, ...]:
        return (*super().output_specs, ganglion.TensorSpec("sum", 1))

    def init_hidden(self, batch_size: int | None = None) -> torch.Tensor:
        return torch.full((1,) if batch_size is None else (batch_size, 1), 0.5)

    def forward(self, obs: torch.Tensor, hidden: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        if hidden is None:
            hidden = self.init_hidden(None if obs.ndim == 1 else obs.shape[0])
        index = torch.clamp(obs[..., 0], 0, 3) if self.clamped else obs[..., 0]
        action = torch.nn.functional.embedding(index.long(), self.table) * torch.exp(obs[..., 1:])
        hidden = hidden + torch.exp(-obs[..., 1:])
        return action, hidden * 1.0, hidden


def make_distributions() -> None:
    torch.manual_seed(5)
    for name, policy in (("gaussian", GaussianPolicy()), ("categorical", CategoricalPolicy())):
        ganglion.export(policy, HERE / f"{name}.ganglion", batch=None)


def make_ours() -> None:
    def spec(observation: int, action: int) -> EnvSpec:
        return EnvSpec(gym.spaces.Box(-2.0, 2.0, (observation,)), gym.spaces.Box(-1.0, 1.0, (action,)))

    torch.manual_seed(7)
    for suffix in (".onnx", ".pt"):
        ganglion.export(FaultyPolicy(), HERE / f"faulty{suffix}")
    lstm = LSTMPolicy(spec(3, 2), hidden_size=8, num_recurrent_layers=2)
    gru = GRUPolicy(spec(3, 2), hidden_size=8, num_recurrent_layers=2)
    for suffix in (".onnx", ".pt"):
        ganglion.export(lstm, HERE / f"lstm{suffix}")
        ganglion.export(gru, HERE / f"gru_batch4{suffix}", batch=4)
    ganglion.export(RNNPolicy(spec(3, 2), hidden_size=8, num_recurrent_layers=1), HERE / "rnn_any.onnx", batch=None)


def make_native() -> None:
    ganglion.export(FaultyPolicy(clamped=True), HERE / "faulty.ganglion")
    for name in ("lstm", "gru_batch4", "rnn_any", "rsl_rl_lstm", "rsl_rl_gru"):
        program, contract = compile_onnx(HERE / f"{name}.onnx")
        (HERE / f"{name}.ganglion").write_bytes(file.to_bytes(program, contract)[0])


def make_rsl_rl(kind: str) -> None:
    from rsl_rl.models.rnn_model import RNNModel
    from tensordict import TensorDict

    torch.manual_seed(11)
    observations = TensorDict({"policy": torch.zeros(1, 5)}, batch_size=[1])
    model = RNNModel(
        observations, {"actor": ["policy"]}, "actor", 2, hidden_dims=[16], rnn_type=kind, rnn_hidden_dim=12,
        rnn_num_layers=2,
    ).eval()  # fmt: skip
    stateful = torch.jit.script(model.as_jit())
    if kind == "lstm":
        stateful.save(HERE / "rsl_rl_lstm.pt")

    functional = model.as_onnx().eval()
    with tempfile.TemporaryDirectory() as folder:
        # The call of rsl_rl.runners.OnPolicyRunner.export_policy_to_onnx, but with the weights inside the file.
        torch.onnx.export(
            functional, functional.get_dummy_inputs(), Path(folder) / "policy.onnx", export_params=True,
            opset_version=18, input_names=functional.input_names, output_names=functional.output_names,
            external_data=False,
        )  # fmt: skip
        model_file = onnx.load(Path(folder) / "policy.onnx")
    for part in (*model_file.graph.node, *model_file.graph.input, *model_file.graph.output):
        # The exporter notes where in the sources each node comes from: paths of this machine.
        kept = [entry for entry in part.metadata_props if "/" not in entry.value]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
    (HERE / f"rsl_rl_{kind}.onnx").write_bytes(model_file.SerializeToString())

    generator = np.random.default_rng(3)
    lines = ["reset," + ",".join(f"obs_{i}" for i in range(5)) + ",action_0,action_1"]
    for step in range(200):
        reset = step in (0, 60, 61, 150)
        if reset:
            stateful.reset()
        observation = generator.normal(size=(1, 5)).astype(np.float32)
        action = stateful(torch.from_numpy(observation)).detach().numpy()
        values = [*observation[0].tolist(), *action[0].tolist()]
        lines.append(",".join([str(int(reset)), *map(repr, values)]))
    (HERE / f"rsl_rl_{kind}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_ours()
    make_rsl_rl("lstm")
    make_rsl_rl("gru")
    make_native()
    make_distributions()
