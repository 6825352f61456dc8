"""Trains a policy by recurrent PPO, writes it to one file, checks the file, and flies it in the C++ runtime.

The inverted pendulum of gymnasium's MuJoCo with positions only: to stop a fall, the policy must remember the last
steps, which it does in an LSTM.

    python export_examples/08_train_export_fly.py          # less than a minute on one core
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ganglion
from ganglion.envs import MaskObservation
from ganglion.policies import LSTMPolicy
from ganglion.training import PPO, ExperimentContext, LocalSampler, Trainer, load_policy, set_seed, wrap_experiment


def make_env() -> MaskObservation:
    """The pendulum, of which the positions of cart and pole are seen."""
    return MaskObservation("InvertedPendulum-v5", keep=[0, 1])


@wrap_experiment(archive_launch_repo=False, use_existing_dir=True)
def train(ctxt: ExperimentContext, epochs: int) -> None:
    """Leaves a snapshot behind every epoch."""
    algo = PPO(LSTMPolicy(make_env().spec, hidden_size=64, num_recurrent_layers=1))
    trainer = Trainer(ctxt)
    trainer.setup(algo, make_env(), LocalSampler(algo.exploration_policy, make_env, envs_per_worker=8))
    trainer.train(n_epochs=epochs, batch_size=500)


def main() -> None:
    """Trains, exports, verifies and flies."""
    parser = argparse.ArgumentParser(description="Train, export, fly.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out/pendulum"), help="folder of the run")
    arguments = parser.parse_args()

    set_seed(1)
    train({"log_dir": arguments.out}, epochs=arguments.epochs)
    policy, artifact = load_policy(arguments.out), arguments.out / "policy.ganglion"
    ganglion.export(policy, artifact)
    assert ganglion.verify(artifact, policy).ok

    env, pilot = make_env(), ganglion.load(artifact)
    observation, _ = env.reset(seed=0)
    steps, step = 0, None
    while step is None or not step.last:
        step = env.step(pilot.step(observation.astype("float32")))
        observation, steps = step.observation, steps + 1
    print(f"{artifact} held the pole for {steps} steps")


if __name__ == "__main__":
    main()
