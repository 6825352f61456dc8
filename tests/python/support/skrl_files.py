"""Checkpoints that skrl trains and saves itself, with PyTorch, and runs of its agents in evaluation."""

from __future__ import annotations

import warnings
from functools import cached_property

import gymnasium
import numpy as np
import torch
from same_actions import STEPS, Run, resets
from skrl.agents.torch.ddpg import DDPG, DDPG_CFG
from skrl.agents.torch.ppo import PPO, PPO_CFG, PPO_RNN
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model, shared_model
from torch import nn

from ganglion.adapters import skrl

NUM_ENVS, ROLLOUT, SEQUENCE = 2, 16, 8
Box = gymnasium.spaces.Box
OBSERVATIONS = Box(-np.inf, np.inf, (3,))
ACTIONS = Box(np.float32([-0.3, -0.5]), np.float32([0.2, 0.4]))
NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [12, 7], "activations": "elu"}]
QUIET = {"directory": "", "experiment_name": "", "write_interval": 0, "checkpoint_interval": 0}


class Toy(gymnasium.vector.VectorEnv):
    """Random observations far from the standard normal distribution."""

    def __init__(self):
        self.num_envs, self.metadata = NUM_ENVS, {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = OBSERVATIONS, ACTIONS
        batch = gymnasium.vector.utils.batch_space
        self.observation_space, self.action_space = batch(OBSERVATIONS, NUM_ENVS), batch(ACTIONS, NUM_ENVS)
        self.random = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        self.last = observed(self.random, NUM_ENVS)
        return self.last, {}

    def step(self, actions):
        ended = self.random.random(NUM_ENVS) < 0.05
        reward = -np.square(np.asarray(actions) - np.sin(self.last[:, :2])).sum(-1).astype(np.float32)
        self.last = observed(self.random, NUM_ENVS)
        return self.last, reward, ended, np.zeros(NUM_ENVS, bool), {}


def observed(random, rows):
    return (random.normal(size=(rows, 3)) * [0.1, 3.0, 1.0] + [2.0, -5.0, 0.0]).astype(np.float32)


class Recurrent(GaussianMixin, Model):
    """The recurrent Gaussian models of skrl's documentation."""

    def __init__(self, kind, num_layers=1, **mixin):
        Model.__init__(self, observation_space=OBSERVATIONS, action_space=ACTIONS, device="cpu")
        GaussianMixin.__init__(self, **mixin)
        self.kind, self.num_layers, self.hidden_size = kind, num_layers, 9
        self.add_module(kind, getattr(nn, kind.upper())(3, 9, num_layers, batch_first=True))
        self.net = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh())
        nn.init.normal_(self.net[2].weight)  # so that some actions reach their bounds
        self.log_std_parameter = nn.Parameter(torch.zeros(2))

    def get_specification(self):
        size = (self.num_layers, NUM_ENVS, self.hidden_size)
        return {"rnn": {"sequence_length": SEQUENCE, "sizes": [size] * (2 if self.kind == "lstm" else 1)}}

    def compute(self, inputs, role):  # noqa: ARG002
        layers, states = getattr(self, self.kind), inputs["rnn"]
        rows = inputs["observations"]
        sequences = rows.view(-1, SEQUENCE if self.training else 1, rows.shape[-1])
        if self.training:
            first = [s.view(self.num_layers, -1, SEQUENCE, s.shape[-1])[:, :, 0].contiguous() for s in states]
        else:
            first = states
        features, new = layers(sequences, tuple(first) if self.kind == "lstm" else first[0])
        new = list(new) if self.kind == "lstm" else [new]
        return self.net(features.flatten(0, 1)), {"log_std": self.log_std_parameter, "rnn": new}


class RecurrentValue(DeterministicMixin, Recurrent):
    """A critic with the same layers."""

    def __init__(self, kind, num_layers=1):
        Recurrent.__init__(self, kind, num_layers)
        DeterministicMixin.__init__(self)
        self.value = nn.Linear(2, 1)

    def compute(self, inputs, role):
        features, outputs = Recurrent.compute(self, inputs, role)
        return self.value(features), outputs


class Functional(GaussianMixin, Model):
    """A model of a user, which no shapes explain."""

    def __init__(self):
        Model.__init__(self, observation_space=OBSERVATIONS, action_space=ACTIONS, device="cpu")
        GaussianMixin.__init__(self, clip_actions=True)
        self.first, self.skip = nn.Linear(3, 6), nn.Linear(3, 2)
        self.last = nn.Linear(6, 2)
        self.log_std_parameter = nn.Parameter(torch.zeros(2))

    def compute(self, inputs, role):  # noqa: ARG002
        x = inputs["observations"]
        return self.last(torch.sin(self.first(x))) + self.skip(x), {"log_std": self.log_std_parameter}


SPACES = {"observation_space": OBSERVATIONS, "action_space": ACTIONS, "device": "cpu"}
VALUE = {"network": NETWORK, "output": "ONE"}


def instantiated(output, **options):
    return {
        "policy": gaussian_model(**SPACES, network=NETWORK, output=output, **options),
        "value": deterministic_model(**SPACES, **VALUE),
    }


def shared():
    model = shared_model(
        **SPACES, structure=["GaussianMixin", "DeterministicMixin"], roles=["policy", "value"],
        parameters=[{"network": NETWORK, "output": "ACTIONS"}, VALUE],
    )  # fmt: skip
    return {"policy": model, "value": model}


