import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from ganglion.cli import main

POLICY = """
    import gymnasium, torch
    import helper_beside_the_script
    from ganglion.policies import EnvSpec, GRUPolicy

    print("a script may print")
    if __name__ == "__main__":
        raise SystemExit("this part must not run")
    spec = EnvSpec(gymnasium.spaces.Box(-1.0, 1.0, (3,)), gymnasium.spaces.Box(-1.0, 1.0, (2,)))
    torch.manual_seed(0)
    policy = GRUPolicy(spec, hidden_size=4, num_recurrent_layers=1)
    torch.manual_seed(1)
    other = GRUPolicy(spec, hidden_size=4, num_recurrent_layers=1)
"""


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("cli")
    write(folder / "walker.py", POLICY)
    write(folder / "helper_beside_the_script.py", "")
    for name in ("walker.onnx", "walker.pt"):
        assert main(["export", str(folder / "walker.py"), "-o", str(folder / name), "--json"]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Runs a command; gives exit status, standard output (parsed with --json) and standard error."""

    def call(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, json.loads(out) if "--json" in arguments else out, err

    return call


def usage(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


# export ---------------------------------------------------------------------------------------------------------


def test_export_writes_a_file_and_shows_its_contract(run, folder, tmp_path):
    target = tmp_path / "policy.pt"
    status, out, err = run("export", folder / "walker.py", "-o", target, "--golden-steps", 70)
    assert status == 0 and target.is_file() and list(tmp_path.iterdir()) == [target]
    assert "70 steps" in out and "h [1, 4]: 4 elements" in out
    assert "a script may print" in err and "a script may print" not in out


def test_export_json_is_one_document(run, folder, tmp_path):
    target = tmp_path / "policy.pt"
    status, document, _ = run("export", folder / "walker.py", "-o", target, "--batch", "any", "--json")
    assert status == 0
    assert set(document) == {"schema", "ok", "file", "bytes", "memory", "contract"} and document["memory"] is None
    assert document["ok"] is True and document["file"] == str(target) and document["bytes"] == target.stat().st_size
    assert document["contract"]["batch"] is None and len(document["contract"]["sha256"]) == 64
    assert document["contract"]["golden"] == {"steps": 64, "rows": 3, "tolerance": 1e-5}


@pytest.mark.deep
def test_export_takes_an_attribute_a_module_a_function_and_a_checkpoint(run, folder, tmp_path, monkeypatch):
    from ganglion.cli.source import load_source
    from ganglion.policies.checkpoint import save_checkpoint

    policy = load_source(str(folder / "walker.py")).policy
    save_checkpoint(policy, tmp_path / "walker.checkpoint")
    write(
        tmp_path / "zoo_of_policies.py",
        f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        from walker import other, policy as trained
        def load_policy():
            return trained
    """,
    )
    monkeypatch.chdir(tmp_path)
    reference = folder / "walker.py"
    for source in (
        f"{reference}:policy",
        "zoo_of_policies.py",
        "zoo_of_policies:load_policy",
        "walker.checkpoint",
        "zoo_of_policies:other",
    ):
        assert run("export", source, "-o", "out.pt", "--json")[0] == 0, source
        status = run("verify", "out.pt", "--policy", reference, "--steps", 10, "--json")[0]
        assert status == (1 if source.endswith("other") else 0), source


