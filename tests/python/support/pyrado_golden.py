"""Recorded runs of the original Pyrado: reading them, and building the policies that they are of."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium
import numpy as np
import torch

from ganglion.data.env_spec import EnvSpec
from ganglion.policies.pyrado import adn, neural_field, two_headed
from ganglion.policies.pyrado.checkpoint import from_pyrado_state_dict
from ganglion.policies.pyrado.potential import PotentialBasedPolicy

if TYPE_CHECKING:
    from ganglion.policies.base import RecurrentPolicy

GOLDEN = Path(__file__).parents[2] / "golden" / "pyrado"
BEHAVIOUR = {case["case"]: case for case in json.loads((GOLDEN / "behaviour_cases.json").read_text())}
NONLINEARITIES = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
DIFFERENCES = {
    "kappa_init=0, not learnable": "DECISIONS: kappa = 0, as documented; the goldens are reached with kappa_init=e",
    "default obs_layer": "DECISIONS: bias, as documented; the goldens are reached with nn.Linear(bias=False)",
    "reflect padding with mirrored kernel": "DECISIONS: real reflect padding; the golden is reached with 'zeros'",
    "evaluate()": "DECISIONS: gradient flows through time; the recorded gradients stop at every step",
}
"""Where our policies differ on purpose; `Case` builds what reaches the recorded numbers."""


def cases(*kinds: str) -> list[str]:
    return sorted(path.stem for kind in kinds for path in GOLDEN.glob(f"{kind}_*.npz"))


class Case:
    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as file:
            arrays = dict(file)
        self.meta = json.loads(str(arrays.pop("meta")))
        self.data = {key: torch.from_numpy(array) for key, array in arrays.items()}
        self.params = {key.removeprefix("param."): value for key, value in self.data.items() if key[:6] == "param."}
        modules = (two_headed, adn, neural_field)
        self.cls = next(vars(module)[self.meta["cls"]] for module in modules if self.meta["cls"] in vars(module))
        box = gymnasium.spaces.Box
        self.spec = EnvSpec(box(-1.0, 1.0, (self.meta["obs_dim"],)), box(-1.0, 1.0, (self.meta["act_dim"],)))

    @property
    def kwargs(self) -> dict:
        kwargs = {key: NONLINEARITIES.get(value, value) if "_nonlin" in key else value for key, value in
                  self.meta["kwargs"].items()}  # fmt: skip
        if "potentials_dyn_fcn" in kwargs:
            kwargs["potentials_dyn_fcn"] = getattr(adn, kwargs["potentials_dyn_fcn"])
        if kwargs.get("conv_padding_mode") == "reflect" and kwargs["mirrored_conv_weights"]:
            kwargs["conv_padding_mode"] = "zeros"
        return kwargs

    def fresh(self) -> RecurrentPolicy:
        """The policy as the original constructed it, from the same seed."""
        kwargs = self.kwargs
        torch.manual_seed(self.meta["seed"])
        if issubclass(self.cls, PotentialBasedPolicy):
            kwargs["obs_layer"] = torch.nn.Linear(self.meta["obs_dim"], self.meta["hidden_size"], bias=False)
            if kwargs.get("kappa_init") == 0.0 and not kwargs["kappa_learnable"]:
                kwargs["kappa_init"] = math.e
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.cls(self.spec, **kwargs)

    def policy(self) -> RecurrentPolicy:
        """The policy with the recorded parameters, in eval mode."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return from_pyrado_state_dict(self.cls, self.params, self.spec, **self.kwargs).eval()
