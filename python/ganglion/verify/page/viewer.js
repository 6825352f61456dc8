// The viewer of a run: a list to choose an element from, plots that zoom together, buttons and keys for it.
"use strict";
{
  const { make, plot: makePlot, unpack, onTheme, viewers } = window.ganglion;

  const limitCurve = (values) => ({ name: "tolerance", colour: "limit", width: 1.4, dash: [6, 4], values });

  class Viewer {
    constructor(host, data) {
      this.data = data;
      this.host = host;
      this.key = `run-${viewers.length}`;
      this.plots = [];
      this.cursorListeners = [];
      this.rowListeners = [];
      this.zoom = null;
      this.head = null;
      this.turn = 0;
      this.scale = data.period ?? 1;
      this.end = Math.max(1, data.steps - 1) * this.scale;
      this.channel = data.mark ? data.mark.channel : 0;
      host.append(this.makeBar(), this.makePlots());
      this.ready = this.show(data.mark ? this.around(data.mark.step) : null);
      new ResizeObserver(() => this.resize()).observe(this.area);
      onTheme.push(() => this.plots.forEach((plot) => plot.redraw(false, true)));
    }

    // --- what is there to press ---

    makeBar() {
      const { data } = this;
      this.elements = make("select", { name: "element" });
      this.rows = make("select", { name: "row" });
      data.rows.forEach((row, index) => this.rows.append(make("option", { value: index }, row.name)));
      this.elements.addEventListener("change", () => this.choose(Number(this.elements.value)));
      this.rows.addEventListener("change", () => this.chooseRow(Number(this.rows.value)));
      const button = (text, title, action) => {
        const made = make("button", { type: "button", title, "aria-label": title }, text);
        made.addEventListener("click", action);
        return made;
      };
      const bar = make("div", { class: "bar" });
      bar.append(make("label", {}, "element", this.elements));
      bar.append(
        button("‹", "The element before", () => this.next(-1)),
        button("›", "The next element", () => this.next(1)),
      );
      if (data.rows.length > 1) bar.append(make("label", {}, data.rowLabel, this.rows));
      bar.append(make("span", { class: "gap" }));
      if (data.mark)
        bar.append(button("First divergence", "Show the first divergence", () => this.choose(data.mark.channel, this.around(data.mark.step))));
      bar.append(
        button("−", "Zoom out", () => this.scaleZoom(2)),
        button("+", "Zoom in", () => this.scaleZoom(0.5)),
        button("←", "Move left", () => this.move(-0.25)),
        button("→", "Move right", () => this.move(0.25)),
        button("Whole run", "Show the whole run", () => this.setZoom(null)),
      );
      this.fillElements();
      return bar;
    }

    makePlots() {
      this.area = make("div", { class: "plots", tabindex: "0", role: "group", "aria-label": "Plots of the run" });
      this.area.addEventListener("keydown", (event) => {
        const actions = {
          ArrowLeft: () => this.move(-0.25),
          ArrowRight: () => this.move(0.25),
          "+": () => this.scaleZoom(0.5),
          "-": () => this.scaleZoom(2),
          Home: () => this.setZoom(null),
          Escape: () => this.setZoom(null),
        };
        const action = actions[event.key];
        if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        action();
      });
      const about = `Drag to zoom, double-click for the whole run; press a name below a plot to hide its curve. With the keyboard: arrows, + and −, Home. ${this.data.note}`;
      return make("div", {}, this.area, make("p", { class: "note" }, about));
    }

    // Elements of the row that is shown, under the names of their tensors.
    fillElements() {
      const { data } = this;
      const { row } = data.channels[this.channel];
      const groups = new Map();
      data.channels.forEach((channel, index) => {
        if (channel.row !== row) return;
        if (!groups.has(channel.group)) groups.set(channel.group, make("optgroup", { label: channel.group }));
        groups.get(channel.group).append(make("option", { value: index }, channel.name + (channel.unit ? ` (${channel.unit})` : "")));
      });
      this.elements.replaceChildren(...groups.values());
      this.elements.value = String(this.channel);
      this.rows.value = String(row);
    }

    choose(channel, zoom = this.zoom) {
      const before = this.data.channels[this.channel].row;
      this.channel = channel;
      this.fillElements();
      const { row } = this.data.channels[channel];
      if (row !== before) this.rowListeners.forEach((listener) => listener(row));
      this.ready = this.show(zoom);
      return this.ready;
    }

    chooseRow(row) {
      const { group, name } = this.data.channels[this.channel];
      const { channels } = this.data;
      const same = channels.findIndex((other) => other.row === row && other.group === group && other.name === name);
      this.choose(same >= 0 ? same : channels.findIndex((other) => other.row === row));
    }

    next(by) {
      const options = [...this.elements.options];
      const at = options.findIndex((option) => option.selected);
      this.choose(Number(options[(at + by + options.length) % options.length].value));
    }

    // --- what is drawn ---

    async show(zoom) {
      const turn = ++this.turn;
      const channel = this.data.channels[this.channel];
      const growth = this.data.growth[channel.group];
      let values, at, resets, errors, errorsAt;
      try {
        values = await unpack(channel.values, channel.runs.length);
        at = channel.at ? (await unpack(channel.at, 1))[0] : null;
        resets = (await unpack(this.data.rows[channel.row].resets, 1))[0];
        if (growth) errors = await unpack(growth.values, growth.curves.length);
        errorsAt = growth && growth.at ? (await unpack(growth.at, 1))[0] : null;
      } catch (error) {
        this.area.replaceChildren(
          make("p", { class: "sorry" }, `This browser cannot unpack the curves (${error.message}). One of 2023 or later can; the tables say the same.`),
        );
        throw error;
      }
      if (turn !== this.turn) return;
      const height = this.area.offsetHeight;
      this.area.style.minHeight = `${height}px`; // the page does not jump while the plots are made anew
      this.plots.forEach((plot) => plot.destroy());
      this.plots = [];
      this.area.replaceChildren();
      this.resets = Array.from(resets, (step) => step * this.scale);
      this.drawValues(channel, values, at);
      this.drawDifferences(channel, values, at);
      if (growth) this.drawGrowth(channel, growth, errors, errorsAt);
      this.setZoom(zoom);
      this.setHead(this.head);
      this.area.style.minHeight = "";
    }

    colourOf(run) {
      return run === 0 ? "curve-0" : `curve-${1 + ((run - 1) % 7)}`;
    }

    // Where curves lie on each other, each is drawn in dashes that leave the others to be seen.
    dashOf(place, count) {
      return count < 2 || this.data.steps < 3 ? undefined : [0, 7 * place, 7, 7 * (count - 1 - place)];
    }

    drawValues(channel, values, at) {
      const { data } = this;
      const others = channel.runs.filter((run) => run !== 0 && !data.uncompared.includes(run));
      const single = values[0] instanceof Float32Array;
      const near = (found) => found.every((value, index) => Math.abs(value - values[0][index]) <= 1e-3 * Math.max(1, Math.abs(values[0][index])));
      const curves = channel.runs.map((run, place) => ({ run, name: data.runs[run], values: values[place], colour: this.colourOf(run), single, width: 1.6 }));
      const together = curves.filter(({ run, values: found }) => others.includes(run) && near(found));
      curves.forEach((curve) => {
        if (curve.run === 0 && !others.length) curve.colour = "curve-1";
        else if (curve.run === 0) Object.assign(curve, { width: 5, alpha: 0.3 });
        else if (together.includes(curve)) curve.dash = this.dashOf(together.indexOf(curve), together.length);
        else if (data.uncompared.includes(curve.run)) Object.assign(curve, { width: 1.2, colour: "limit" });
      });
      curves.push(...this.bounds(channel, values[0]));
      this.add({
        heading: `${channel.group}: ${channel.name}${channel.unit ? ` (${channel.unit})` : ""}`,
        note: `${this.rowsName(channel)}${others.length ? "the pale line is the reference" : "as it was"}${together.length > 1 ? "; where others lie on each other, their dashes take turns" : ""}; dotted lines are resets${this.markNote()}`,
        at,
        curves,
        unit: channel.unit,
        height: 280,
      });
    }

    // Bounds that are near enough to be seen beside the values.
    bounds(channel, values) {
      let [least, most] = [Infinity, -Infinity];
      for (const value of values) if (Number.isFinite(value)) [least, most] = [Math.min(least, value), Math.max(most, value)];
      const reach = Math.max(most - least, 1e-6 * Math.abs(most));
      return (channel.bounds ?? []).flatMap((bound, index) =>
        bound === null || bound < least - reach || bound > most + reach
          ? []
          : [{ ...limitCurve(new Float64Array(values.length).fill(bound)), name: ["lower bound", "upper bound"][index] }],
      );
    }

    drawDifferences(channel, values, at) {
      const { data } = this;
      const compared = channel.runs.map((run, place) => [run, place]).filter(([run]) => run !== 0 && !data.uncompared.includes(run));
      if (channel.runs[0] !== 0 || !compared.length) return;
      const expected = values[0];
      const curves = compared.map(([run, place]) => ({
        name: data.runs[run],
        colour: this.colourOf(run),
        width: 1.4,
        values: Float64Array.from(values[place], (found, index) => {
          const difference = Math.abs(found - expected[index]);
          return Number.isNaN(difference) ? Infinity : difference;
        }),
      }));
      const limits = [];
      if (channel.tolerance !== null) {
        limits.push(channel.tolerance);
        curves.push(limitCurve(Float64Array.from(expected, (value) => channel.tolerance * (channel.absolute ? 1 : Math.max(1, Math.abs(value) || 0)))));
      }
      this.add({
        heading: `|difference| to the reference${channel.unit ? ` (${channel.unit})` : ""}`,
        note: "|found − expected| of this element; at the foot it is equal to the bit; zoomed out, the largest of neighbours",
        at,
        curves,
        unit: channel.unit,
        log: true,
        limits,
        height: 220,
      });
    }

    drawGrowth(channel, growth, errors, at) {
      const { data } = this;
      const curves = growth.curves.map(({ name, run }, index) => ({
        name,
        colour: run === null ? ["soft", "curve-7"][index % 2] : this.colourOf(run),
        width: run === null ? 4 : 1.4,
        alpha: run === null ? 0.35 : 1,
        values: errors[index],
      }));
      const limits = [];
      if (data.tolerance !== null) {
        limits.push(data.tolerance);
        curves.push(limitCurve(new Float64Array(errors[0].length).fill(data.tolerance)));
      }
      this.add({
        heading: `Error growth of ${channel.group}`,
        note: `largest |found − expected| / max(1, |expected|) of all elements and rows of ${channel.group}, at every step`,
        at,
        curves,
        log: true,
        limits,
        height: 220,
      });
    }

    rowsName(channel) {
      return this.data.rows.length > 1 ? `${this.data.rows[channel.row].name}; ` : "";
    }

    markNote() {
      const { mark } = this.data;
      return mark && mark.channel === this.channel ? `; the upright line is the first divergence: ${mark.text}` : "";
    }

    add({ heading, note, at, curves, log = false, limits = [], unit = "", height }) {
      const { data, scale } = this;
      const host = make("div", { class: "plot" });
      this.area.append(make("h3", {}, heading), make("p", { class: "note" }, note), host);
      const step = (index) => (at ? at[index] : index);
      const x = Float64Array.from({ length: curves[0].values.length }, (_, index) => step(index) * scale);
      const plot = makePlot({
        host,
        key: this.key,
        label: `${heading}. ${note}`,
        x,
        curves,
        log,
        limits,
        unit,
        height,
        axis: {
          label: data.period === null ? "step" : "time (s)",
          tell: (index) => (data.period === null ? `${step(index)}` : `${step(index)} · ${Number((step(index) * scale).toPrecision(9))} s`),
        },
        resets: this.resets,
        mark: data.mark ? data.mark.step * scale : null,
        zoomed: (from, to) => this.zoomed(plot, from, to),
      });
      plot.over.append((plot.head = make("div", { class: "playhead", hidden: "" })));
      plot.over.addEventListener("mousemove", () => {
        if (plot.cursor.idx !== null && plot.cursor.idx !== undefined) this.cursorListeners.forEach((listener) => listener(x[plot.cursor.idx]));
      });
      this.pinch(plot);
      this.plots.push(plot);
    }

    // --- zoom ---

    around(step) {
      const half = Math.min(60, this.data.steps / 2);
      return this.clamped((step - half) * this.scale, (step + half) * this.scale);
    }

    clamped(from, to) {
      const span = Math.max(2 * this.scale, Math.min(this.end, to - from));
      const left = Math.max(0, Math.min(this.end - span, (from + to - span) / 2));
      return span >= this.end ? null : [left, left + span];
    }

    // A plot was zoomed, by whatever: the others follow.
    zoomed(plot, from, to) {
      if (this.busy || !this.plots.includes(plot)) return;
      this.setZoom(this.clamped(from, to));
    }

    setZoom(zoom) {
      this.zoom = zoom;
      const [min, max] = zoom ?? [0, this.end];
      this.busy = true;
      this.plots.forEach((plot) => plot.setScale("x", { min, max }));
      // uPlot tells of a scale in a microtask of its own.
      queueMicrotask(() => queueMicrotask(() => {
        this.busy = false;
        this.setHead(this.head);
      }));
    }

    scaleZoom(factor) {
      const [from, to] = this.zoom ?? [0, this.end];
      const [middle, half] = [(from + to) / 2, ((to - from) / 2) * factor];
      this.setZoom(this.clamped(middle - half, middle + half));
    }

    move(share) {
      if (!this.zoom) return;
      const by = (this.zoom[1] - this.zoom[0]) * share;
      this.setZoom(this.clamped(this.zoom[0] + by, this.zoom[1] + by));
    }

    // Two fingers zoom; one scrolls the page.
    pinch(plot) {
      const fingers = new Map();
      let start = null;
      const ends = () => [...fingers.values()].sort((a, b) => a - b);
      plot.over.addEventListener("pointerdown", (event) => {
        if (event.pointerType !== "touch") return;
        fingers.set(event.pointerId, event.offsetX);
        if (fingers.size === 2) start = ends().map((left) => plot.posToVal(left, "x"));
      });
      plot.over.addEventListener("pointermove", (event) => {
        if (!fingers.has(event.pointerId)) return;
        fingers.set(event.pointerId, event.offsetX);
        if (fingers.size !== 2 || !start) return;
        const [left, right] = ends();
        const perPixel = (start[1] - start[0]) / Math.max(8, right - left);
        const from = start[0] - left * perPixel;
        this.setZoom(this.clamped(from, from + plot.over.clientWidth * perPixel));
      });
      for (const kind of ["pointerup", "pointercancel"])
        plot.over.addEventListener(kind, (event) => {
          fingers.delete(event.pointerId);
          start = null;
        });
    }

    // --- a time that somebody else shows ---

    setHead(x) {
      this.head = x;
      this.plots.forEach((plot) => {
        const left = x === null ? -1 : plot.valToPos(x, "x");
        plot.head.hidden = !(left >= 0 && left <= plot.over.clientWidth);
        plot.head.style.left = `${left}px`;
      });
    }

    resize() {
      this.plots.forEach((plot) => {
        const width = plot.root.parentElement.clientWidth;
        if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
      });
      this.setHead(this.head);
    }
  }

  document.querySelectorAll(".viewer").forEach((host) => {
    viewers.push(new Viewer(host, JSON.parse(host.querySelector("script").textContent)));
  });
}
