// What the node says.

/** A report as JSON; fails with what the node says is wrong, or with what the browser says. */
async function report(path) {
  const reply = await fetch(`/admin/v1/${path}`, { signal: AbortSignal.timeout(5000) });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.detail || body.title || `status ${reply.status}`);
  return body;
}

/** The metrics: name with labels → value, and per histogram with labels (but `le`) its buckets [bound, count]. */
async function metrics() {
  const reply = await fetch("/metrics", { signal: AbortSignal.timeout(5000) });
  if (!reply.ok) throw new Error(`/metrics: status ${reply.status}`);
  const values = new Map(), histograms = new Map();
  for (const line of (await reply.text()).split("\n")) {
    if (!line || line[0] === "#") continue;
    const space = line.lastIndexOf(" ");
    const name = line.slice(0, space), value = Number(line.slice(space + 1));
    const bound = name.match(/^(\w+)_bucket\{(.*)\}$/);
    if (!bound) { values.set(name, value); continue; }
    const labels = bound[2].split(",");
    const le = labels.find((label) => label.startsWith("le=")).slice(4, -1);
    const key = `${bound[1]}{${labels.filter((label) => !label.startsWith("le=")).join(",")}}`;
    if (!histograms.has(key)) histograms.set(key, []);
    histograms.get(key).push([le === "+Inf" ? Infinity : Number(le), value]);
  }
  for (const buckets of histograms.values()) buckets.sort((a, b) => a[0] - b[0]);
  return { at: performance.now() / 1000, values, histograms };
}

/** Events between two looks at a histogram, and the bound below which a share of them stayed (seconds). */
function between(before, after, key, share) {
  const now = after.histograms.get(key) || [], then = before.histograms.get(key) || [];
  const counts = now.map(([bound, count], at) => [bound, count - (then[at] ? then[at][1] : 0)]);
  const total = counts.length ? counts[counts.length - 1][1] : 0;
  const found = total > 0 ? counts.find(([, count]) => count >= share * total) : undefined;
  return { total, bound: found ? found[0] : NaN };
}

/** Three digits and the largest unit that leaves something before the point, once it is rounded. */
function units(value, names) {
  let rest = value, unit = 0;
  while (Number(rest.toPrecision(3)) >= 1000 && unit < names.length - 1) { rest /= 1000; unit += 1; }
  return `${rest >= 100 || unit === 0 && Number.isInteger(rest) ? Math.round(rest) : rest.toPrecision(3)}${names[unit]}`;
}
/** As the commands show them: 0 B, 5.7 KiB, 104.0 KiB. */
function bytes(value) {
  let rest = value, unit = 0;
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  while (rest >= 1024 && unit < names.length - 1) { rest /= 1024; unit += 1; }
  return `${rest.toFixed(unit > 0 ? 1 : 0)} ${names[unit]}`;
}
const count = (value) => units(value, ["", " k", " M", " G"]);
/** Of at least 0 seconds: 250 µs, 1.50 s, and from a minute on its two largest units: 5 min 3 s, 1 h 0 min, 3 d 4 h. */
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : units(seconds * 1e6, [" µs", " ms", " s"]);
}

/** An element with attributes and children; text is never taken for markup. */
function make(name, attributes = {}, ...children) {
  const isDrawn = ["svg", "path", "circle", "line", "polyline", "text", "title", "g", "defs", "pattern"].includes(name);
  const element = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const at = (id) => document.getElementById(id);
