"""The configuration of a runner of rsl_rl: what the checkpoint itself does not say about the actor."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ganglion._foundation.yaml_files import read_yaml
from ganglion.errors import ArtifactError

Config: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_BESIDE = (Path("params/agent.yaml"), Path("agent.yaml"))
"""Where Isaac Lab and mjlab put the configuration, seen from the checkpoint."""

_ADVICE = (
    "remove the tag, or do without the file: config={} and, where they are not the defaults, activation=... and "
    "clip_actions=..."
)


def read_config(config: Config | None, checkpoint: str | os.PathLike[str]) -> tuple[Mapping[str, Any], str]:
    """Reads the configuration of a runner.

    Args:
        config: a YAML file, or what is in it; None for `params/agent.yaml` or `agent.yaml` beside the checkpoint.
        checkpoint: path of the checkpoint.

    Returns:
        The configuration, empty where there is none, and what messages call it.

    Raises:
        ArtifactError: the file is missing, no YAML, or has a tag that asks for code.
        EngineUnavailableError: PyYAML is not installed.
        TypeError: `config` is none of these.
    """
    if isinstance(config, Mapping):
        return config, "config"
    if config is None:
        found = next((path for path in (Path(checkpoint).parent / name for name in _BESIDE) if path.is_file()), None)
        if found is None:
            return {}, "no agent.yaml beside it"
        config = found
    elif not isinstance(config, (str, os.PathLike)):
        raise TypeError(f"config must be a path, a mapping or None, not {type(config).__name__}")
    content = read_yaml(config, advice=_ADVICE)
    if not isinstance(content, Mapping):
        raise ArtifactError(f"'{config}' holds a {type(content).__name__}; the configuration of a runner is a mapping")
    return content, f"'{config}'"


def section(config: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """Returns the part of a configuration that describes the actor; empty where there is none.

    Isaac Lab also writes parts that are empty or null, of the versions of rsl_rl that it is not running with.
    """
    parts = (config.get(name) for name in names)
    return next((part for part in parts if isinstance(part, Mapping) and part), {})


def head_of(part: Mapping[str, Any]) -> str | None:
    """Returns the kind of head that the configuration of an actor names, see `rsl_rl.load`; None for no word on it."""
    distribution = part.get("distribution_cfg")
    if isinstance(distribution, Mapping):
        name = re.split(r"[.:]", str(distribution.get("class_name")))[-1]
        return _HEADS.get(name, name)
    if part.get("state_dependent_std"):
        return "heteroscedastic"
    return "none" if part.get("stochastic") is False else None


_HEADS = {
    "GaussianDistribution": "gaussian",
    "HeteroscedasticGaussianDistribution": "heteroscedastic",
    "BetaDistribution": "beta",
}
