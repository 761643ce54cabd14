// Where the cards stand: a picture in layers, for graphs of an expression. The result is the last layer, each node
// stands one layer before the first of its users, and edges that pass over layers get places there, too. Operands keep
// the order of the formula unless another order has fewer crossings; the longest chain is drawn straight.
//
// `along` runs from the inputs to the result, `across` is the other direction: x and y, or y and x in a tall picture.

const FIRM = 8;  // how much more an edge that should be straight counts than others
const GAP = { layer: 38, card: 14, line: 10 };  // between layers, between cards, between edges that pass

function layout(nodes, root, sizes) {
  const layers = placed(nodes, root, sizes);
  reduceCrossings(layers);
  settle(layers);
  return layers;
}

// The vertices by layer, the result's first: one for each node, and stations in the layers that its edges pass over.
// Edges from one node share their stations, as one line that branches.
function placed(nodes, root, sizes) {
  const depth = nodes.map(() => 0), height = nodes.map(() => 0), layers = [], stations = new Map();
  for (let i = nodes.length - 1; i >= 0; i--) {
    for (const k of sources(nodes[i])) depth[k] = Math.max(depth[k], depth[i] + 1);
  }
  nodes.forEach((node, i) => { height[i] = node.op ? 1 + Math.max(...node.inputs.map((k) => height[k])) : 0; });
  // The vertex at which edges from node k pass layer d, and those behind it; all that had to be made.
  const station = (k, d) => {
    const key = `${k} ${d}`, last = d === depth[k];
    if (!stations.has(key)) {
      const vertex = { node: last ? k : null, depth: d, size: last ? sizes[k] : 0, users: [], inputs: [] };
      (layers[d] ??= []).push(vertex);
      stations.set(key, vertex);
      if (last) fresh.push(k);
      else join(station(k, d + 1), vertex, 0, d + 1 < depth[k] ? FIRM : 1);
    }
    return stations.get(key);
  };
  const stack = [root];
  let fresh = [];
  station(root, 0);
  while (stack.length) {  // in the order of the formula, so that each layer has its nodes in that order
    const i = stack.pop(), user = stations.get(`${i} ${depth[i]}`), spine = straight(nodes[i], height);
    fresh = [];
    sources(nodes[i]).forEach((k, j) => join(station(k, depth[i] + 1), user, j, j === spine ? FIRM : 1));
    stack.push(...fresh.reverse());
  }
  return layers;
}

// The inputs of a node, and leaves that only its condition reads.
const sources = (node) => [...node.inputs, ...node.aside];

// Which operand continues the longest chain; none where two are as long, or where all are leaves.
function straight(node, height) {
  const tallest = Math.max(0, ...node.inputs.map((k) => height[k]));
  const found = node.inputs.flatMap((k, j) => height[k] === tallest ? [j] : []);
  return node.inputs.length === 1 || (tallest > 0 && found.length === 1) ? found[0] : -1;
}

function join(vertex, user, place, weight) {
  const edge = { from: vertex, to: user, place, weight };
  vertex.users.push(edge);
  user.inputs.push(edge);
}

// --- the order within layers ---

const numberAll = (layers) => layers.forEach((layer) => layer.forEach((vertex, k) => { vertex.at = k; }));
const TURNED = 0.3;  // operands against the order of the formula: less than a crossing

// What it costs that edge a starts before edge b.
const tangle = (a, b) => a.to === b.to ? TURNED * (a.place > b.place) : Number(a.to.at > b.to.at);

function costOf(layers) {
  let cost = 0;
  for (const layer of layers) {
    const edges = layer.flatMap((vertex) => vertex.users);
    edges.forEach((a, k) => { for (const b of edges.slice(k + 1)) if (a.from !== b.from) cost += tangle(a, b); });
  }
  return cost;
}

// The cost of v before w, two neighbours in a layer.
function costBefore(v, w) {
  let cost = 0;
  for (const a of v.users) for (const b of w.users) cost += tangle(a, b);
  for (const a of v.inputs) for (const b of w.inputs) cost += a.from.at > b.from.at;
  return cost;
}

function reduceCrossings(layers) {
  numberAll(layers);
  let best = layers.map((layer) => [...layer]), least = costOf(layers);
  for (let round = 0; round < 12 && least; round++) {
    const back = round % 2;  // first from the result to the inputs
    const by = back ? (v) => mean(v.inputs.map((edge) => edge.from.at)) : (v) => mean(v.users.map(rankOf));
    for (const layer of back ? layers.toReversed() : layers) {
      const means = new Map(layer.map((vertex) => [vertex, by(vertex) ?? vertex.at]));
      layer.sort((a, b) => means.get(a) - means.get(b));
      numberAll([layer]);
    }
    while (layers.filter(exchange).length);
    const cost = costOf(layers);
    if (cost < least) [best, least] = [layers.map((layer) => [...layer]), cost];
  }
  best.forEach((layer, d) => { layers[d] = layer; });
  numberAll(layers);
}

const rankOf = (edge) => edge.to.at + edge.place / 1000;  // operands of one node in their order

// Exchanges neighbours in a layer where that lowers the cost; whether there were any.
function exchange(layer) {
  let any = false;
  for (let k = 1; k < layer.length; k++) {
    const [v, w] = [layer[k - 1], layer[k]];
    if (costBefore(w, v) < costBefore(v, w) - 1e-9) {
      [layer[k - 1], layer[k]] = [w, v];
      [v.at, w.at] = [k, k - 1];
      any = true;
    }
  }
  return any;
}

const mean = (xs) => xs.length ? xs.reduce((x, y) => x + y, 0) / xs.length : null;

// --- the places across: each vertex as near to its neighbours as the order allows ---

function settle(layers) {
  for (const layer of layers) {
    let end = 0;
    for (const vertex of layer) {
      vertex.across = end + vertex.size / 2;
      end += vertex.size + GAP.card;
    }
    for (const vertex of layer) vertex.across -= end / 2;
  }
  for (let round = 0; round < 60; round++) {
    for (const layer of round % 2 ? layers : layers.toReversed()) pack(layer, false);
  }
  for (const layer of layers) pack(layer, true);
}

// The weighted least squares of the distances to what each vertex would like, in order and without overlap: vertices
// that want to pass each other become one block. Strictly, what should be straight is, where there is room.
function pack(layer, strict) {
  const blocks = [];
  let shift = 0;
  layer.forEach((vertex, k) => {
    if (k) shift += apart(layer[k - 1], vertex);
    const after = vertex.users.map((edge) => [edge.to, edge.weight]);
    let edges = [...after, ...vertex.inputs.map((edge) => [edge.from, edge.weight])];
    const firm = strict ? vertex.users.filter((edge) => edge.weight === FIRM) : [];
    if (firm.length) edges = firm.map((edge) => [edge.to, 1000]);
    const weight = edges.reduce((sum, [, w]) => sum + w, 0) || 0.001;
    const wish = edges.length ? edges.reduce((sum, [v, w]) => sum + w * v.across, 0) / weight : vertex.across;
    let block = { at: wish - shift, weight, members: [[vertex, shift]] };
    while (blocks.length && blocks.at(-1).at > block.at) {
      const last = blocks.pop(), total = last.weight + block.weight;
      const middle = (last.at * last.weight + block.at * block.weight) / total;
      block = { at: middle, weight: total, members: [...last.members, ...block.members] };
    }
    blocks.push(block);
  });
  for (const { at, members } of blocks) for (const [vertex, shift] of members) vertex.across = at + shift;
}

const apart = (a, b) => (a.size + b.size) / 2 + (a.size && b.size ? GAP.card : GAP.line);
