"""Pages of one file that one wants to look at: a document with its style, its scripts and its curves inside.

The reports of `verify` and of the demo are made with it; `uplot/` is somebody else's, as published.
"""

from ganglion.verify.page.curves import Channel, Curves, Growth, Mark, Row, pack
from ganglion.verify.page.document import data_block, document, section, table, tiles, to_html, verdict_box, viewer

__all__ = [
    "Channel",
    "Curves",
    "Growth",
    "Mark",
    "Row",
    "data_block",
    "document",
    "pack",
    "section",
    "table",
    "tiles",
    "to_html",
    "verdict_box",
    "viewer",
]
