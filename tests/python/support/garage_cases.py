"""Recorded runs of garage's GaussianLSTMPolicy, and our policy with the recorded parameters."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import gymnasium
import numpy as np
import torch

from ganglion.data.env_spec import EnvSpec
from ganglion.policies.garage.gaussian import GaussianLSTMPolicy
from ganglion.policies.garage.weights import load_garage_parameters

GOLDEN = Path(__file__).parents[2] / "golden" / "garage"
CASES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
BEHAVIOUR = {case["case"]: case for case in json.loads((GOLDEN / "policy_behaviour_cases.json").read_text())}
NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, None: None}


def box_spec(observations: tuple[int, ...] = (4,), actions: tuple[int, ...] = (2,)) -> EnvSpec:
    return EnvSpec(gymnasium.spaces.Box(-1.0, 1.0, observations), gymnasium.spaces.Box(-1.0, 1.0, actions))


def constant(value: float) -> functools.partial:
    return functools.partial(torch.nn.init.constant_, val=value)


class Case:
    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = dict(file)
        self.name = name
        self.meta = json.loads(str(arrays.pop("meta")))
        self.data: dict[str, np.ndarray] = arrays

    @property
    def is_linear(self) -> bool:
        """A cell without a bounded nonlinearity grows, and rounding with it."""
        return self.meta["kwargs"].get("hidden_nonlinearity", "tanh") in (None, "relu")

    def values(self, kind: str) -> list[np.ndarray]:
        """All variables of one kind, `init` or `param`, in garage's order."""
        return [self.data[f"{kind}.{name}"] for name in self.meta["global_vars"]]

    def fresh(self, **changes: object) -> GaussianLSTMPolicy:
        """The policy as garage constructed it.

        One argument is never taken over: garage accepts layer_normalization and ignores it, ours is real (DECISIONS),
        so the goldens with it are those without.
        """
        kwargs = dict(self.meta["kwargs"])
        for key, value in kwargs.items():
            if key.endswith("_init"):
                kwargs[key] = constant(value)
            elif key.endswith("_nonlinearity"):
                kwargs[key] = NONLINEARITIES[value]
        kwargs["layer_normalization"] = False
        spec = box_spec((self.meta["obs_dim"],), (self.meta["act_dim"],))
        return GaussianLSTMPolicy(spec, hidden_dim=self.meta["hidden_dim"], **{**kwargs, **changes})

    def policy(self) -> GaussianLSTMPolicy:
        """The policy with the recorded parameters."""
        policy = self.fresh()
        load_garage_parameters(policy, self.values("param"))
        return policy

    def assert_close(self, actual: object, key: str) -> None:
        tolerance = 2e-4 if self.is_linear else 2e-5
        actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
        np.testing.assert_allclose(actual, self.data[key], rtol=tolerance, atol=tolerance, err_msg=key)
