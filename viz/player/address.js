// The page's address behind its #: what is shown, so that a link shows it again.

let pending = null;

const fromAddress = () => Object.fromEntries(location.hash.slice(1).split("&").filter(Boolean).map((part) => {
  const [key, ...rest] = part.split("=");
  try {
    return [key, decodeURIComponent(rest.join("="))];
  } catch {
    return [key, ""];  // a broken link
  }
}));

// The step comes last, so that a link reads on.
function linkTo({ step, ...parts }) {
  const said = Object.entries({ ...parts, step }).filter(([, value]) => !["", null, undefined].includes(value));
  return `#${said.map(([key, value]) => `${key}=${encoded(value)}`).join("&")}`;
}

// The signs + , / : = stay as they are.
const encoded = (value) => encodeURIComponent(value).replace(/%(2B|2C|2F|3A|3D)/g, decodeURIComponent);

// Browsers allow few changes of the address in a time, so it follows a moment later. A notebook's frame has none.
function toAddress(changes) {
  if (location.protocol === "about:") return;
  const parts = { ...(pending?.parts ?? fromAddress()), ...changes };
  clearTimeout(pending?.timer);
  pending = { parts, timer: setTimeout(writeAddress, 250) };
}

function writeAddress() {
  const link = linkTo(pending?.parts ?? fromAddress());
  clearTimeout(pending?.timer);
  pending = null;
  if (link !== location.hash) window.history.replaceState(null, "", link);
}

at("copy").hidden = location.protocol === "about:";
// Only pages from disk and from https may write to the clipboard; others show the link.
at("copy").addEventListener("click", async () => {
  writeAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    at("copied").textContent = "copied";
  } catch {
    prompt("The link", location.href);
  }
});
