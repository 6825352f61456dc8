"""What other people's exceptions say, as one line of a sentence of ours."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line that says something; the name of the exception where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def last_line(error: Exception) -> str:
    """The telling line of an exception of torch, which has a page of stack before it."""
    text = str(error).split("\nException raised from")[0].split("\nframe #")[0].strip()
    if not text:
        return type(error).__name__
    said = text.rpartition("\nRuntimeError: ")
    line = (said[2].splitlines()[0] if said[1] else text.splitlines()[-1]).removeprefix("RuntimeError: ")
    if line.startswith("[enforce fail"):
        line = line.partition("] . ")[2]
    if "'CUDA'" in line or "NVIDIA driver" in line:
        return (
            'it makes tensors on a GPU (device="cuda" in its code), and everything is on the CPU here; export it again '
            'from the CPU, with device="cpu" or the device of another tensor'
        )
    return line[:200]
