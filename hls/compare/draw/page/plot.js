"use strict";

// The Pareto plot. What it draws is in the JSON of #data; all text reaches the page as text, never as HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const BOX = { left: 64, right: 884, top: 14, bottom: 448 };
const NAMES = { ...DATA.quantities };
for (const metric of DATA.metrics) NAMES[metric.key] = metric.name;
const OUR_SHAPES = ["square", "diamond", "up", "down", "plus", "star"];
const STAGE_SHAPES = { R: "circle", P: "left", E: "thin" };
const SHAPES = {
  circle: "M-5,0A5,5 0 1,0 5,0A5,5 0 1,0 -5,0Z",
  left: "M-6,0L4,-5.5V5.5Z",
  thin: "M0,-7L4,0L0,7L-4,0Z",
  square: "M-6,-6H6V6H-6Z",
  diamond: "M0,-8.5L8.5,0L0,8.5L-8.5,0Z",
  up: "M0,-8L8,6H-8Z",
  down: "M0,8L8,-6H-8Z",
  plus: "M-3,-8H3V-3H8V3H3V8H-3V3H-8V-3H-3Z",
  star: "M0,-9L2.5,-3L9,-3L4,1.5L6,8L0,4L-6,8L-4,1.5L-9,-3L-2.5,-3Z",
};
const control = (id) => document.getElementById(id);
const number = (value, digits) => value.toLocaleString("en", { maximumFractionDigits: digits });

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function html(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function sourcesOf(quantity) {
  const stated = DATA.builds.flatMap((build) => build.costs[quantity].map((cost) => cost.source));
  return DATA.sources.filter((source) => stated.includes(source));
}

// clocks between two events: builds are compared where these are equal
const spellII = (ii) => (ii === null ? "not known" : `${ii}`);
const inCycles = (ii) => (ii === null ? "not known" : ii === 1 ? "1 cycle" : `${ii} cycles`);
const wantedII = (ii) => control("ii").value === "all" || control("ii").value === spellII(ii);

function intervalsOf(points) {
  return [...new Set(points.map((point) => point.ii))].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
}

function ourPoints(quantity, metric, source) {
  const shown = sourcesOf(quantity);
  return DATA.builds.flatMap((build, index) =>
    build.costs[quantity]
      .filter((cost) => build[metric] && (source === "all" || cost.source === source) && wantedII(cost.ii))
      .map((cost) => ({
        x: cost.value, y: build[metric].value, error: build[metric].error, source: cost.source, build: build.name,
        colour: `ours c${index % 8}${cost.stale || build[metric].stale ? " hollow" : ""}`,
        shape: OUR_SHAPES[shown.indexOf(cost.source) % OUR_SHAPES.length], ii: cost.ii,
        title: build.name,
        lines: [
          [NAMES[quantity], `${number(cost.value, 2)} (${cost.source})`],
          ["II", inCycles(cost.ii)], ["model", build.model], ["N", String(build.particles)], ["inputs", build.inputs],
          ["C simulation", build.csim], ["RTL simulation", build.rtl],
          ...(cost.stale ? [["STALE", cost.stale]] : []),
          ["test split", build.data],
        ],
      })));
}

function publishedPoints(quantity, metric, choice) {
  const own = DATA.builds.map((build) => build.particles);
  return DATA.references
    .filter((ref) => choice !== "none" && ref[quantity] !== null && (ref[metric] ?? null) !== null)
    .filter((ref) => choice === "all" || own.includes(ref.n))
    .filter((ref) => wantedII(ref.ii))
    .map((ref) => ({
      x: ref[quantity], y: ref[metric], error: null, source: ref.stage_words, build: null, tag: String(ref.n),
      colour: `work w${ref.work % 8}${ref.features === 3 ? "" : " hollow"}`,
      shape: STAGE_SHAPES[ref.stage],
      title: ref.label,
      lines: [
        [NAMES[quantity], `${number(ref[quantity], 2)} (${ref.stage_words})`],
        ...(ref.ii === null ? [] : [["II", inCycles(ref.ii)]]),
        ["source", `${ref.citation}, arXiv:${ref.arxiv}`], ["device", ref.device || "not stated"],
        ["data", `${ref.dataset}; not comparable with these builds`],
        ...(ref.note ? [["note", ref.note]] : []),
      ],
    }));
}

function scale(values, low, high, log) {
  const turn = log ? Math.log10 : (value) => value;
  let [least, most] = [Math.min(...values), Math.max(...values)].map(turn);
  const margin = (most - least) * 0.06 || Math.abs(least) * 0.05 || 1;
  [least, most] = [least - margin, most + margin];
  const place = (value) => low + ((turn(value) - least) / (most - least)) * (high - low);
  const ticks = log ? logTicks(10 ** least, 10 ** most) : linearTicks(least, most);
  return { place, ticks };
}

function logTicks(low, high) {
  const steps = high / low > 30 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of steps) ticks.push(step * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function linearTicks(low, high) {
  const rough = (high - low) / 7;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(tick * step);
  return ticks;
}

function short(value) {
  if (value >= 1e6) return `${number(value / 1e6, 2)}M`;
  return value >= 1e4 ? `${number(value / 1e3, 1)}k` : number(value, 3);
}

function axes(across, up, xName, yName) {
  const nodes = [svg("rect", {
    x: BOX.left, y: BOX.top, width: BOX.right - BOX.left, height: BOX.bottom - BOX.top, class: "frame",
  })];
  for (const tick of across.ticks) {
    const x = across.place(tick);
    nodes.push(svg("line", { x1: x, x2: x, y1: BOX.top, y2: BOX.bottom, class: "grid" }));
    nodes.push(svg("text", { x, y: BOX.bottom + 18, class: "tick middle" }, short(tick)));
  }
  for (const tick of up.ticks) {
    const y = up.place(tick);
    nodes.push(svg("line", { x1: BOX.left, x2: BOX.right, y1: y, y2: y, class: "grid" }));
    nodes.push(svg("text", { x: BOX.left - 8, y: y + 4, class: "tick end" }, number(tick, 4)));
  }
  nodes.push(svg("text", { x: BOX.right, y: BOX.bottom + 42, class: "axis end" }, xName));
  nodes.push(svg("text", { x: 16, y: BOX.top, class: "axis end", transform: `rotate(-90 16 ${BOX.top})` }, yName));
  return nodes;
}

function frontiers(points, across, up) {
  const own = points.filter((point) => point.build !== null);
  return intervalsOf(own).flatMap((ii, index) => {
    const same = own.filter((point) => point.ii === ii);
    const last = sourcesOf(control("x").value).filter((source) => same.some((point) => point.source === source)).pop();
    return frontier(same.filter((point) => point.source === last), index, across, up);
  });
}

function frontier(points, line, across, up) {
  const sorted = points.sort((a, b) => a.x - b.x || b.y - a.y);
  const best = sorted.filter((point, index) => sorted.slice(0, index).every((other) => other.y < point.y));
  if (best.length < 2) return [];
  const steps = best.map((point, i) => `${i ? `H${across.place(point.x)}V` : `M${across.place(point.x)},`}${up.place(point.y)}`);
  return [svg("path", { d: steps.join(""), class: `frontier f${line % 4}` })];
}

function marker(point, across, up) {
  const [x, y] = [across.place(point.x), up.place(point.y)];
  const metric = NAMES[control("y").value];
  const { digits } = DATA.metrics.find(({ key }) => key === control("y").value);
  const value = `${number(point.y, digits)}${point.error === null ? "" : ` ± ${number(point.error, digits)}`}`;
  const node = svg("g", {
    class: `point ${point.colour}`, tabindex: -1, role: "img", transform: `translate(${x} ${y})`,
    "aria-label": `${point.title}: ${metric} ${value}, ${point.lines[0].join(" ")}`,
  });
  if (point.error !== null) {
    const half = Math.abs(up.place(point.y + point.error) - y);
    node.append(svg("path", { d: `M0,${-half}V${half}M-4,${-half}H4M-4,${half}H4`, class: "bar" }));
  }
  node.append(svg("path", { d: SHAPES[point.shape], class: "shape" }));
  if (point.tag) node.append(svg("text", { x: 6, y: -5, class: "tag" }, point.tag));
  const show = () => details(point, metric, value, x, y);
  node.addEventListener("mouseenter", show);
  node.addEventListener("focus", show);
  return node;
}

function details(point, metric, value, x, y) {
  const rows = [[metric, value], ...point.lines].flatMap(([name, text]) => [html("dt", {}, name), html("dd", {}, text)]);
  control("details").replaceChildren(html("strong", {}, point.title), html("dl", {}, ...rows));
  for (const old of document.querySelectorAll("#plot .guide")) old.remove();
  const guide = svg("path", { d: `M${BOX.left},${y}H${x}V${BOX.bottom}`, class: "guide" });
  control("plot").querySelector(".frame").after(guide);
  for (const row of document.querySelectorAll("#table tbody tr")) row.classList.toggle("lit", row.dataset.build === point.build);
}

function legend(points) {
  const shape = (name, colour) => svg("svg", { viewBox: "-10 -10 20 20", class: `key ${colour}` }, svg("path", { d: SHAPES[name], class: "shape" }));
  const block = (title, entries) =>
    entries.size ? [html("h3", {}, title), ...[...entries].map(([text, icon]) => html("div", {}, icon, text))] : [];
  const own = points.filter((point) => point.build !== null);
  const others = points.filter((point) => point.build === null);
  const plain = (colour) => colour.replace(" hollow", "");
  const left = html("div", {},
    ...block("These builds", new Map(own.map((p) => [p.title, shape("square", plain(p.colour))]))),
    ...block("Number from", new Map(own.map((p) => [p.source, shape(p.shape, "neutral")]))));
  const right = html("div", {},
    ...block("Published, other data", new Map(DATA.references
      .filter((ref) => others.some((p) => p.colour.startsWith(`work w${ref.work % 8}`)))
      .map((ref) => [ref.work_label, shape("circle", `work w${ref.work % 8}`)]))),
    ...block("Published stage", new Map(others.map((p) => [p.source, shape(p.shape, "neutral")]))));
  control("legend").replaceChildren(left, right);
}

function label(points, across, up) {
  const own = points.filter((point) => point.build !== null);
  const several = intervalsOf(own).length > 1; // then it is said beside each build
  const said = (point) => (several ? `${point.build}, II = ${point.ii ?? "?"}` : point.build);
  const last = new Map(own.map((point) => [said(point), point]));
  const placed = [];
  return [...last.values()].sort((a, b) => b.y - a.y).map((point) => {
    const x = across.place(point.x);
    const end = x > BOX.right - 170;
    const place = { x: x + (end ? -12 : 12), y: up.place(point.y) + 4 };
    while (placed.some((other) => Math.abs(other.x - place.x) < 130 && Math.abs(other.y - place.y) < 13)) place.y += 13;
    placed.push(place);
    return svg("text", { ...place, class: `name ${point.colour}${end ? " end" : ""}` }, said(point));
  });
}

function absent(points, quantity, metric) {
  const elsewhere = (build) => build.costs[quantity].some((cost) => !wantedII(cost.ii)); // not missing, not asked for
  const builds = DATA.builds.filter((build) => points.every((point) => point.build !== build.name) && !elsewhere(build));
  const others = builds.filter((build) => !(metric in build)); // of another task
  const names = builds.filter((build) => metric in build).map((build) => build.name);
  const words = names.length > 4 ? [`${names.length} builds: no ${NAMES[quantity]} yet`] : names.map((name) => `${name}: no ${NAMES[quantity]} yet`);
  if (others.length) words.push(`left out, for they have no ${NAMES[metric]}: ${others.map((build) => build.name).join(", ")}`);
  return words.map((text, line) => svg("text", { x: BOX.left + 10, y: BOX.bottom - 12 - 16 * line, class: "absent" }, text));
}

function draw() {
  const [x, y, source] = [control("x").value, control("y").value, control("source").value];
  const points = [...publishedPoints(x, y, control("published").value), ...ourPoints(x, y, source)];
  legend(points);
  if (!points.length) {
    const words = `No build states ${NAMES[x]} with ${NAMES[y]} yet.`;
    control("plot").replaceChildren(svg("text", { x: 450, y: 230, class: "axis middle" }, words));
    return;
  }
  const across = scale(points.map((p) => p.x), BOX.left, BOX.right, control("log").checked);
  const edges = points.flatMap((p) => [p.y - (p.error ?? 0), p.y + (p.error ?? 0)]);
  const up = scale(edges, BOX.bottom, BOX.top, false);
  const nodes = points.map((point) => marker(point, across, up));
  control("plot").replaceChildren(
    ...axes(across, up, NAMES[x], NAMES[y]), ...frontiers(points, across, up), ...nodes, ...label(points, across, up),
    ...absent(points, x, y),
  );
  const order = nodes.map((node, index) => [points[index].x, node]).sort(([a], [b]) => a - b).map(([, node]) => node);
  const first = nodes[nodes.length - 1];
  first.setAttribute("tabindex", 0); // one tab stop; arrow keys go on in order of cost
  order.forEach((node, index) => node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    order[(index + step + order.length) % order.length].focus();
  }));
}

function sources() {
  const names = sourcesOf(control("x").value);
  const options = [["all", "all sources"], ...names.map((source) => [source, source])];
  control("source").replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
}

function intervals() {
  const own = DATA.builds.flatMap((build) => Object.values(build.costs).flat());
  const options = [["all", "all"], ...intervalsOf(own).map((ii) => [spellII(ii), spellII(ii)])];
  control("ii").replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
}

control("x").addEventListener("change", () => { sources(); draw(); });
for (const id of ["y", "source", "ii", "published", "log"]) control(id).addEventListener("change", draw);
control("controls").addEventListener("submit", (event) => event.preventDefault());
// the first cost that some build states, so that the page opens on a plot with something of ours in it
control("x").value = Object.keys(DATA.quantities).find((quantity) => sourcesOf(quantity).length) ?? "lut";
sources();
intervals();
draw();
