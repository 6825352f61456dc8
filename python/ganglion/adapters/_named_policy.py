"""A policy class by its name, as a command line gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganglion.data.env_spec import EnvSpec


def build(policy: Any, known: Sequence[type[Any]], env_spec: EnvSpec | None, kwargs: dict[str, Any]) -> Any:
    """Returns a policy, built if it is a class or the name of one.

    Args:
        policy: a policy, a class, or the name of one of `known`.
        known: classes that have names.
        env_spec: first argument of a class.
        kwargs: further arguments of a class.

    Raises:
        TypeError: arguments are given beside a policy that is there already.
        ValueError: the name is not known, or a class has no `env_spec`.
    """
    if isinstance(policy, str):
        names = {kind.__name__: kind for kind in known}
        if policy not in names:
            raise ValueError(f"policy {policy!r} is not known; there are {', '.join(names)}")
        policy = names[policy]
    if not isinstance(policy, type):
        if env_spec is not None or kwargs:
            raise TypeError("env_spec and arguments of the constructor are for a policy class, not for a policy")
        return policy
    if env_spec is None:
        raise ValueError(f"the checkpoint does not tell the spaces: {policy.__name__} needs env_spec=EnvSpec(...)")
    return policy(env_spec, **kwargs)
