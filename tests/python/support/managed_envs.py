"""Vector environments laid out as Isaac Lab's and mjlab's are, with torch tensors that are used again in every step.

The attributes are those of isaaclab.envs.ManagerBasedRLEnv, isaaclab.assets.ArticulationData, isaaclab.managers, and of
mjlab.envs.ManagerBasedRlEnv, mjlab.entity.EntityData, mjlab.sim.WarpBridge.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import torch

ROWS, JOINTS = 3, 2


class _Commands:
    def __init__(self, terms: dict[str, torch.Tensor]) -> None:
        self._terms = terms

    @property
    def active_terms(self) -> list[str]:
        return list(self._terms)

    def get_command(self, name: str) -> torch.Tensor:
        return self._terms[name]


class _TorchArray:
    """mjlab.sim.sim_data.TorchArray: what it has not itself, its tensor has."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensor, name)


class _EntityData:
    """mjlab's: what cannot be had raises."""

    def __init__(self, env: ManagedEnv) -> None:
        self._env = env

    @property
    def joint_pos(self) -> torch.Tensor:
        return self._env.qpos[:, 7:].clone()

    @property
    def root_link_quat_w(self) -> torch.Tensor:
        return self._env.qpos[:, 3:7].clone()

    @property
    def projected_gravity_b(self) -> torch.Tensor:
        raise NotImplementedError("not here")


@dataclasses.dataclass
class _ImuData:
    ang_vel_b: torch.Tensor
    lin_acc_b: torch.Tensor
    frames: list[str] = dataclasses.field(default_factory=list)


class ManagedEnv:
    """Counts: everything that an environment has is a function of how many steps its episode has."""

    def __init__(self, kind: str, group: str = "policy", concatenated: bool = True) -> None:
        self.num_envs = ROWS
        self.kind, self.group, self.concatenated = kind, group, concatenated
        self.count = torch.zeros(ROWS)
        self.qpos = torch.zeros(ROWS, 7 + JOINTS, requires_grad=True).detach()
        self.velocity = torch.zeros(ROWS, 3)
        self.lengths = torch.tensor([4.0, 3.0, 100.0])
        data: Any
        if kind == "isaac_lab":
            data = SimpleNamespace(joint_pos=self.qpos[:, 7:], root_quat_w=self.qpos[:, 3:7], joint_names=["a", "b"])
            sensor = SimpleNamespace(data=_ImuData(self.velocity, self.velocity))
            self.scene = SimpleNamespace(articulations={"robot": SimpleNamespace(data=data)}, sensors={"imu": sensor})
            self.sim = SimpleNamespace()
        else:
            data = _EntityData(self)
            self.scene = SimpleNamespace(
                entities={"terrain": SimpleNamespace(data=data), "robot": SimpleNamespace(data=data)},
                sensors={"gyro": SimpleNamespace(data=self.velocity)},
            )
            self.sim = SimpleNamespace(data=SimpleNamespace(qpos=_TorchArray(self.qpos)))
        self.command_manager = _Commands({"base_velocity": self.velocity})
        self.observation_manager = SimpleNamespace(
            active_terms={group: ["joint_pos", "phase"], "critic": ["joint_pos"]},
            group_obs_term_dim={group: [(JOINTS,), (1,)], "critic": [(JOINTS,)]},
        )

    @property
    def unwrapped(self) -> ManagedEnv:
        return self

    def reset(self, *, env_ids: torch.Tensor | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.count[slice(None) if env_ids is None else env_ids] = 0.0
        return self._observe(), {}

    def step(self, action: torch.Tensor) -> tuple[Any, ...]:
        self.count += 1.0
        ended = self.count >= self.lengths
        self.count[ended] = 0.0  # an environment that ended gives the first observation of its next episode
        action *= 0.0  # an environment may do with an action what it wants
        return self._observe(), torch.zeros(ROWS), ended, torch.zeros(ROWS, dtype=torch.bool), {}

    def _observe(self) -> dict[str, Any]:
        self.qpos[:] = self.count[:, None] + torch.arange(7.0 + JOINTS)
        self.velocity[:] = -self.count[:, None]
        joints, phase = self.qpos[:, 7:], self.count[:, None]
        terms = {"joint_pos": joints, "phase": phase}
        policy = torch.cat([joints, phase], dim=1) if self.concatenated else terms
        return {"critic": joints, self.group: policy}


class RunnerWrapper:
    """As rsl_rl's VecEnv around it: a step gives four things, and nobody calls reset."""

    def __init__(self, env: ManagedEnv) -> None:
        self.env, self.num_envs = env, env.num_envs

    @property
    def unwrapped(self) -> ManagedEnv:
        return self.env

    def step(self, action: torch.Tensor) -> tuple[Any, ...]:
        observation, reward, ended, cut, infos = self.env.step(action)
        return observation, reward, (ended | cut).long(), infos

    def reset(self) -> tuple[Any, Any]:
        return self.env.reset()
