"""Every form of a module that `ganglion.wrap` takes, in every file."""

from __future__ import annotations

import warnings

import pytest
import torch
from header_bits import TOGETHER, check_together
from module_zoo import CASES

import ganglion

pytestmark = pytest.mark.deep  # exports every form to every file


def policy_of(name):
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ganglion.wrap(CASES[name].make(), **CASES[name].said).eval()


@pytest.mark.sampled(5)
@pytest.mark.parametrize("suffix", ["ganglion", "onnx", "pt"])
@pytest.mark.parametrize("name", CASES)
def test_every_file_does_what_the_module_does(name, suffix, tmp_path):
    policy = policy_of(name)
    path = tmp_path / f"policy.{suffix}"
    ganglion.export(policy, path)
    assert ganglion.verify(path, policy, steps=200).ok
    assert ganglion.load(path).contract.inputs == policy.input_specs


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["attention", "lstm_of_dictionary", "history", "whole_numbers"])
def test_a_file_for_any_number_of_rows(name, tmp_path):
    policy = policy_of(name)
    ganglion.export(policy, tmp_path / "policy.onnx", batch=None)
    assert ganglion.verify(tmp_path / "policy.onnx", policy, steps=50, batch=4).ok


@pytest.mark.whole  # test_every_route.py has a program of headers
@pytest.mark.parametrize("first", range(0, len(CASES), TOGETHER))
def test_the_headers_of_every_form_give_the_bits_of_the_engine(first, tmp_path):
    names = list(CASES)[first : first + TOGETHER]
    check_together({name: policy_of(name) for name in names}, tmp_path, steps=200)
