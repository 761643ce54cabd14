// The picture: its cards and edges by the names that they have in the drawing, their colours, and what of it is in sight.

let cards = [], edges = new Map();

function readPicture() {
  cards = [];
  edges = new Map();
  for (const group of document.querySelectorAll("#picture .node, #picture .edge")) {
    const title = group.querySelector("title");
    const name = title.textContent;
    title.remove();
    if (group.classList.contains("edge")) {
      edges.set(name, [...(edges.get(name) ?? []), group]);
      addTail(group);
    } else {
      cards[Number(name.slice(1))] = readCard(group, Number(name.slice(1)));
    }
  }
  whole(false);
}

function readCard(group, i) {
  const texts = [...group.querySelectorAll("text")];
  const gradient = nodes[i].constant ? null : texts.at(-1);
  const value = texts.at(nodes[i].constant ? -1 : -2);
  const box = group.getBBox();
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

// The arrowhead of the backward pass, at the other end.
function addTail(group) {
  const path = group.querySelector("path"), start = path.getPointAtLength(0), on = path.getPointAtLength(6);
  const [dx, dy] = [on.x - start.x, on.y - start.y].map((d) => d / (Math.hypot(on.x - start.x, on.y - start.y) || 1));
  const tips = [[0, 0], [9 * dx - 3.4 * dy, 9 * dy + 3.4 * dx], [9 * dx + 3.4 * dy, 9 * dy - 3.4 * dx]];
  const tail = document.createElementNS(path.namespaceURI, "polygon");
  tail.setAttribute("class", "tail");
  tail.setAttribute("points", tips.map(([x, y]) => `${start.x + x},${start.y + y}`).join(" "));
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
  const room = Math.min((view.clientWidth - rim) / width, (parseFloat(getComputedStyle(view).maxHeight) - rim) / height);
  const large = document.documentElement.classList.contains("large"), pressed = at("whole").getAttribute("aria-pressed") === "true";
  const least = 0.75, most = large ? 2.2 : narrow.matches ? 1.1 : 1.4;
  drawing.style.width = `${width * Math.min(Math.max(room, pressed ? 0 : least), most)}px`;
  at("whole").hidden = room >= least && !pressed;
}

// The edges into node i, one for each input.
function edgesInto(i) {
  const times = {};
  return nodes[i].inputs.map((k) => edges.get(`n${k}->n${i}`)[times[k] = (times[k] ?? -1) + 1]);
}

function colour(card, gradient, strongest) {
  const size = Math.abs(gradient ?? 0);
  const share = !(size > 0) ? 0 : size < strongest ? Math.sqrt(size / strongest) : 1;
  const part = share ? (1 + Math.ceil(4 * share)) * 20 : 0;
  const sense = gradient > 0 ? "up" : "down";
  const mixed = (full, none) => part ? `color-mix(in srgb, var(--${sense}${full}) ${part}%, var(--${none}))` : "";
  card.box?.style.setProperty("--fill", mixed("", "still"));
  card.box?.style.setProperty("--stroke", mixed("-border", "border"));
  card.gradient?.style.setProperty("fill", part ? `var(--${sense}-ink)` : "var(--quiet)");
}

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
    let low = inside(Math.min(...boxes.map((box) => box[start]))), high = inside(Math.max(...boxes.map((box) => box[end])));
    const size = view[end] - view[start];
    if (high - low > size - 16) [low, high] = [inside(boxes[0][start]), inside(boxes[0][end])];
    if (low < from[key] + 8 || high > from[key] + size - 8) goal[key] = (low + high - size) / 2;
  }
  lastReveal = now;
  picture.scrollTo({ ...goal, behavior: quick || still.matches ? "instant" : "smooth" });
  goal = { left: clamped(goal.left, picture.scrollWidth - picture.clientWidth), top: clamped(goal.top, picture.scrollHeight - picture.clientHeight) };
}

const clamped = (x, most) => Math.min(Math.max(x, 0), Math.max(most, 0));

at("whole").addEventListener("click", () => whole(at("whole").getAttribute("aria-pressed") !== "true"));
addEventListener("resize", fit);
