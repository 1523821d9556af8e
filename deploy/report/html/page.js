"use strict";
/* Three things: tables that sort, charts that tell what is under the pointer, and samples that are played. */

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * compare(a.cells[column], b.cells[column]));
      body.append(...rows);
    });
  });
}

function compare(a, b) {
  const one = a.dataset.value, other = b.dataset.value;
  if (one !== undefined && other !== undefined) return Number(one) - Number(other);
  if (one !== undefined) return -1;
  if (other !== undefined) return 1;
  return a.textContent.localeCompare(b.textContent);
}

function tips() {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  document.addEventListener("pointermove", (event) => {
    const mark = event.target instanceof Element && event.target.closest("figure svg [aria-label]");
    tip.hidden = !mark || mark.getAttribute("role") !== "graphics-symbol" || mark.closest(".role-axis, .role-legend");
    if (tip.hidden) return;
    tip.textContent = mark.getAttribute("aria-label");
    tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
  });
}

class Player {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.timer = 0;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    const choice = this.part("sample");
    data.samples.forEach((sample, n) => {
      const verdict = sample.right ? "right" : `wrong, said ${sample.said}`;
      choice.append(new Option(`sample ${sample.index}: ${sample.label}, ${verdict}, exit at t = ${sample.timesteps}`, n));
    });
    this.lanes = data.layers.map((layer) => this.lane(layer));
    this.axis();
    choice.addEventListener("change", () => this.choose(Number(choice.value)));
    this.part("slider").addEventListener("input", (event) => { this.stop(); this.show(Number(event.target.value)); });
    this.part("back").addEventListener("click", () => { this.stop(); this.show(this.step - 1); });
    this.part("next").addEventListener("click", () => { this.stop(); this.show(this.step + 1); });
    this.part("play").addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    const redraw = () => this.show(this.step);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(redraw).observe(this.part("lanes"));
    root.hidden = false;
    this.choose(0);
  }

  lane(layer) {
    const row = document.createElement("div"), label = document.createElement("div");
    const canvas = document.createElement("canvas"), sent = document.createElement("span");
    row.className = "lane";
    label.append(layer.name, document.createElement("br"), layer.shape, document.createElement("br"), sent);
    canvas.setAttribute("role", "img");
    row.append(label, canvas);
    this.part("lanes").append(row);
    return { canvas, sent, layer };
  }

  axis() {
    const row = document.createElement("div"), axis = document.createElement("div");
    row.className = "lane";
    axis.className = "axis";
    const end = this.data.horizon + this.data.depth;
    [`hardware step 1`, `${end}`].forEach((text) => {
      const span = document.createElement("span");
      span.textContent = text;
      axis.append(span);
    });
    row.append(document.createElement("div"), axis);
    this.part("lanes").append(row);
  }

  choose(n) {
    this.stop();
    this.sample = this.data.samples[n];
    this.rasters = this.sample.layers.map((each) => Uint8Array.from(atob(each.raster), (c) => c.charCodeAt(0)));
    const slider = this.part("slider");
    slider.max = this.sample.steps;
    this.show(1);
  }

  play() {
    if (this.step >= this.sample.steps) this.show(1);
    this.part("play").textContent = "Pause";
    this.timer = window.setInterval(() => {
      this.show(this.step + 1);
      if (this.step >= this.sample.steps) this.stop();
    }, 450);
  }

  stop() {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.part("play").textContent = "Play";
  }

  show(step) {
    this.step = Math.max(1, Math.min(this.sample.steps, step));
    this.root.dataset.step = this.step;
    const slider = this.part("slider");
    slider.value = this.step;
    slider.setAttribute("aria-valuetext", `hardware step ${this.step} of ${this.sample.steps}`);
    this.lanes.forEach((lane, n) => this.draw(lane, n));
    this.scores();
    this.part("said").textContent = this.words();
  }

  words() {
    const { data, sample, step } = this, t = step - data.depth, whole = data.horizon + data.depth;
    const head = `Hardware step ${step} of ${whole}: `;
    if (t < 1) return `${head}the pipeline fills, no score has arrived yet.`;
    const margin = sample.margins[t - 1], limit = data.thresholds[t - 1];
    let text = `${head}score of timestep ${t} of ${data.horizon}`;
    if (margin !== undefined) text += `, the best class leads by ${margin.toLocaleString("en")}`;
    if (limit !== undefined) text += limit === null ? " (no exit allowed here)" : ` (exit beyond ${limit.toLocaleString("en")})`;
    if (t < sample.timesteps) return `${text}.`;
    const verdict = sample.right ? "right" : `wrong, it is ${sample.label}`;
    const saved = whole - sample.steps, why = sample.reason === "cutoff" ? "the cutoff exits" : "the horizon is reached";
    if (step < sample.steps) return `${text}: ${why}, predicted ${sample.said}, ${verdict}.`;
    return `${text}: ${why}, predicted ${sample.said}, ${verdict}; ${saved} of ${whole} hardware steps are saved.`;
  }

  draw({ canvas, sent, layer }, n) {
    const { data, sample, step } = this, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight, whole = data.horizon + data.depth;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d"), colours = getComputedStyle(document.documentElement);
    const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
    pen.scale(ratio, ratio);
    const across = width / whole, down = height / layer.rows, raster = this.rasters[n];
    const gap = across > 6 ? 1 : 0;
    for (let row = 0; row < layer.rows; row++) {
      for (let at = 0; at < step; at++) {
        const level = raster[row * sample.steps + at] - 128;
        if (level === 0) continue;
        pen.globalAlpha = Math.min(1, 0.18 + 0.82 * Math.abs(level) / 127);
        pen.fillStyle = colour(level > 0 ? "blue" : "vermilion");
        pen.fillRect(at * across, row * down, across - gap, Math.max(1, down));
      }
    }
    pen.globalAlpha = 1;
    if (step === sample.steps && sample.steps < whole) this.hatch(pen, sample.steps * across, width, height, colour("grid"));
    pen.fillStyle = colour("vermilion");
    const exit = Math.min(sample.timesteps + data.depth, whole);
    if (step >= exit && sample.reason === "cutoff") pen.fillRect(exit * across - 1, 0, 2, height);
    pen.fillStyle = colour("faint");
    if (step < sample.steps) pen.fillRect(step * across, 0, 1, height);
    const count = sample.layers[n].sent[step - 1];
    sent.textContent = `${count.toLocaleString("en")} sent`;
    canvas.setAttribute("aria-label", `${layer.name}: ${count} of ${layer.neurons} neurons sent a message in step ${step}`);
  }

  hatch(pen, from, to, height, colour) {
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, to - from, height);
    pen.clip();
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let x = from - height; x < to; x += 8) { pen.moveTo(x, height); pen.lineTo(x + height, 0); }
    pen.stroke();
    pen.restore();
  }

  scores() {
    const t = Math.min(this.step - this.data.depth, this.sample.timesteps);
    const totals = t < 1 ? this.sample.shown.map(() => 0) : this.sample.totals[t - 1];
    const most = Math.max(1, ...totals.map(Math.abs)), best = Math.max(...totals);
    const rows = this.sample.shown.map((name, n) => {
      const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
      const bar = document.createElement("td"), fill = document.createElement("div");
      head.scope = "row";
      head.textContent = name;
      cell.className = "n";
      cell.textContent = totals[n].toLocaleString("en");
      bar.className = "bar";
      fill.style.width = `${Math.max(0, 100 * totals[n] / most)}%`;
      bar.append(fill);
      if (t >= 1 && totals[n] === best) row.className = "first";
      row.append(head, cell, bar);
      return row;
    });
    this.part("scores").replaceChildren(...rows);
  }
}

document.querySelectorAll("[data-unscripted]").forEach((each) => each.remove());
document.querySelectorAll("table[data-sortable]").forEach(sortable);
document.querySelectorAll("section.player").forEach((root) => {
  new Player(root, JSON.parse(document.getElementById(root.dataset.source).textContent));
});
tips();
