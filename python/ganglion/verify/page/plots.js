// One plot of several curves over the steps of a run, on uPlot.
"use strict";
{
  const { colour, exact } = window.ganglion;
  const SHARED = { mousemove: true, mouseleave: true };

  const short = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e5 || size < 1e-4 ? value.toExponential(1).replace("e+", "e") : String(Number(value.toPrecision(6)));
  };

  // Room for the longest number of an axis.
  const widthOf = (labels) => 18 + 7 * Math.max(2, ...(labels ?? [""]).map((label) => String(label ?? "").length));

  // From where to where a log axis goes, for all of `curves` and the `limits` drawn into them.
  const decades = (curves, limits) => {
    let low = Infinity;
    let high = 0;
    for (const curve of curves)
      for (const value of curve)
        if (value > 0 && value < Infinity) {
          if (value < low) low = value;
          if (value > high) high = value;
        }
    for (const limit of limits) {
      low = Math.min(low, limit / 10);
      high = Math.max(high, limit * 10);
    }
    if (!(high > 0)) [low, high] = [1e-12, 1];
    return [10 ** (Math.floor(Math.log10(low)) - 1), 10 ** Math.ceil(Math.log10(high) + 0.2)];
  };

  // At most so many powers of ten within a range.
  const powers = ([low, high], most) => {
    const [first, last] = [low, high].map((value) => Math.round(Math.log10(value)));
    const every = Math.ceil((last - first) / most);
    return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, index) => 10 ** (first + index * every));
  };

  // Zoomed out, a curve of errors is the largest of a few pixels each: what lies below is noise that hides the others.
  const linear = uPlot.paths.linear();
  const envelope = (plot, series, first, last) => {
    const bucket = 4 * devicePixelRatio;
    if (last - first < (2 * plot.bbox.width) / bucket) return linear(plot, series, first, last);
    const [x, y] = [plot.data[0], plot.data[series]];
    const stroke = new Path2D();
    let at = null;
    let top = null;
    const put = () => top !== null && stroke.lineTo(at, plot.valToPos(top, "y", true));
    for (let index = first; index <= last; index++) {
      const pixel = Math.round(plot.valToPos(x[index], "x", true) / bucket) * bucket;
      if (pixel !== at) {
        put();
        [at, top] = [pixel, null];
      }
      if (y[index] !== null && (top === null || y[index] > top)) top = y[index];
    }
    put();
    return { stroke, fill: null, clip: null, band: null, gaps: null, flags: 1 };
  };

  // Upright lines: resets, thin where there are many, and the marked step.
  const drawMarks = (plot, resets, mark) => {
    const { ctx, bbox } = plot;
    const [from, to] = [plot.scales.x.min, plot.scales.x.max];
    const line = (x, dash, width) => {
      const left = Math.round(plot.valToPos(x, "x", true)) + 0.5;
      ctx.lineWidth = width * devicePixelRatio;
      ctx.setLineDash(dash.map((part) => part * devicePixelRatio));
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
    };
    ctx.save();
    const seen = resets.filter((x) => x >= from && x <= to);
    ctx.strokeStyle = colour("soft");
    ctx.globalAlpha = Math.max(0.12, Math.min(0.7, bbox.width / devicePixelRatio / 12 / Math.max(1, seen.length)));
    seen.forEach((x) => line(x, [2, 3], 1));
    if (mark !== null && mark >= from && mark <= to) {
      ctx.globalAlpha = 1;
      ctx.strokeStyle = colour("limit");
      line(mark, [], 1.5);
    }
    ctx.restore();
  };

  /* spec: host, label (of the whole, for those who do not see it), x, curves: [{name, values, colour, width, dash, single}],
     log: whether the axis is logarithmic, limits, unit, axis: {label, tell(index)}, resets, mark, zoomed(from, to), height */
  window.ganglion.plot = (spec) => {
    const range = spec.log ? decades(spec.curves.map((curve) => curve.values), spec.limits) : null;
    const drawn = spec.curves.map(({ values }) =>
      Array.from(values, (value) => {
        if (Number.isNaN(value)) return null;
        if (range) return value > range[0] ? Math.min(value, range[1]) : range[0];
        return Number.isFinite(value) ? value : null;
      }),
    );
    const ink = () => colour("soft");
    const lines = () => colour("line");
    const axis = { stroke: ink, grid: { stroke: lines, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const options = {
      width: spec.host.clientWidth,
      height: spec.height,
      padding: [8, 12, null, null],
      cursor: {
        y: false,
        drag: { x: true, y: false, dist: 4 },
        sync: { key: spec.key, setSeries: false, scales: ["x", null], filters: { pub: (kind) => kind in SHARED, sub: (kind) => kind in SHARED } },
        points: { size: 7 },
      },
      scales: { x: { time: false }, y: range ? { distr: 3, log: 10, range } : {} },
      axes: [
        { ...axis, label: spec.axis.label, labelSize: 22, labelFont: axis.font, size: 30, values: (_, ticks) => ticks.map(short) },
        {
          ...axis,
          filter: range ? (_, ticks) => ticks : undefined,
          splits: range ? () => powers(range, spec.height / 36) : undefined,
          values: range ? (_, ticks) => ticks.map((tick) => `1e${Math.round(Math.log10(tick))}`) : (_, ticks) => ticks.map(short),
          size: (_, labels) => Math.max(58, widthOf(labels)),
        },
      ],
      series: [
        { label: "step", value: (_, x, __, index) => (index === null || index === undefined ? "–" : spec.axis.tell(index)) },
        ...spec.curves.map((curve) => ({
          label: curve.name,
          stroke: () => colour(curve.colour),
          alpha: curve.alpha ?? 1,
          width: curve.width,
          dash: curve.dash,
          cap: "butt",
          points: { show: (plot, _, first, last) => last - first < 60 && !curve.dash, size: 5, fill: () => colour(curve.colour) },
          spanGaps: false,
          paths: range ? envelope : linear,
          value: (_, __, ___, index) =>
            index === null || index === undefined ? "–" : `${exact(curve.values[index], curve.single)}${spec.unit ? ` ${spec.unit}` : ""}`,
        })),
      ],
      hooks: {
        draw: [(plot) => drawMarks(plot, spec.resets, spec.mark)],
        setScale: [(plot, name) => name === "x" && spec.zoomed(plot.scales.x.min, plot.scales.x.max)],
      },
    };
    const plot = new uPlot(options, [spec.x, ...drawn], spec.host);
    plot.root.setAttribute("role", "img");
    plot.root.setAttribute("aria-label", spec.label);
    return plot;
  };
}
