// What helps to type: keys that a phone hides, and the list of all functions.

const SHORTCUTS = ["(", ")", "*", "**", "+", "-", "/", "tanh(", "relu(", "exp(", "log("];

// Puts text where the cursor is.
function insert(text) {
  const box = at("expression");
  box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
  box.dispatchEvent(new Event("input"));
  box.focus();
}

for (const text of SHORTCUTS) {
  const key = make("button", at("keys"), text, { tabindex: -1 });
  key.addEventListener("pointerdown", (event) => event.preventDefault());  // the field keeps the focus
  key.addEventListener("click", () => insert(text));
}
for (const [name, { over, letters, settings, meaning }] of Object.entries(LANGUAGE.functions)) {
  const inputs = letters.map((letter) => over ? `[${letter[0]}1, ${letter[0]}2, ...]` : letter);
  const given = settings.map((setting) => setting.text ? `${setting.name}=${setting.text}` : setting.name);
  const call = name === "where" ? [...given, ...inputs] : [...inputs, ...given];
  const key = make("button", make("dt", at("functions")), `${name}(${call.join(", ")})`, { title: "Type it" });
  key.addEventListener("click", () => insert(`${name}(`));
  make("dd", at("functions"), meaning);
}
