"""The page of the demo: the verdict, the flight as a moving picture, and every flight to be zoomed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import cartpole
import flight_pictures
import numpy as np
from demo_flights import FLIGHT_HEADINGS, TOLERANCE_RAD, until_fall

from ganglion.verify.page import (
    Channel,
    Curves,
    Row,
    data_block,
    document,
    pack,
    section,
    table,
    to_html,
    verdict_box,
    viewer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cartpole import Trace
    from demo_flights import Flight
    from numpy.typing import NDArray

    from ganglion import ParityReport

_HERE = Path(__file__).parent
_FRAMES_PER_S = 20
_AFTER_FALL_S = 1.5
"""For so long a fall is shown; then the picture stands still until the reset."""
ERASED = "memory erased before each step"


def render_page(flights: list[Flight], erased: Trace, reports: list[ParityReport]) -> str:
    """The HTML page; it needs no other file."""
    good = all(flight.ok for flight in flights) and all(report.ok for report in reports)
    seconds = f"{cartpole.FLIGHT_S:g}"
    lead = (
        "An LSTM policy balances a pole on a cart in MuJoCo at 500 Hz. It sees positions only, so how fast cart and "
        "pole move has to come from its memory. Every engine flies the same starts, from Python and from C++, "
        f"{seconds} s each, with a reset of cart and policy half-way."
    )
    body = [
        '<p class="eyebrow">ganglion demo</p>',
        "<h1>A trained policy, exported, proven equal and flown</h1>",
        f'<p class="lead">{to_html(lead)}</p>',
        verdict_box(
            "Every pole stayed up, and every file is equal to the PyTorch policy."
            if good
            else "Something is not as it should be; see below.",
            f"Accepted difference of the pole angle: {TOLERANCE_RAD:g} rad. The same policy with its memory erased "
            f"before each step {'balances, too' if erased.balanced else 'falls'}.",
            good=good,
        ),
        section("The flight", _moving(flights[0].trace, erased)),
        section("Every engine, every flight", viewer(_curves(flights, erased))),
        section("Flights", table(FLIGHT_HEADINGS, [_row(flight) for flight in flights])),
        *(_verification(report) for report in reports),
    ]
    style, script = (
        (_HERE / f"demo_page.{suffix}").read_text(encoding="utf-8").replace("\r\n", "\n") for suffix in ("css", "js")
    )
    return document("ganglion demo", body, style=style, scripts=[script])


def _row(flight: Flight) -> list[str | tuple[str, str]]:
    engine, language, balanced, *numbers = flight.cells()
    mark = balanced if flight.trace.balanced else ("bad", balanced)
    return [engine, language, mark, *(("number", number) for number in numbers)]


def _verification(report: ParityReport) -> str:
    headings = ("", "implementation", "tensor", "max absolute error", "max relative error", "first divergence")
    rows = [
        (
            ("good", "equal") if tensor.first_divergence is None else ("bad", "differs"),
            comparison.engine,
            tensor.name,
            ("number", f"{tensor.max_absolute_error:.1e}"),
            ("number", f"{tensor.max_relative_error:.1e}"),
            "none" if tensor.first_divergence is None else str(tensor.first_divergence),
        )
        for comparison in report.comparisons
        for tensor in comparison.tensors
    ]
    name = Path(report.artifact)
    note = f"{report.verdict}. The whole comparison is in verify_{name.suffix[1:]}.html, beside this page."
    return section(f"Verification of {name.name}", table(headings, rows), note=note)


def _curves(flights: Sequence[Flight], erased: Trace) -> Curves:
    traces = [flight.trace for flight in flights] + [erased]
    angles = [flight.trace.pole_angle for flight in flights] + [until_fall(erased)]
    fallen = np.isnan(angles[-1])
    tensors = (
        ("pole angle", "rad", TOLERANCE_RAD, angles),
        ("cart position", "m", None, [trace.observation[:, 0] for trace in traces]),
        ("cart force", "N", None, [trace.force for trace in traces]),
    )
    channels = []
    for flight in range(int(erased.flight.max()) + 1):
        rows = erased.flight == flight
        for name, unit, tolerance, values in tensors:
            last = np.where(fallen, np.nan, values[-1]).astype(values[-1].dtype)
            shown = [*(each[rows] for each in values[:-1]), last[rows]]
            channels.append(Channel("flight", name, flight, shown, unit, tolerance, absolute=True))
    first = erased.flight == 0
    period_s = float(erased.time_s[first][1])
    resets = np.isclose(erased.time_s[first] % (cartpole.FLIGHT_S / 2.0), 0.0, atol=period_s / 2.0)
    return Curves(
        runs=[*(flight.label for flight in flights), ERASED],
        rows=[Row(f"flight {flight + 1}", resets) for flight in range(int(erased.flight.max()) + 1)],
        channels=channels,
        period_s=period_s,
        uncompared=(len(flights),),
        row_label="start",
        left_out=f"The curve with the {ERASED} ends where the pole has fallen.",
    )


def _moving(trace: Trace, erased: Trace) -> str:
    """The flight with and without memory side by side; the pictures of the first one are rendered where possible."""
    pictures, orders, said = _pictures([_sampled(each, 0) for each in (trace, erased)])
    count = int(erased.flight.max()) + 1
    data = {
        "framesPerSecond": _FRAMES_PER_S,
        "pictures": [base64.b64encode(picture).decode("ascii") for picture in pictures],
        "orders": orders,
        "said": said,
        "railEnd": cartpole.RAIL_END_M,
        "fallenAngle": cartpole.FALLEN_ANGLE_RAD,
        "legSeconds": cartpole.FLIGHT_S / 2.0,
        "flights": [
            [pack(_sampled(each, flight).T.astype(np.float32)) for each in (trace, erased)] for flight in range(count)
        ],
    }
    return (
        f'<div class="moving">{data_block(data)}<noscript><p>The moving picture needs JavaScript.</p></noscript></div>'
    )


def _sampled(trace: Trace, flight: int) -> NDArray[np.float64]:
    """Cart position and pole angle of a flight at every frame, `[frames, 2]`."""
    rows = trace.flight == flight
    times = np.arange(0.0, cartpole.FLIGHT_S, 1.0 / _FRAMES_PER_S)
    at = np.searchsorted(trace.time_s[rows], times - 1e-9).clip(max=int(rows.sum()) - 1)
    return np.stack([trace.observation[rows, 0][at], trace.pole_angle[rows][at]], axis=1)


def _pictures(views: Sequence[NDArray[np.float64]]) -> tuple[list[bytes], list[list[int]], str]:
    """Pictures of flights, without those that show nothing new; which of them is each frame of each; and by what."""
    positions: list[NDArray[np.float64]] = []
    orders = []
    leg = round(cartpole.FLIGHT_S / 2.0 * _FRAMES_PER_S)
    for view in views:
        order = []
        fallen_for = 0
        fallen = cartpole.has_fallen(view[:, 0], view[:, 1])
        for frame, position in enumerate(view):
            fallen_for = 0 if frame % leg == 0 else fallen_for + int(fallen[frame] or fallen_for > 0)
            if fallen_for <= _AFTER_FALL_S * _FRAMES_PER_S:
                positions.append(position)
            order.append(len(positions) - 1)
        orders.append(order)
    pictures, said = flight_pictures.rendered(np.array(positions))
    return pictures, orders if pictures else [], said
