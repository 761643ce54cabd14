// The picture: cards and edges by the names that they have in the drawing, their colours, and what of it is in sight.

let cards = [], edges = new Map();

function readPicture() {
  cards = [];
  edges = new Map();
  const groups = [...document.querySelectorAll("#picture .node, #picture .edge")];
  const measures = groups.map((group) => group.classList.contains("edge") ? startOf(group) : group.getBBox());
  groups.forEach((group, k) => {  // nothing is measured any more: the browser would lay out the picture for each
    const title = group.querySelector("title"), name = title.textContent;
    title.remove();
    if (group.classList.contains("edge")) {
      edges.set(name, [...(edges.get(name) ?? []), group]);
      addTail(group, measures[k]);
    } else {
      cards[Number(name.slice(1))] = readCard(group, Number(name.slice(1)), measures[k]);
    }
  });
  whole(false);
}

function readCard(group, i, box) {
  const texts = [...group.querySelectorAll("text")];
  const gradient = nodes[i].constant ? null : texts.at(-1);
  const value = texts.at(nodes[i].constant ? -1 : -2);
  for (const text of [value, gradient]) {
    text?.setAttribute("text-anchor", "middle");
    text?.setAttribute("x", box.x + box.width / 2);
  }
  group.classList.toggle("constant", nodes[i].constant);
  group.setAttribute("role", "button");
  group.addEventListener("click", () => select(i));
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); select(i); }
  });
  return { group, value, gradient, box: group.querySelector("path") };
}

// Where an edge starts, and its direction there.
function startOf(group) {
  const path = group.querySelector("path"), { x, y } = path.getPointAtLength(0), on = path.getPointAtLength(6);
  const length = Math.hypot(on.x - x, on.y - y) || 1;
  return { x, y, dx: (on.x - x) / length, dy: (on.y - y) / length };
}

// The arrowhead of the backward pass, at the other end.
function addTail(group, { x, y, dx, dy }) {
  const tips = [[0, 0], [9 * dx - 3.4 * dy, 9 * dy + 3.4 * dx], [9 * dx + 3.4 * dy, 9 * dy - 3.4 * dx]];
  const tail = document.createElementNS(group.namespaceURI, "polygon");
  tail.setAttribute("class", "tail");
  tail.setAttribute("points", tips.map(([right, down]) => `${x + right},${y + down}`).join(" "));
  group.querySelector("polygon")?.classList.add("head");
  group.append(tail);
}

function whole(pressed) {
  at("whole").setAttribute("aria-pressed", pressed);
  fit();
}

// A small picture grows to the room there is, a large one shrinks as long as its print stays legible; the whole of it
// is shown on request.
function fit() {
  const drawing = document.querySelector("#picture > svg"), view = at("picture"), rim = 16;
  if (!drawing) return;
  const [width, height] = [drawing.width.baseVal.value, drawing.height.baseVal.value];
  const high = parseFloat(getComputedStyle(view).maxHeight);
  const room = Math.min((view.clientWidth - rim) / width, (high - rim) / height);
  const large = document.documentElement.classList.contains("large");
  const pressed = at("whole").getAttribute("aria-pressed") === "true";
  const least = 0.75, most = large ? 2.2 : narrow.matches ? 1.1 : 1.4;
  drawing.style.width = `${width * Math.min(Math.max(room, pressed ? 0 : least), most)}px`;
  at("whole").hidden = room >= least && !pressed;
}

// The edges into node i, one for each input.
function edgesInto(i) {
  const times = {};
  return nodes[i].inputs.map((k) => edges.get(`n${k}->n${i}`)[times[k] = (times[k] ?? -1) + 1]);
}

const SHADES = 6;  // from the faintest gradient to the strongest

// Colour by sign, a shade paler for each power of ten below the strongest; what is not finite is an alarm: as in
// viz/picture/cards.py.
function colour(card, value, gradient, strongest) {
  const size = Math.abs(gradient ?? 0), wrong = !Number.isFinite(value ?? 0) || !Number.isFinite(size);
  const decades = size && strongest ? Math.max(0, Math.round(Math.log10(strongest) - Math.log10(size))) : 0;
  const part = wrong ? 100 : size ? 100 * Math.max(1, SHADES - decades) / SHADES : 0;
  const sense = wrong ? "alarm" : gradient > 0 ? "up" : "down";
  const mixed = (full, none) => part ? `color-mix(in srgb, var(--${sense}${full}) ${part}%, var(--${none}))` : "";
  card.box?.style.setProperty("--fill", mixed("", "still"));
  card.box?.style.setProperty("--stroke", mixed("-border", "border"));
  card.value.style.setProperty("fill", !Number.isFinite(value ?? 0) ? "var(--alarm-ink)" : "");
  card.gradient?.style.setProperty("fill", part ? `var(--${sense}-ink)` : "var(--quiet)");
}

const marked = (x, text) => Number.isFinite(x) ? text : `⚠ ${text}`;

// Scrolls the picture, never the page, so that the first card is in sight, and the others as far as there is room.
// It counts from where the last scroll is going to end; steps in quick succession jump.
let goal = null, lastReveal = 0;

function reveal(groups) {
  const picture = at("picture"), view = picture.getBoundingClientRect(), now = performance.now();
  const boxes = groups.map((group) => group.getBoundingClientRect());
  const quick = now - lastReveal < 600;
  const here = { left: picture.scrollLeft, top: picture.scrollTop };
  const from = quick && goal ? goal : here;
  goal = { ...from };
  for (const [start, end, key] of [["left", "right", "left"], ["top", "bottom", "top"]]) {
    const inside = (x) => x - view[start] + here[key];  // within the whole picture
    let low = inside(Math.min(...boxes.map((box) => box[start])));
    let high = inside(Math.max(...boxes.map((box) => box[end])));
    const size = view[end] - view[start];
    if (high - low > size - 16) [low, high] = [inside(boxes[0][start]), inside(boxes[0][end])];
    if (low < from[key] + 8 || high > from[key] + size - 8) goal[key] = (low + high - size) / 2;
  }
  lastReveal = now;
  picture.scrollTo({ ...goal, behavior: quick || still.matches ? "instant" : "smooth" });
  goal.left = clamped(goal.left, picture.scrollWidth - picture.clientWidth);
  goal.top = clamped(goal.top, picture.scrollHeight - picture.clientHeight);
}

const clamped = (x, most) => Math.min(Math.max(x, 0), Math.max(most, 0));

at("whole").addEventListener("click", () => whole(at("whole").getAttribute("aria-pressed") !== "true"));
addEventListener("resize", fit);
