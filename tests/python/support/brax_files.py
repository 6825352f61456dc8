"""Policies of brax, their parameters as files, and what brax's own inference does with them.

The package imports its simulator, which the networks do not need: its folders stand in for it, without running that.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from same_actions import Run, resets

_FOLDER = Path((importlib.util.find_spec("brax") or types.SimpleNamespace(origin="")).origin or "").parent
for _name in ("brax", "brax.training"):
    _package = types.ModuleType(_name)
    _package.__spec__ = importlib.machinery.ModuleSpec(_name, None, is_package=True)
    _package.__path__ = [str(_FOLDER.joinpath(*_name.split(".")[1:]))]
    sys.modules[_name] = _package

from brax.training.acme import running_statistics  # noqa: E402
from brax.training.agents.ppo import networks as ppo  # noqa: E402

OBS, PRIVILEGED, ACTIONS = 7, 9, 3


class Trained:
    """Networks with drawn weights and statistics of drawn observations, as a training leaves them.

    Args:
        dictionary: observations are a dictionary, as of MuJoCo Playground.
        normalize: the training normalised its observations.
        options: of `make_ppo_networks`.
    """

    def __init__(self, *, dictionary: bool = True, normalize: bool = True, **options: Any) -> None:
        sizes = {"state": OBS, "privileged_state": PRIVILEGED}
        shapes: Any = {name: jax.ShapeDtypeStruct((size,), jnp.float32) for name, size in sizes.items()}
        keys = {"value_obs_key": "privileged_state"} if dictionary else {}
        self.networks = ppo.make_ppo_networks(
            sizes if dictionary else OBS,
            ACTIONS,
            preprocess_observations_fn=running_statistics.normalize if normalize else lambda x, _: x,
            policy_hidden_layer_sizes=(16, 8),
            value_hidden_layer_sizes=(8,),
            **keys,
            **options,
        )
        key = jax.random.PRNGKey(0)
        statistics = running_statistics.init_state(shapes if dictionary else shapes["state"])
        drawn = {name: 3.0 * jax.random.normal(key, (100, size)) + 1.0 for name, size in sizes.items()}
        statistics = running_statistics.update(statistics, drawn if dictionary else drawn["state"])
        value = self.networks.value_network.init(key)
        self.params = (statistics, self.networks.policy_network.init(key), value)
        self.dictionary, self.normalize = dictionary, normalize

    def run(self, steps: int) -> Run:
        """What brax's deterministic inference does."""
        random = np.random.default_rng(1)
        observation = (2.0 * random.normal(size=(steps, OBS)) + 0.5).astype(np.float32)
        infer = ppo.make_inference_fn(self.networks)(self.params, deterministic=True)
        given: Any = jnp.asarray(observation)
        if self.dictionary:
            given = {"state": given, "privileged_state": jnp.zeros((steps, PRIVILEGED))}
        action = np.asarray(infer(given, jax.random.PRNGKey(1))[0], np.float32)
        return Run(observation, resets(random, steps), action)

    def pickled(self, path: Path) -> Path:
        """`brax.io.model.save_params`."""
        path.write_bytes(pickle.dumps(self.params))
        return path

    def checkpoint(self, path: Path, activation: str = "swish", **more: Any) -> Path:
        """The folder that `brax.training.checkpoint.save` writes."""
        from flax.training import orbax_utils
        from orbax import checkpoint

        saved = orbax_utils.save_args_from_target(self.params)
        checkpoint.PyTreeCheckpointer().save(path, self.params, force=True, save_args=saved)
        size = {"state": OBS, "privileged_state": PRIVILEGED} if self.dictionary else OBS
        config = {
            "network_factory_kwargs": {
                "activation": activation,
                "policy_obs_key": "state",
                "mean_clip_scale": None,
                **more,
            },
            "normalize_observations": self.normalize,
            "observation_size": size,
            "action_size": ACTIONS,
        }
        (path / "ppo_network_config.json").write_text(json.dumps(config))
        return path
