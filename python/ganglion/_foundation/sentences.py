"""What other people's exceptions say, as one line of a sentence of ours."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line that says something; the name of the exception where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def last_line(error: Exception) -> str:
    """The telling line of an exception of torch, which has a page of stack before it."""
    text = str(error).split("\nException raised from")[0].strip()
    return text.splitlines()[-1].removeprefix("RuntimeError: ")[:200] if text else type(error).__name__
