// A small chart: lines and points over two axes, drawn anew at each change.

const CHART = { width: 400, height: 150, left: 58, right: 10, top: 10, bottom: 22 };

// `lines` are {points: [[x, y], ...], name}; a point without a finite y breaks its line. `dots` are {x, y, name}.
function chart(element, lines, dots, { log = false, label }) {
  element.setAttribute("viewBox", `0 0 ${CHART.width} ${CHART.height}`);
  element.setAttribute("aria-label", label);
  element.replaceChildren();
  const points = [...lines.flatMap((line) => line.points), ...dots.map(({ x, y }) => [x, y])];
  const all = points.filter((point) => point.every(Number.isFinite));
  if (!all.length) return;
  const up = log ? Math.log10 : (y) => y;
  const [x0, x1] = spread(all.map(([x]) => x)), [y0, y1] = spread(all.map(([, y]) => up(y)));
  const place = ([x, y]) => [
    CHART.left + (x - x0) / (x1 - x0) * (CHART.width - CHART.left - CHART.right),
    CHART.height - CHART.bottom - (up(y) - y0) / (y1 - y0) * (CHART.height - CHART.top - CHART.bottom),
  ];
  axes(element, { x0, x1, y0, y1, log, place });
  for (const { points, name } of lines) svg("path", element, { class: name, d: pathThrough(points, place) });
  for (const { x, y, name } of dots) {
    const [cx, cy] = place([x, y]);
    const size = { cx: cx.toFixed(1), cy: cy.toFixed(1), r: name === "here" ? 6 : 2.5 };
    if (Number.isFinite(cy)) svg("circle", element, { class: name, ...size });
  }
}

function spread(xs) {
  const [low, high] = [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))];
  const rim = (high - low) * 0.04 || Math.abs(low) * 0.1 || 1;
  return [low - rim, high + rim];
}

function pathThrough(points, place) {
  let d = "", pen = false;
  for (const point of points) {
    const at = place(point);
    const drawn = at.every(Number.isFinite);
    if (drawn) d += `${pen ? "L" : "M"}${at.map((x) => x.toFixed(1))}`;
    pen = drawn;
  }
  return d;
}

function axes(element, { x0, x1, y0, y1, log, place }) {
  for (const t of ticks(y0, y1)) {
    const y = log ? 10 ** t : t, [, at] = place([x0, y]);
    svg("line", element, { x1: CHART.left, x2: CHART.width - CHART.right, y1: at, y2: at });
    svg("text", element, { x: CHART.left - 6, y: at + 4, "text-anchor": "end" }, short(Number(y.toPrecision(4))));
  }
  for (const x of ticks(x0, x1)) {
    const [at] = place([x, log ? 1 : 0]);
    svg("text", element, { x: at, y: CHART.height - 5, "text-anchor": "middle" }, short(Number(x.toPrecision(4))));
  }
}

// Round numbers from low to high, three to six of them.
function ticks(low, high) {
  const raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}
