// The picture of a graph as SVG, of the same make as Graphviz's: the player finds cards and edges by their titles.

const FONT = '"DejaVu Sans", Verdana, Helvetica, Arial, sans-serif';
const CARD = { least: 94, margin: 10, height: 50, quiet: 20 };  // any number has room
const ruler = document.createElement("canvas").getContext("2d");

function textWidth(text, size, bold) {
  ruler.font = `${bold ? "bold " : ""}${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

function svg(tag, parent, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent?.append(element);
  return element;
}

const captionText = ({ label, made }) => [label, made].filter(Boolean).join(" = ");

function cardSize(node) {
  if (node.constant) return { width: Math.max(24, textWidth(short(node.data), 9) + 8), height: CARD.quiet };
  const { label, made } = node.caption, words = label && made ? ` = ${made}` : made;
  const wide = textWidth(label, 11, true) + textWidth(words, 11);
  return { width: Math.max(CARD.least, wide + 2 * CARD.margin), height: CARD.height };
}

// The picture: wide, or tall where a window of `room` shows that much larger.
function drawing(graph, room) {
  const tall = arrangement(graph, true), wide = arrangement(graph, false);
  const scale = ({ width, height }) => Math.min(1, room.width / (width * 4 / 3), room.height / (height * 4 / 3));
  return picture(graph, scale(wide) < 0.75 && scale(tall) > scale(wide) ? tall : wide);
}

// Cards with their places in points, x and y of the centre, and the points that each edge passes.
function arrangement(graph, tall) {
  const sizes = graph.nodes.map(cardSize);
  const layers = layout(graph.nodes, graph.root, sizes.map((each) => tall ? each.width : each.height));
  const deep = layers.map((layer) => Math.max(...layer.map((v) => v.node === null ? 0 : depthOf(v, sizes, tall))));
  const all = layers.flat(), pad = 12, low = Math.min(...all.map((v) => v.across - v.size / 2));
  const broad = Math.max(...all.map((v) => v.across + v.size / 2)) - low + 2 * pad;
  let along = pad;
  for (let d = layers.length - 1; d >= 0; d--) {  // the inputs stand first
    for (const vertex of layers[d]) {
      vertex.across += pad - low;
      Object.assign(vertex, { along: along + deep[d] / 2, start: along, end: along + deep[d] });
    }
    along += deep[d] + GAP.layer;
  }
  const long = along - GAP.layer + pad;
  return { tall, sizes, layers, width: tall ? broad : long, height: tall ? long : broad };
}

function picture(graph, { tall, sizes, layers, width, height }) {
  const [w, h] = [width.toFixed(1), height.toFixed(1)];
  const image = svg("svg", null, { width: `${w}pt`, height: `${h}pt`, viewBox: `0 0 ${w} ${h}` });
  const ground = svg("g", image, { class: "graph" });
  const point = (along, across) => tall ? [across, along] : [along, across];
  const cards = layers.flat().filter((vertex) => vertex.node !== null).sort((a, b) => a.node - b.node);
  for (const vertex of cards) drawEdges(ground, vertex, graph, sizes, tall, point);
  for (const vertex of cards) drawCard(ground, vertex, graph, sizes[vertex.node], point);
  return image;
}

function drawCard(ground, vertex, graph, { width, height }, point) {
  const node = graph.nodes[vertex.node], [x, y] = point(vertex.along, vertex.across);
  const group = svg("g", ground, { class: "node" }), line = { "text-anchor": "middle", x, "font-family": FONT };
  svg("title", group, {}, `n${vertex.node}`);
  if (node.constant) {
    svg("text", group, { ...line, y: y + 3.5, "font-size": 9 }, short(node.data));
    return;
  }
  svg("path", group, { d: roundedBox(x, y, width, height, 7), "stroke-width": vertex.node === graph.root ? 2 : 1 });
  const { label, made } = node.caption, caption = svg("text", group, { ...line, y: y - 10, "font-size": 11 });
  if (label) svg("tspan", caption, { "font-weight": "bold" }, label);
  if (made) caption.append(label ? ` = ${made}` : made);
  svg("text", group, { ...line, y: y + 6, "font-size": 13 });
  svg("text", group, { ...line, y: y + 19, "font-size": 9 });
}

// A rectangle around a point, its corners rounded.
function roundedBox(x, y, width, height, r) {
  const corner = `a${r},${r} 0 0 1`, [w, h] = [width - 2 * r, height - 2 * r];
  const top = `M${x - w / 2},${y - height / 2}h${w}${corner} ${r},${r}v${h}`;
  return `${top}${corner} ${-r},${r}h${-w}${corner} ${-r},${-r}v${-h}${corner} ${r},${-r}Z`;
}

// The edges into a card. They end side by side, in the order in which they come; one that comes straight ends in the
// middle.
function drawEdges(ground, vertex, graph, sizes, tall, point) {
  const room = tall ? sizes[vertex.node].width : sizes[vertex.node].height, n = vertex.inputs.length;
  const sorted = vertex.inputs.toSorted((a, b) => a.from.across - b.from.across || a.place - b.place);
  const middle = sorted.findIndex((edge) => Math.abs(edge.from.across - vertex.across) < 2);
  const step = Math.min(room * 0.26, room * 0.8 / Math.max(1, n));
  sorted.forEach((edge, k) => {
    edge.port = vertex.across + (k - (middle < 0 ? (n - 1) / 2 : middle)) * step;
  });
  for (const edge of vertex.inputs) {  // in the order of the operands, by which the player finds them
    const { first, points } = route(edge, sizes, tall);
    const condition = edge.place >= graph.nodes[vertex.node].inputs.length;
    const group = svg("g", ground, { class: condition ? "edge condition" : "edge" });
    svg("title", group, {}, `n${first.node}->n${vertex.node}`);
    const dashes = condition ? "1 4" : graph.nodes[first.node].constant ? "5 3" : "none";
    svg("path", group, { d: curve(points, point), fill: "none", "stroke-dasharray": dashes });
    const [along, across] = points.at(-1);
    const tips = [[along - 1, across - 2.6], [along + 6, across], [along - 1, across + 2.6]];
    svg("polygon", group, { points: tips.map((tip) => point(...tip).join(",")).join(" ") });
  }
}

// Back from where an edge ends to the card where it starts, through the places between; the points in order.
function route(edge, sizes, tall) {
  const points = [[edge.to.along - depthOf(edge.to, sizes, tall) / 2 - 7, edge.port]];
  let { from } = edge;
  while (from.node === null) {
    points.unshift([from.start, from.across], [from.end, from.across]);
    from = from.inputs[0].from;
  }
  points.unshift([from.along + depthOf(from, sizes, tall) / 2, from.across]);
  return { first: from, points };
}

const depthOf = (vertex, sizes, tall) => tall ? sizes[vertex.node].height : sizes[vertex.node].width;

function curve(points, point) {
  const at = (...xs) => point(...xs).map((x) => Number(x.toFixed(1))).join(",");
  let d = `M${at(...points[0])}`;
  points.slice(1).forEach(([along, across], k) => {
    const [before, beside] = points[k], half = (along - before) / 2;
    d += `C${at(before + half, beside)} ${at(along - half, across)} ${at(along, across)}`;
  });
  return d;
}
