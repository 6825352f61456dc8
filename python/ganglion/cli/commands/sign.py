"""`ganglion sign`: a signature over a file, for robots that take files of their lab only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.text import Text

from ganglion.cli.outcome import Outcome
from ganglion.errors import GanglionError

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> Outcome:
    """Runs `ganglion sign`."""
    from ganglion.export import sign

    passphrase = None
    if arguments.passphrase_env is not None:
        # Not an option of its own: what stands in a command line can be read by everybody on the machine.
        passphrase = os.environ.get(arguments.passphrase_env)
        if passphrase is None:
            raise GanglionError(f"the environment variable {arguments.passphrase_env} is not set")
    output = arguments.file if arguments.output is None else arguments.output
    signer = sign(arguments.file, arguments.key, output, passphrase=passphrase)
    said = Text(f"{output} is signed with the key {signer}")
    public = f"openssl pkey -in {arguments.key} -pubout -out PUBLIC.pem"
    how = Text(f"next: ganglion verify {output} --key PUBLIC.pem, on the robot public_key; {public} writes that")
    return Outcome({"ok": True, "file": output, "signer": signer}, (said, how))
