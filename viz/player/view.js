// How the page looks: the theme, and large print for a projector.

const THEMES = ["system", "light", "dark"];
let theme = "system";

at("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % 3]));
at("large").addEventListener("click", () => setLarge(!document.documentElement.classList.contains("large")));

function setTheme(next) {
  theme = next;
  document.documentElement.dataset.theme = next;
  at("theme").setAttribute("aria-label", `Theme: ${next}`);
  at("theme").title = `Theme: ${next}`;
}

function setLarge(on) {
  document.documentElement.classList.toggle("large", on);
  at("large").setAttribute("aria-pressed", on);
  dispatchEvent(new Event("resize"));
}
