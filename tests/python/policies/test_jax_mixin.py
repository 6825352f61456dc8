"""skrl's mixin on JAX against recorded runs of skrl 2.1.1, and against the installed skrl beside it."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.deep  # compiles with JAX, a trainer

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax", reason="needs ganglion[jax]")
linen = pytest.importorskip("flax.linen", reason="needs ganglion[jax]")

from seed_pages_check import complaints  # noqa: E402

from ganglion import load  # noqa: E402
from ganglion.export import export  # noqa: E402
from ganglion.policies import GaussianMLPModel  # noqa: E402
from ganglion.policies.skrl.jax import JaxGaussianMixin, JaxModel  # noqa: E402

GOLDEN = Path(__file__).parents[2] / "golden" / "skrl"
CASES = sorted(path.stem for path in GOLDEN.glob("jax_mixin_*.npz"))
BOX = gymnasium.spaces.Box
LIMITS = {
    "bounded": ([-1.0, -0.5, -2.0], [1.0, 0.5, 0.25]),
    "partial": ([-1.0, -np.inf, -2.0], [1.0, 0.5, np.inf]),
    "unbounded": ([-np.inf] * 3, [np.inf] * 3),
}


def made(mixin: type, base: type, call: Any, actions: gymnasium.Space) -> type:
    """A model with the constructor of skrl's documentation: flax makes copies with its fields as arguments."""

    class Made(mixin, base):  # type: ignore[misc, valid-type]
        def __init__(
            self,
            observation_space: Any = None,
            state_space: Any = None,
            action_space: Any = None,
            device: Any = None,
            parent: Any = None,
            name: str | None = None,
            **settings: Any,
        ) -> None:
            base.__init__(
                self,
                observation_space=observation_space or BOX(-1.0, 1.0, (4,)),
                state_space=state_space,
                action_space=action_space or actions,
                device=device,
                parent=parent,
                name=name,
            )
            mixin.__init__(self, **settings)

        __call__ = linen.compact(call)

    return Made


def given(mean: Any, log_std: Any, space: gymnasium.Space) -> type:
    """Mean and log standard deviation as given."""

    def call(self: Any, inputs: Any, role: str = "") -> Any:  # noqa: ARG001
        return mean, {"log_std": log_std, "extra": 1}

    return made(JaxGaussianMixin, JaxModel, call, space)


def layers(self: Any, inputs: dict[str, Any], role: str = "") -> Any:  # noqa: ARG001
    x = linen.elu(linen.Dense(6)(inputs["observations"]))
    log_std = self.param("log_std_parameter", lambda _: jax.numpy.full(2, -0.7))
    return linen.Dense(2)(x), {"log_std": log_std}


def network(mixin: type, base: type) -> type:
    return made(mixin, base, layers, BOX(-0.1, 0.2, (2,)))


def observations() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_as_recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(GOLDEN / f"{name}.npz") as file:
        data = dict(file)
    meta = json.loads(str(data.pop("meta")))
    space = BOX(*map(np.float32, LIMITS[meta["space"]]))
    model = given(data["mean_in"], data["log_std_in"], space)(**meta["kwargs"])
    model.init_state_dict()
    monkeypatch.setattr(jax.random, "normal", lambda *_: data["eps"])
    inputs = {"taken_actions": data["taken_actions"]} if "taken_actions" in data else {}
    actions, outputs = model.act(inputs)
    close(actions, data["actions"])
    for key in ("log_prob", "mean_actions", "log_std", "stddev"):
        close(outputs[key], data[key])
    close(model.get_entropy(outputs["stddev"]), data["entropy"])
    assert {*outputs} == {*meta["output_keys"], "extra"}
    assert ("key" in inputs) == bool(data["act_leaves_key_in_inputs"])


def test_there_are_cases() -> None:
    assert len(CASES) == 18


