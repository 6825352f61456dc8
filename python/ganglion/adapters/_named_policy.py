"""A policy class by its name, as a command line gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.data.env_spec import EnvSpec


def named(policy: Any, known: Sequence[type[Any]]) -> Any:
    """Returns the class that a name stands for; what is no name stays.

    Args:
        policy: the name of one of `known`, or anything else.
        known: classes that have names.

    Raises:
        ValueError: the name is not known.
    """
    if not isinstance(policy, str):
        return policy
    names = {kind.__name__: kind for kind in known}
    if policy not in names:
        raise ValueError(f"policy {policy!r} is not known; there are {', '.join(names)}")
    return names[policy]


def build(
    policy: Any, known: Sequence[type[Any]], env_spec: EnvSpec | None, kwargs: dict[str, Any], config: object = None
) -> Any:
    """Returns a policy, built if it is a class.

    Args:
        policy: a policy, or a class.
        known: classes whose sizes are read off their weights.
        env_spec: first argument of a class.
        kwargs: further arguments of a class.
        config: must be None; what a policy has been built with needs no file.

    Raises:
        TypeError: arguments are given beside a policy that is there already.
        ValueError: there is no policy, a class has no `env_spec`, or there is a `config`.
    """
    if config is not None:
        raise ValueError("config is for a policy whose sizes are read off its weights: leave env_spec and policy out")
    if not isinstance(policy, type):
        if policy is None:
            raise ValueError(f"env_spec belongs to a policy: one of {', '.join(kind.__name__ for kind in known)}")
        if env_spec is not None or kwargs:
            raise TypeError("env_spec and arguments of the constructor are for a policy class, not for a policy")
        return policy
    if env_spec is None:
        raise ValueError(f"the checkpoint does not tell the spaces: {policy.__name__} needs env_spec=EnvSpec(...)")
    return policy(env_spec, **kwargs)
