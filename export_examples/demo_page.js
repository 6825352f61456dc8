// The flight as a moving picture: rendered by MuJoCo, or drawn here from the trace; in step with the plots.
"use strict";
document.querySelectorAll(".moving").forEach(async (host) => {
  const { make, unpack, viewers } = window.ganglion;
  const viewer = viewers[0];
  const data = JSON.parse(host.querySelector("script").textContent);
  const [WIDTH, HEIGHT] = [480, 274];
  const titles = ["with its memory", "memory erased before each step"];

  const views = titles.map((title, index) => {
    const canvas = make("canvas", { role: "img", "aria-label": `Cart and pole, ${title}` });
    const state = make("span", { class: "mark good" }, "standing");
    const numbers = make("span", { class: "numbers" });
    const figure = make("figure", {}, canvas, make("figcaption", {}, make("b", {}, title), state, numbers));
    return { index, canvas, state, numbers, figure, pending: null };
  });
  const play = make("button", { type: "button" }, "Play");
  const slider = make("input", { type: "range", min: "0", step: "1", value: "0", "aria-label": "Time of the flight" });
  const clock = make("span", { class: "time" });
  const note = make("p", { class: "note" });
  host.append(make("div", { class: "pair" }, ...views.map((view) => view.figure)), make("div", { class: "controls" }, play, clock, slider), note);

  let traces = [];
  let flight = 0;
  let frame = 0;
  const rate = data.framesPerSecond;
  const leg = data.legSeconds * rate;

  // Drawn from the trace: the same view as the rendered one, from before the rail.
  const draw = (context, position, angle) => {
    const scale = HEIGHT / 2.15;
    const [x0, y0] = [WIDTH / 2, HEIGHT * 0.535];
    const sky = context.createLinearGradient(0, 0, 0, HEIGHT);
    sky.addColorStop(0, "#35465c");
    sky.addColorStop(1, "#222d3a");
    context.fillStyle = sky;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    const end = 1.5 * scale;
    context.lineCap = "round";
    context.strokeStyle = "#c3ccd6";
    context.lineWidth = 5;
    context.beginPath();
    context.moveTo(x0 - end, y0);
    context.lineTo(x0 + end, y0);
    context.stroke();
    context.fillStyle = "#8b95a1";
    for (const side of [-1, 1]) context.fillRect(x0 + side * end - 4, y0 - 9, 8, 18);
    const x = x0 + position * scale;
    context.fillStyle = "#3d8fdc";
    context.beginPath();
    context.roundRect(x - 0.14 * scale, y0 - 0.07 * scale, 0.28 * scale, 0.14 * scale, 3);
    context.fill();
    context.strokeStyle = "#f2a03d";
    context.lineWidth = 5;
    context.beginPath();
    context.moveTo(x, y0);
    context.lineTo(x + Math.sin(angle) * scale, y0 - Math.cos(angle) * scale);
    context.stroke();
    context.fillStyle = "#d9dfe6";
    context.beginPath();
    context.arc(x, y0, 3.5, 0, 2 * Math.PI);
    context.fill();
  };

  // Pictures are decoded when they are wanted; a few are kept.
  const decoded = new Map();
  const picture = (number) => {
    if (!decoded.has(number)) {
      const image = new Image();
      image.src = `data:image/webp;base64,${data.pictures[number]}`;
      decoded.set(number, image.decode().then(() => image));
      if (decoded.size > 80) decoded.delete(decoded.keys().next().value);
    }
    return decoded.get(number);
  };
  const isRendered = () => flight === 0 && data.pictures.length > 0;

  const fallenBy = (index) => {
    const [positions, angles] = traces[index];
    for (let at = Math.floor(frame / leg) * leg; at <= frame; at++)
      if (Math.abs(angles[at]) > data.fallenAngle || Math.abs(positions[at]) > data.railEnd) return true;
    return false;
  };

  const show = async (to) => {
    frame = Math.max(0, Math.min(traces[0][0].length - 1, Math.round(to)));
    slider.value = String(frame);
    clock.textContent = `${(frame / rate).toFixed(2)} s of ${(traces[0][0].length / rate).toFixed(0)} s`;
    for (const view of views) {
      const [positions, angles] = traces[view.index];
      const fallen = fallenBy(view.index);
      view.state.textContent = fallen ? "fallen" : "standing";
      view.state.className = `mark ${fallen ? "bad" : "good"}`;
      const degrees = (angles[frame] * 180) / Math.PI;
      view.numbers.textContent = `cart ${positions[frame].toFixed(3).padStart(6)} m   pole ${degrees.toFixed(2).padStart(7)}°`;
      const ratio = isRendered() ? 1 : Math.min(3, devicePixelRatio * 1.5);
      const width = Math.round(WIDTH * ratio);
      if (view.canvas.width !== width) [view.canvas.width, view.canvas.height] = [width, Math.round(HEIGHT * ratio)];
      const context = view.canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (!isRendered()) {
        draw(context, positions[frame], angles[frame]);
        continue;
      }
      const wanted = data.orders[view.index][frame];
      view.pending = wanted;
      picture(wanted).then((image) => view.pending === wanted && isRendered() && context.drawImage(image, 0, 0, WIDTH, HEIGHT));
    }
  };

  const choose = async (to) => {
    flight = to;
    traces = await Promise.all(data.flights[flight].map((packed) => unpack(packed, 2)));
    slider.max = String(traces[0][0].length - 1);
    const drawn = data.pictures.length ? "The first start is rendered by MuJoCo; this one is drawn" : `Drawn`;
    const why = data.pictures.length ? "" : `: ${data.said}`;
    note.textContent = `${isRendered() ? `Rendered by ${data.said}` : `${drawn} from the trace of the PyTorch flight${why}`}. After half of the time cart and policy are reset. Point at a plot below to see that moment.`;
    await show(frame);
  };

  // --- time ---
  let started = null;
  const stop = () => {
    started = null;
    play.textContent = "Play";
  };
  const tick = (now) => {
    if (started === null) return;
    const at = ((now - started.at) / 1000) * rate + started.frame;
    const last = traces[0][0].length - 1;
    if (Math.round(at) !== frame) {
      show(at > last ? 0 : at);
      viewer?.setHead(frame / rate);
    }
    if (at > last) started = { at: now, frame: 0 };
    requestAnimationFrame(tick);
  };
  const start = () => {
    started = { at: performance.now(), frame };
    play.textContent = "Pause";
    requestAnimationFrame(tick);
  };
  play.addEventListener("click", () => (started === null ? start() : stop()));
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
    viewer?.setHead(frame / rate);
  });
  viewer?.cursorListeners.push((seconds) => {
    stop();
    viewer.setHead(null);
    show(seconds * rate);
  });
  viewer?.rowListeners.push(choose);
  host.moving = { start, stop, show, choose };
  await choose(0);
  if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) start();
});
