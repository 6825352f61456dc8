"""`ganglion.wrap`: how a module is called is found, and the policy does what the module does on its own."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from module_zoo import CASES, Buffer, Gaussian, Layers, ManyEnvironments, mlp

import ganglion
from ganglion.policies.wrapped.probing import reset


class BeginsAtTwo(Buffer):
    def reset(self):
        self.hidden = torch.full((1, 8), 2.0)


def made(name):
    case = CASES[name]
    torch.manual_seed(5)
    module = case.make()
    with pytest.warns(UserWarning, match="keeps its state in itself") if case.holds else contextlib.nullcontext():
        return case, module, ganglion.wrap(module, **case.said)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", CASES)
def test_the_call_is_found(name):
    case, module, policy = made(name)
    assert case.call in str(policy)
    assert {slot.name: slot.shape for slot in policy.state_layout} == case.state
    assert {spec.name: spec.size for spec in policy.output_specs} == case.outputs
    assert policy.module is module


@pytest.mark.parametrize("kind", [Buffer, ManyEnvironments], ids=lambda kind: kind.__name__)
def test_a_module_that_keeps_its_state_does_not_notice(kind):
    module = kind()
    twin = copy.deepcopy(module)
    with pytest.warns(UserWarning, match=r"hidden' \[8\]: self\.hidden, batch axis 0, begins as zeros"):
        policy = ganglion.wrap(module, 6)
    names = list(module.state_dict())
    rows = len(module.hidden)
    hidden = policy.init_hidden(rows)
    for _ in range(3):
        obs = torch.randn(rows, 6)
        action, hidden = policy(obs, hidden)
        torch.testing.assert_close(action, twin(obs))
    assert not module.hidden.any() and list(module.state_dict()) == names
    reset(twin)
    torch.testing.assert_close(policy(obs)[0], twin(obs))


def test_rows_are_stepped_and_reset_for_themselves():
    with pytest.warns(UserWarning):
        policy = ganglion.wrap(Buffer(), 6)
    obs, hidden = torch.randn(4, 6), torch.randn(4, 8)
    together = policy(obs, hidden)
    for row in range(4):
        for whole, one in zip(together, policy(obs[row], hidden[row]), strict=True):
            torch.testing.assert_close(whole[row], one)


def test_initial_values_are_those_that_were_given():
    policy = ganglion.wrap(Layers(), 6, {"h": torch.full((1, 8), 0.5), "c": torch.linspace(0, 1, 8)[None]})
    torch.testing.assert_close(policy.init_hidden(2)[1], torch.cat((torch.full((8,), 0.5), torch.linspace(0, 1, 8))))
    with pytest.warns(UserWarning, match="begins as given values"):
        assert ganglion.wrap(BeginsAtTwo(), 6).init_hidden().tolist() == [2.0] * 8


def test_the_order_of_observations_is_that_of_what_was_said():
    case = CASES["two_arguments_in_another_order"]
    module = case.make()
    policy = ganglion.wrap(module, **case.said)
    assert [(spec.name, spec.size) for spec in policy.input_specs] == [("proprio", 4), ("image", 70)]
    assert policy.input_specs[0].low == (-2.0,) * 4
    proprio, image = torch.randn(4), torch.randn(2, 5, 7)
    action, _ = policy(torch.cat((proprio, image.flatten())))
    torch.testing.assert_close(action, module(image[None], proprio[None])[0])


def test_a_previous_action_is_told_only_where_it_is_a_command():
    with pytest.warns(UserWarning):
        assert ganglion.wrap(CASES["history"].make(), 6).contract().previous_action is not None

    class Raw(type(CASES["history"].make())):
        def forward(self, obs):
            action = super().forward(obs)
            return 3.0 * action

    with pytest.warns(UserWarning):
        contract = ganglion.wrap(Raw(), 6).contract()
    assert contract.previous_action is None
    assert contract.state[-1].name == "previous"


def test_a_policy_has_what_others_have():
    policy = ganglion.wrap(Layers(), 6, {"h": (1, 8), "c": (1, 8)})
    observations, lengths = torch.randn(7, 6), torch.tensor([4, 3])
    actions = policy.evaluate({"observations": observations, "lengths": lengths})
    assert actions.shape == (7, 3)
    actions.sum().backward()
    assert policy.num_param == sum(p.numel() for p in policy.module.parameters())
    assert all(p.grad is not None for p in policy.module.parameters())
    assert ganglion.wrap(Gaussian(), 6).contract().distribution == "gaussian"


def test_torch_compile_and_parallel_wrappers_are_seen_through():
    module = mlp()
    assert ganglion.wrap(torch.compile(module), 6).module is module
    assert ganglion.wrap(torch.nn.DataParallel(module), 6).module is module