@pytest.mark.sampled(1)
@pytest.mark.parametrize("clips", [False, True])
def test_the_numbers_are_those_of_skrl(clips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skrl = pytest.importorskip("skrl.models.jax", reason="needs skrl")
    # What skrl begins with; a training that ran before in this process has set its seed.
    monkeypatch.setattr(importlib.import_module("skrl").config.jax, "key", jax.random.PRNGKey(0))
    kwargs = {"clip_actions": clips, "clip_mean_actions": clips}
    models = [network(*pair)(**kwargs) for pair in ((skrl.GaussianMixin, skrl.Model), (JaxGaussianMixin, JaxModel))]
    models.append(network(JaxGaussianMixin, skrl.Model)(**kwargs))
    for model in models:
        model.init_state_dict({"observations": observations()}, key=jax.random.PRNGKey(3))
    for _ in range(3):
        steps = [model.act({"observations": observations()}) for model in models]
        for actions, outputs in steps[1:]:
            close(actions, steps[0][0])
            for key, value in steps[0][1].items():
                close(outputs[key], value)
    # Files of one are files of the other.
    models[0].save(str(tmp_path / "theirs"))
    models[1].init_parameters("normal", stddev=3.0)
    models[1].load(tmp_path / "theirs")
    jax.tree_util.tree_map(close, models[1].state_dict.params, models[0].state_dict.params)


def test_drawn_actions_depend_on_the_key_alone() -> None:
    first, second = (network(JaxGaussianMixin, JaxModel)() for _ in range(2))
    for model in (first, second):
        model.init_state_dict({"observations": observations()})
    inputs = {"observations": observations()}
    drawn = [np.asarray(model.act(inputs)[0]) for model in (first, second, first)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_parameters() -> None:
    own, other = (network(JaxGaussianMixin, JaxModel)() for _ in range(2))
    for key, model in enumerate((own, other)):
        model.init_state_dict({"observations": observations()}, key=jax.random.PRNGKey(key))
    before = own.state_dict.params
    own.update_parameters(other, polyak=0.25)
    trees = own.state_dict.params, before, other.state_dict.params
    jax.tree_util.tree_map(lambda new, old, theirs: close(new, 0.75 * old + 0.25 * theirs), *trees)
    own.init_weights("zeros")
    own.init_biases("constant", 2.0)
    assert not np.any(own.state_dict.params["params"]["Dense_0"]["kernel"])
    assert np.all(np.asarray(own.state_dict.params["params"]["Dense_1"]["bias"]) == 2.0)
    assert own.random_act({"observations": observations()})[0].shape == (5, 2)
    assert own.get_specification() == {}
    own.enable_training_mode()
    assert own.training
    own.freeze_parameters()


def test_what_is_refused() -> None:
    make = network(JaxGaussianMixin, JaxModel)
    with pytest.raises(ValueError, match="reduction must be one of"):
        make(reduction="max")
    with pytest.raises(ValueError, match=r"min_log_std .* lies above max_log_std"):
        make(min_log_std=1.0, max_log_std=0.0)
    model = make()
    model.init_state_dict({"observations": observations()})
    with pytest.raises(ValueError, match="polyak must lie between 0 and 1"):
        model.update_parameters(model, polyak=2.0)
    with pytest.raises(ValueError, match="no function 'uniform_'"):
        model.init_parameters("uniform_")


@pytest.mark.parametrize("name", ["Model", "GaussianMixin"])
def test_names_and_arguments_are_those_of_skrl(name: str) -> None:
    skrl = pytest.importorskip("skrl.models.jax", reason="needs skrl")
    found = complaints("Jax", getattr(skrl, name), {"Model": JaxModel, "GaussianMixin": JaxGaussianMixin}[name])
    unlike = {
        "Jax.broadcast_parameters is missing",
        "Jax.reduce_parameters is missing",
        "Jax.init_state_dict: inputs is None by default, on the page {}",
        "Jax.init_biases: method_name is 'constant' by default, on the page 'constant_'",
        f"Jax: the page has the base {name}",
    }
    assert [one for one in found if one not in unlike] == []


def test_a_model_of_jax_gets_into_a_file_by_its_parameters(tmp_path: Path) -> None:
    trained = network(JaxGaussianMixin, JaxModel)()
    trained.init_state_dict({"observations": observations()})
    params = trained.state_dict.params["params"]
    model = GaussianMLPModel(
        observation_space=trained.observation_space,
        action_space=trained.action_space,
        device="cpu",
        hidden_sizes=(6,),
        activation=torch.nn.ELU,
        output_activation=None,
    )
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        for layer, name in zip(linear, ("Dense_0", "Dense_1"), strict=True):
            layer.weight.copy_(torch.from_numpy(np.array(params[name]["kernel"]).T))
            layer.bias.copy_(torch.from_numpy(np.array(params[name]["bias"])))
    export(model, tmp_path / "policy.ganglion")
    expected = trained.act({"observations": observations()})[1]["mean_actions"]
    pilot = load(tmp_path / "policy.ganglion")
    close([pilot.step(row).copy() for row in observations()], expected)