def test_export_uses_the_contract_that_the_source_states(run, folder, tmp_path):
    source = """
        import dataclasses, sys
        sys.path.insert(0, {folder!r})
        from walker import policy as trained
        def named(period_s):
            plain = trained.contract(period_s=period_s)
            names = dataclasses.replace(plain.inputs[0], element_names=("x", "y", "z"))
            return dataclasses.replace(plain, inputs=(names,))
        {rest}
    """
    beside = write(
        tmp_path / "beside.py", source.format(folder=str(folder), rest="policy, contract = trained, named(0.25)")
    )
    pair = write(tmp_path / "pair.py", source.format(folder=str(folder), rest="policy = lambda: (trained, named(0.5))"))
    for path, period in ((beside, 0.25), (pair, 0.5)):
        status, document, _ = run("export", path, "-o", tmp_path / "out.pt", "--batch", 2, "--json")
        assert status == 0
        contract = document["contract"]
        assert contract["period_s"] == period and contract["batch"] == 2
        assert contract["inputs"][0]["element_names"] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy = 3", "is a int, not a policy"),
        ("other_name = 3", "no attribute 'policy' or 'load_policy'"),
        ("policy = (", "SyntaxError"),
        ("import module_that_is_not_there", "No module named 'module_that_is_not_there', line 1 of broken.py"),
        ("x = 1\n\n1 / 0", "ZeroDivisionError: division by zero, line 3 of broken.py"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("def policy():\n    return {}['weights']", "KeyError: 'weights', line 2 of broken.py"),
    ],
)
def test_a_broken_source_is_one_sentence(run, tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    status, out, err = run("export", path, "-o", tmp_path / "out.pt")
    assert status == 1 and out == "" and message in err
    assert err.startswith("ganglion: error: ") and len(err.splitlines()) == 2
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("source", ["missing.py", "missing.py:policy", "missing_module:policy", "missing.checkpoint"])
def test_a_missing_source_is_one_sentence(run, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    status, document, err = run("export", source, "-o", "out.pt", "--json")
    assert status == 1 and "missing" in err
    assert document["ok"] is False and "missing" in document["error"]["message"]


def test_export_to_an_unknown_suffix_or_folder_is_refused(run, folder, tmp_path):
    for target in (tmp_path / "policy.txt", tmp_path / "missing" / "policy.pt"):
        status, _, err = run("export", folder / "walker.py", "-o", target)
        assert status == 1 and target.name in err


# inspect --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["walker.onnx", "walker.pt"])
def test_inspect_shows_the_contract(run, folder, name):
    status, out, err = run("inspect", folder / name)
    assert status == 0 and err == ""
    for wanted in ("Input obs [3]", "Output actions [2]", "h [1, 4]", "64 steps, 1 row", "SHA-256", "-1"):
        assert wanted in out
    status, document, _ = run("inspect", folder / name, "--json")
    assert status == 0 and document["dialect"] == "ganglion" and document["findings"] == []
    assert document["contract"]["state"] == [{"name": "h", "shape": [1, 4]}]


def test_inspect_of_what_is_no_artifact_is_one_sentence(run, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    for path in (tmp_path / "missing.onnx", tmp_path / "text.onnx", tmp_path):
        status, document, err = run("inspect", path, "--json")
        assert status == 1 and len(err.splitlines()) == 2
        assert document["ok"] is False and document["error"]["type"] == "ArtifactError"


def test_inspect_needs_neither_torch_nor_onnxruntime(folder):
    code = (
        "import sys\n"
        "for name in ('torch', 'onnxruntime', 'onnx', 'gymnasium', 'matplotlib'): sys.modules[name] = None\n"
        "from ganglion.cli import main\n"
        f"sys.exit(main(['inspect', {str(folder / 'walker.onnx')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Input obs [3]" in result.stdout


# verify ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["walker.onnx", "walker.pt"])
def test_verify_of_equal_implementations_is_good(run, folder, tmp_path, name):
    report = tmp_path / "report.html"
    status, out, _ = run("verify", folder / name, "--policy", folder / "walker.py", "--steps", 100, "--report", report)
    assert status == 0 and "equal within 1e-05 to Python policy over 100 steps" in out
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_verify_of_another_policy_names_step_row_and_element(run, folder):
    arguments = ("verify", folder / "walker.onnx", "--policy", f"{folder / 'walker.py'}:other", "--steps", 50)
    status, out, _ = run(*arguments)
    assert status == 1 and "differs first at step 0, row 0" in out
    status, document, _ = run(*arguments, "--json")
    assert status == 1 and document["ok"] is False
    assert (document["first_divergence"]["step"], document["first_divergence"]["row"]) == (0, 0)


def test_verify_options_reach_the_verification(run, folder, tmp_path):
    status, document, _ = run(
        "verify",
        folder / "walker.onnx",
        "--steps",
        30,
        "--seed",
        4,
        "--tolerance",
        "1e-3",
        "--engine",
        "onnxruntime",
        "--batch",
        1,
        "--report",
        tmp_path / "report.json",
        "--json",
    )
    assert status == 0 and document["tolerance"] == 1e-3
    assert document["trajectory"]["steps"] == 30 and "seed 4" in document["trajectory"]["source"]
    assert json.loads((tmp_path / "report.json").read_text()) == document


def test_verify_runs_a_recording(run, folder, tmp_path):
    np.savez(tmp_path / "run.npz", observation=np.ones((12, 3)), reset=np.arange(12) == 5)
    status, document, _ = run("verify", folder / "walker.pt", "--recording", tmp_path / "run.npz", "--json")
    assert status == 0 and document["trajectory"]["steps"] == 12 and document["trajectory"]["resets"] == 1
    (tmp_path / "run.npz").write_bytes(b"broken")
    status, _, err = run("verify", folder / "walker.pt", "--recording", tmp_path / "run.npz")
    assert status == 1 and "not a readable .npz recording" in err


def test_verify_refuses_what_does_not_fit_together(run, folder):
    assert run("verify", folder / "walker.onnx", "--batch", 5)[0] == 2
    status, document, err = run("verify", folder / "walker.onnx", "--engine", "libtorch", "--json")
    assert status == 2 and "engine 'libtorch' does not open" in err and document["ok"] is False


# bench, doctor, and the rest ------------------------------------------------------------------------------------


def test_bench_measures_files_on_their_engines(run, folder):
    arguments = ("bench", folder / "walker.onnx", folder / "walker.pt", "--steps", 50, "--rounds", 2)
    status, document, _ = run(*arguments, "--json")
    named = {"schema", "ok", "version", "cpu", "scheduling", "clock_us", "results", "floors"}
    assert status == 0 and set(document) == named
    assert [result["engine"] for result in document["results"]] == ["onnxruntime", "libtorch"]
    for result in document["results"]:
        assert result["steps"] == 100 and result["rounds"] == 2
        assert 0.0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"]
        assert result["allocations_per_step"] >= 0.0
    status, out, _ = run(*arguments)
    assert status == 0 and "p99.9" in out and "libtorch" in out
    assert "cold" not in out and "load" not in out


def test_bench_shows_cold_steps_and_loads_where_asked(run, folder):
    arguments = ("bench", folder / "walker.onnx", "--steps", 50, "--rounds", 2, "--cold", 5)
    status, document, _ = run(*arguments, "--json")
    (result,) = document["results"]
    assert status == 0 and result["cold_p99_us"] >= result["cold_p50_us"] > 0.0 and result["load_ms"] > 0.0
    status, out, _ = run(*arguments)
    assert status == 0 and all(heading in out for heading in ("cold p50", "cold p99", "load ms"))


def test_bench_of_a_missing_file_or_engine_is_one_sentence(run, folder, tmp_path):
    status, _, err = run("bench", tmp_path / "missing.onnx")
    assert status == 1 and "missing.onnx" in err
    status, _, err = run("bench", folder / "walker.pt", "--engine", "native")
    assert status == 1 and "compile it to .ganglion" in err


def test_doctor_shows_engines_and_versions(run):
    status, out, _ = run("doctor")
    assert status == 0 and "onnxruntime" in out and "usable" in out and "numpy" in out
    status, document, _ = run("doctor", "--json")
    assert set(document) == {"schema", "ok", "engines", "cpu_features", "versions", "platform", "problem"}
    assert [engine["name"] for engine in document["engines"]] == ["native", "onnxruntime", "libtorch"]
    assert document["ok"] is True and document["problem"] is None
    assert set(document["versions"]) == {"python", "ganglion", "numpy", "torch", "onnxruntime"}


def test_doctor_says_what_is_wrong(run, monkeypatch):
    from ganglion.runtime import EngineInfo

    broken = [EngineInfo("onnxruntime", False, None, None, "not installed; pip install 'ganglion[onnx]'")]
    monkeypatch.setattr("ganglion.runtime.engines", lambda: broken)
    status, out, _ = run("doctor")
    assert status == 1 and "no engine is usable" in out
    monkeypatch.setitem(sys.modules, "ganglion.runtime", None)
    monkeypatch.delattr("ganglion.runtime")
    status, document, _ = run("doctor", "--json")
    assert status == 1 and document["engines"] == [] and "cannot be loaded" in document["problem"]


def test_wrong_command_lines_are_usage_errors(folder, capsys):
    walker = folder / "walker.onnx"
    for arguments in (
        ("fly",),
        ("inspect",),
        ("export", "walker.py"),
        ("export", "walker.py", "-o", "x.pt", "--batch", "0"),
        ("export", "walker.py", "-o", "x.pt", "--batch", "many"),
        ("export", "walker.py", "-o", "x.pt", "--golden-steps", "63"),
        ("verify", walker, "--steps", "0"),
        ("verify", walker, "--tolerance", "nan"),
        ("verify", walker, "--engine", "tensorrt"),
        ("verify", walker, "--report", "report.pdf"),
        ("verify", walker, "--steps", "5", "--recording", "run.npz"),
        ("bench",),
    ):
        assert usage(*arguments) == 2, arguments
        assert "usage: ganglion" in capsys.readouterr().err


def test_a_golden_run_is_long_enough(capsys):
    assert usage("export", "walker.py", "-o", "x.pt", "--golden-steps", "1") == 2
    assert "--golden-steps: '1' is not an integer of at least 64" in capsys.readouterr().err


def test_the_version_is_shown(capsys):
    import ganglion

    assert usage("--version") == 0
    assert capsys.readouterr().out == f"ganglion {ganglion.__version__}\n"


def test_traceback_is_shown_when_asked_for(tmp_path):
    from ganglion import ArtifactError

    with pytest.raises(ArtifactError):
        main(["inspect", str(tmp_path / "missing.onnx"), "--traceback"])


def test_the_module_is_the_command(folder):
    command = [sys.executable, "-m", "ganglion"]
    source = str(folder / "walker.py")
    good = subprocess.run(
        [*command, "verify", "walker.onnx", "--policy", source, "--steps", "20", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert good.returncode == 0 and json.loads(good.stdout)["ok"] is True and "a script may print" in good.stderr
    bad = subprocess.run([*command, "inspect", "missing.onnx"], capture_output=True, text=True, check=False, cwd=folder)
    assert bad.returncode == 1 and bad.stdout == "" and bad.stderr.startswith("ganglion: error: ")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "line",
    [
        "export quiet.py -o quiet.onnx",
        "verify walker.onnx --policy quiet.py --steps 20",
        "verify walker.pt --steps 20",
        "verify --matrix GRUPolicy --steps 20",
    ],
)
@pytest.mark.deep
def test_nothing_of_other_packages_is_on_the_screen(line, folder, tmp_path):
    for name in ("walker.onnx", "walker.pt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = (folder / "walker.py").read_text().replace("import helper_beside_the_script", "").replace("print(", "str(")
    (tmp_path / "quiet.py").write_text(text)
    command = [sys.executable, "-m", "ganglion", *line.split()]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == ""


@pytest.mark.deep
def test_a_warning_of_ours_is_a_sentence(folder, tmp_path):
    (tmp_path / "warns.py").write_text(
        "import warnings\nwarnings.warn('two\\n\x1b[31mlines')\nfrom walker import policy\n"
    )
    command = [sys.executable, "-m", "ganglion", "export", "warns.py", "-o", "x.pt"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert r"ganglion: warning: two \x1b[31mlines" in result.stderr.splitlines()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_that_leaves_early_is_no_error(folder):
    command = f"{sys.executable} -m ganglion inspect {folder / 'walker.onnx'}"
    result = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and result.stderr == ""


def test_inspect_explains_a_file_without_a_contract(run):
    path = Path(__file__).parents[2] / "golden" / "artifacts" / "rsl_rl_gru.onnx"
    status, out, _ = run("inspect", path)
    assert status == 0
    assert "rsl_rl" in out and "input h_in pairs with output h_out" in out and "initial value zeros" in out
    _, document, _ = run("inspect", path, "--json")
    assert document["dialect"] == "rsl_rl"
    assert document["state"] == [{"slot": "h", "input": "h_in", "output": "h_out"}]


def test_a_state_can_be_said(run):
    path = Path(__file__).parents[2] / "golden" / "artifacts" / "rsl_rl_gru.onnx"
    status, document, _ = run("inspect", path, "--state", "h_in:h_out", "--json")
    assert status == 0 and "as you said" in " ".join(document["notes"])
    status, document, _ = run("inspect", path, "--state", "h_in:nothing", "--json")
    assert status == 1 and "[state-unknown]" in document["error"]["message"]


def test_the_matrix_takes_nothing_that_it_would_ignore(run):
    status, document, _ = run(
        "verify", "--matrix", "RNNPolicy", "--recording", "run.npz", "--recorded-actions", "--json"
    )
    assert status == 2
    assert "does not take --recording, --recorded-actions" in document["error"]["message"]