def actor_and_critic():
    critic = [{**NETWORK[0], "input": "concatenate([OBSERVATIONS, ACTIONS])"}]
    models = {
        name: deterministic_model(**SPACES, network=NETWORK, output="tanh(ACTIONS)", clip_actions=True)
        for name in ("policy", "target_policy")
    }
    names = ("critic", "target_critic")
    return models | {name: deterministic_model(**SPACES, network=critic, output="ONE") for name in names}


LINEAR = {"activation": "elu", "output_activation": "identity"}
DOCUMENTED = {"activation": "relu", "output_activation": "tanh"}
CLIPPED = {"clip_mean_actions": True, "action_space": ACTIONS}
CASES = {
    "mlp": (lambda: instantiated("ACTIONS"), LINEAR),
    "mlp, tanh, scaled, clipped": (
        lambda: instantiated("2 * tanh(ACTIONS)", clip_mean_actions=True),
        {**LINEAR, **CLIPPED, "output_activation": "tanh", "output_scale": 2.0},
    ),
    "mlp, one for both": (shared, LINEAR),
    "mlp of a user": (
        lambda: {"policy": Functional(), "value": deterministic_model(**SPACES, **VALUE)}, {"model": Functional}
    ),
    "rnn": (lambda: {"policy": Recurrent("rnn"), "value": RecurrentValue("rnn")}, DOCUMENTED),
    "gru": (lambda: {"policy": Recurrent("gru"), "value": RecurrentValue("gru")}, DOCUMENTED),
    "lstm": (
        lambda: {"policy": Recurrent("lstm", 2, clip_mean_actions=True), "value": RecurrentValue("lstm", 2)},
        {**DOCUMENTED, **CLIPPED},
    ),
    "lstm as it is": (
        lambda: {"policy": Recurrent("lstm"), "value": RecurrentValue("lstm")}, {"model": lambda: Recurrent("lstm")}
    ),
    "deterministic": (actor_and_critic, {**LINEAR, **CLIPPED, "output_activation": "tanh"}),
}  # fmt: skip


class Trained:
    """A checkpoint, and the agent that wrote it."""

    def __init__(self, agent, path, options):
        self.agent, self.path, self.options = agent, path, options

    def load(self, **changes):
        options = {**self.options, **changes}
        if "model" in options and not isinstance(options["model"], nn.Module):
            options["model"] = options["model"]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skrl.load(self.path, **options)

    @cached_property
    def run(self):
        """What the agent does in evaluation, along a thousand observations with resets."""
        return record(self)


def train(name, folder):
    """Trains a case of `CASES` for a while, and writes `agent.pt`."""
    torch.set_num_threads(1)
    set_seed(3)
    models, options = CASES[name][0](), CASES[name][1]
    env = wrap_env(Toy(), wrapper="gymnasium")
    for role, model in models.items():
        if not isinstance(model, Recurrent):  # which has no lazy layers
            model.init_state_dict(role=role)
    common = {
        "experiment": QUIET, "observation_preprocessor": RunningStandardScaler,
        "observation_preprocessor_kwargs": {"size": OBSERVATIONS, "device": "cpu"},
    }  # fmt: skip
    memory = RandomMemory(memory_size=ROLLOUT, num_envs=NUM_ENVS, device="cpu")
    arguments = {"models": models, "memory": memory, **SPACES}
    if name == "deterministic":
        agent = DDPG(cfg=DDPG_CFG(**common, batch_size=4, learning_rate=0.001, learning_starts=4), **arguments)
    else:
        kind = PPO_RNN if hasattr(models["policy"], "kind") else PPO
        cfg = PPO_CFG(**common, rollouts=ROLLOUT, mini_batches=2, learning_epochs=3, learning_rate=0.005)
        agent = kind(cfg=cfg, **arguments)
    trainer = SequentialTrainer(
        cfg={
            "timesteps": 4 * ROLLOUT,
            "disable_progressbar": True,
            "close_environment_at_exit": False,
            "headless": True,
        },
        env=env,
        agents=agent,
    )
    trainer.train()
    agent.save(str(folder / "agent.pt"))
    agent.enable_training_mode(False, apply_to_models=True)
    return Trained(agent, folder / "agent.pt", options)


def drawn(steps=STEPS):
    """Observations and resets."""
    random = np.random.default_rng(1)
    begins = resets(random, steps)
    return observed(random, steps), begins


def record(trained, steps=STEPS):
    """Observations, resets, and what the agent does along them in evaluation."""
    observations, begins = drawn(steps)
    return Run(observations, begins, evaluated(trained.agent, observations, begins))


@torch.no_grad()
def evaluated(agent, observations, resets):
    """The actions that skrl's trainers take in evaluation (`mean_actions`, or else the actions)."""
    actions = []
    for observation, reset in zip(observations, resets, strict=True):
        if reset and hasattr(agent, "_rnn_initial_states"):
            sizes = agent.policy.get_specification()["rnn"]["sizes"]
            agent._rnn_initial_states["policy"] = [torch.zeros(layers, 1, units) for layers, _, units in sizes]
        drawn_actions, outputs = agent.act(torch.from_numpy(observation[None]), None, timestep=0, timesteps=0)
        actions.append(outputs.get("mean_actions", drawn_actions)[0].numpy())
        if hasattr(agent, "_rnn_initial_states"):
            agent._rnn_initial_states["policy"] = agent._rnn_final_states["policy"]
    return np.stack(actions)
