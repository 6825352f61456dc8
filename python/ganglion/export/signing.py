"""Signatures: whoever holds the private key of a lab vouches for a file, and a robot takes files of its lab only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganglion._foundation.boundary import bounded
from ganglion._foundation.files import ReadFile, read_file
from ganglion._foundation.sentences import first_line
from ganglion._foundation.targets import check_target, replacing
from ganglion.compiler.containers import SEAL, SIGNATURE, contract_to_change
from ganglion.contract import sealed
from ganglion.errors import ArtifactError, EngineUnavailableError, ExportError, GanglionError
from ganglion.runtime.policy import explain_file

if TYPE_CHECKING:
    import os

PURPOSE = b"ganglion contract\n"
"""Stands before the text that is signed: what else is signed with the key is no contract."""


@bounded(ArtifactError, what="cannot be signed")
def sign(
    path: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    passphrase: str | None = None,
) -> str:
    """Signs a file: its contract, and with the digest in that its program and weights (Ed25519, RFC 8032).

    A signature that is there already is replaced. `load(..., public_key=)`, `ganglion verify --key` and
    `LoadOptions::public_key` insist on one.

    Args:
        path: `.ganglion`, `.onnx` or `.pt` file with a contract of ganglion.
        private_key: PEM file with the Ed25519 private key, as `openssl genpkey -algorithm ed25519` writes it.
        out: the signed file; None replaces `path`. It appears when the runtime has found the signature good.
        passphrase: of the key, if it has one.

    Returns:
        The public key, in hexadecimal: `signer` in the `Reading` of the signed file.

    Raises:
        ArtifactError: the file is damaged, of another exporter, or of a format without a digest over its contract.
        GanglionError: the key cannot be read, or is none of Ed25519.
        EngineUnavailableError: the package cryptography is not installed.
        ExportError: the signed file cannot be written.
    """
    file = read_file(path)
    target = Path(path if out is None else out)
    check_target(target)
    if target.suffix != file.path.suffix:
        raise ExportError(f"cannot write '{target}': a signed {file.path.suffix} file keeps its suffix")
    text, put = contract_to_change(file, explain_file(file).dialect, "be signed")
    key = _private_key(Path(private_key), passphrase)
    signed = ReadFile(target, put(_signed(text, key)))
    signer: str = key.public_key().public_bytes_raw().hex()
    found = explain_file(signed).signer
    assert found == signer  # the runtime has checked the signature itself
    with replacing(target) as temporary:
        temporary.write_bytes(signed.data)
    return signer


def _signed(text: str, key: Any) -> str:
    """The text of a contract with a signature over it: of the text in which all digits of both digests are zeros."""
    public = key.public_key().public_bytes_raw().hex()
    zeros = f'"contract_sha256":"{"0" * 64}","signature":{{"public_key":"{public}","ed25519":"{"0" * 128}"}}'
    text = SEAL.sub(zeros, SIGNATURE.sub("", text, count=1), count=1)
    signature = key.sign(PURPOSE + text.encode("utf-8", "surrogatepass")).hex()
    return sealed(text.replace("0" * 128, signature, 1))


def _private_key(path: Path, passphrase: str | None) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise EngineUnavailableError(
            f"files are signed with the package cryptography: pip install 'ganglion[sign]' ({error})"
        ) from error
    how = "openssl genpkey -algorithm ed25519 -out lab.pem writes one, openssl pkey -in lab.pem -pubout its public half"
    data = read_file(path, limit=1 << 20).data
    try:
        key = load_pem_private_key(data, None if passphrase is None else passphrase.encode())
    except TypeError as error:  # with a passphrase, and none was given, or the other way round
        raise GanglionError(f"the key '{path}': {first_line(error)}") from error
    except Exception as error:  # cryptography's own have no common base, and OpenSSL's come through
        raise GanglionError(f"'{path}' holds no private key that can be read ({first_line(error)}); {how}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise GanglionError(f"the key '{path}' is no Ed25519 key but a {type(key).__name__.lstrip('_')}; {how}")
    return key
