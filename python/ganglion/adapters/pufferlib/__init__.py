"""Policies that PufferLib has trained, from their weights.

The formulas are those of PufferLib 2.0.6 and 3.0.0, and of version 4 at 8e3e7546; it does not have to be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import torch
from torch import Tensor, nn

from ganglion._foundation.boundary import bounded
from ganglion._foundation.checkpoints import COMPILED, PARALLEL
from ganglion._foundation.pickles import StandIn
from ganglion._foundation.torch_files import is_old_torch
from ganglion.adapters._categories import CategoricalLayeredPolicy
from ganglion.adapters._files import read_bytes, read_torch, refuse_stand_ins, state_of_module
from ganglion.adapters._settings import BOUNDS, Question, answers, bounds, said, size, sizes, spec_of
from ganglion.adapters._state_dict import StateDict
from ganglion.adapters.pufferlib import flat
from ganglion.adapters.pufferlib.gaussian import GaussianLayeredPolicy
from ganglion.adapters.pufferlib.network import HINT, Network, read_network
from ganglion.data.env_spec import EnvSpec
from ganglion.errors import ArtifactError
from ganglion.policies import ActionMap, DeployablePolicy, SequentialPolicy

if TYPE_CHECKING:
    import os

    from ganglion.adapters._settings import Config
    from ganglion.policies import LayeredPolicy, RecurrentPolicy

__all__ = ["load"]

_WRAPPERS = (*COMPILED, PARALLEL, "policy")
"""Parts of names that say nothing: `LSTMWrapper`, and in version 2 what is around it, call the model `policy`."""
_LIMIT = "a number, or a list with one for each action, to which PufferLib clips"


@bounded()
def load(
    checkpoint: str | os.PathLike[str],
    *,
    config: Config | None = None,
    allow_pickle: bool = False,
    **settings: Any,
) -> RecurrentPolicy:
    """Builds the policy of a checkpoint of PufferLib.

    Read are `model_*.pt` of versions 2 (the whole policy, as data) and 3 (a state dictionary), those of the torch
    trainer of version 4, and `.bin` files of numbers alone (`puffer export`, version 4). The model is PufferLib's own:
    `Default`, alone or in an `LSTMWrapper`, or `Policy` of version 4 with its default encoder and decoder.

    PufferLib draws its actions, and so does the runtime where it is given a seed. Without one it steps with their mode:
    `mean`, beside `log_std`, or with `Discrete` and `MultiDiscrete` actions the indices of the largest logits, which
    follow as `logits` (`logits_0`, `logits_1`, ... of several). Version 3 clips continuous actions to the action space,
    and so does the policy. The state is zero at the start; PufferLib itself
    sets it to zero where a rollout begins, and does not where an episode does.

    The observation is what the first linear layer takes, as float32: a `Dict` as the values of its parts side by
    side in the order of the space, not as the bytes of PufferLib's emulation.

    Args:
        checkpoint: the file.
        config: a YAML file of settings by name, or what is in it.
        allow_pickle: make objects of classes in the file in earnest, which can run code; without it they are data.
        **settings: what the file does not say, by name. `nvec`: the categories of the actions, a number for `Discrete`
            or a list for `MultiDiscrete`. `action_low` and `action_high`: bounds of continuous actions, one or one for
            each, infinite ones for none; asked for where version 3 clips to them, else told in the contract and
            nothing more. Of a file of numbers alone also `version` (3 or 4), `observation_size`, `hidden_size` and
            `num_layers`, and `nvec` as a list, which has a 1 for each continuous action.

    Returns:
        The policy in eval mode, ready for `ganglion.export`.

    Raises:
        ArtifactError: the file is missing, damaged, or holds another network; `ganglion.wrap` takes any.
        EngineUnavailableError: PyYAML is needed and not installed.
        ValueError: a setting is missing, unknown or of the wrong kind; all that are missing are named.
    """
    label = f"'{checkpoint}'"
    given = said(config, settings)
    data = read_bytes(checkpoint)
    if _is_flat(Path(checkpoint), data, given):
        found = answers(label, "PufferLib", {**flat.QUESTIONS, **BOUNDS}, given)
        tensors: Mapping[str, Any] = flat.named_tensors(data, found, label)
        asked = {"nvec", *BOUNDS} if sum(found["nvec"]) > len(found["nvec"]) else {*BOUNDS}
        given = {name: value for name, value in given.items() if name in asked}
    else:
        tensors = _state_dict(read_torch(data, name=str(checkpoint), allow_pickle=allow_pickle), label)
    network = read_network(StateDict(tensors, label, _WRAPPERS))
    policy = _policy(network, answers(label, "PufferLib", _questions(network), given), label)
    return policy.eval().requires_grad_(False)


def _is_flat(path: Path, data: bytes, given: Mapping[str, Any]) -> bool:
    # The torch trainer of version 4 calls its files .bin, too.
    if data.startswith(b"PK\x03\x04") or is_old_torch(data):
        return False
    return path.suffix == ".bin" or bool({"version", "hidden_size"} & given.keys())


def _state_dict(document: Any, label: str) -> dict[str, Tensor]:
    """The weights, of a state dictionary or of a policy that was saved as a whole."""
    if isinstance(document, StandIn):
        document = state_of_module(document) or document
    elif isinstance(document, nn.Module):
        document = document.state_dict()
    if isinstance(document, Mapping) and "optimizer_state_dict" in document:
        raise ArtifactError(
            f"{label} is the state of PufferLib's optimizer; the weights are in {document.get('model_name', 'model')!r}"
            " beside it"
        )
    if not isinstance(document, Mapping):
        refuse_stand_ins(document, label)
        raise ArtifactError(f"{label} holds a {type(document).__name__}; expected a state dictionary of PufferLib")
    tensors = {str(name): value for name, value in document.items()}
    deep = {name: tuple(value.shape) for name, value in tensors.items() if isinstance(value, Tensor) and value.ndim > 2}
    if deep:
        name, shape = next(iter(deep.items()))
        raise ArtifactError(
            f"{label}: '{name}' of shape {shape} belongs to a network for images or maps, which is not read; {HINT}"
        )
    return tensors


def _questions(network: Network) -> dict[str, Question]:
    if network.is_continuous:
        return {side: Question(_LIMIT, bounds) for side in BOUNDS} if network.clips else BOUNDS
    if network.counts:
        return {}
    return {"nvec": Question("the number of categories of a Discrete, or a list of those of a MultiDiscrete", _nvec)}


def _nvec(value: Any) -> int | tuple[int, ...]:
    return sizes(value) if isinstance(value, (list, tuple)) else size(value)


def _policy(network: Network, found: Mapping[str, Any], label: str) -> RecurrentPolicy:
    outputs = network.decoder.out_features
    if network.is_continuous:
        spec = spec_of(label, network.inputs, outputs, *(found.get(side) for side in BOUNDS))
    else:
        nvec = found.get("nvec", network.counts)
        count = nvec if isinstance(nvec, int) else sum(nvec)
        if count != outputs:
            raise ValueError(f"{label}: nvec {nvec} has {count} categories; the decoder gives {outputs} logits")
        actions = gymnasium.spaces.Discrete(nvec) if isinstance(nvec, int) else gymnasium.spaces.MultiDiscrete(nvec)
        spec = EnvSpec(gymnasium.spaces.Box(-torch.inf, torch.inf, (network.inputs,)), actions)
    policy: RecurrentPolicy
    if network.parts:
        features = gymnasium.spaces.Box(-torch.inf, torch.inf, (network.decoder.in_features,))
        head = _actor(network, EnvSpec(features, spec.action_space))
        # A spec with categories counts these; here the indices are the action.
        policy = SequentialPolicy([network.encoder, *network.parts, head], spec if network.is_continuous else None)
    else:
        policy = _actor(network, spec, network.recurrent, network.encoder)
    if not network.clips:
        return policy
    space: Any = spec.action_space
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    return DeployablePolicy(policy, None, ActionMap(torch.ones(outputs), None, low, high))


def _actor(
    network: Network, spec: EnvSpec, recurrent: nn.LSTM | None = None, encoder: nn.Module | None = None
) -> LayeredPolicy:
    if network.log_std is None:
        return CategoricalLayeredPolicy(spec, network.decoder, recurrent, encoder)
    return GaussianLayeredPolicy(spec, network.decoder, network.log_std, recurrent, encoder)
