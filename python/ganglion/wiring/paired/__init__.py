"""The search for what makes `found` of `trained`, row by row of the same moments."""

from __future__ import annotations
