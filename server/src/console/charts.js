// Rates and percentiles of the last two minutes.

const LOOKS = 120;
const OPERATIONS = [["put", "Writes"], ["get", "Reads"], ["delete", "Deletes"]];
const looks = OPERATIONS.map(() => []);
let looked;

/** Takes another look at the metrics. A node that was started again counts from nothing: there is no rate across that. */
function chart(look) {
  if (looked && looked.generation === look.generation) {
    OPERATIONS.forEach(([operation], index) => {
      const key = `helenus_coordinator_request_duration_seconds{op="${operation}"}`;
      const [p50, p99] = [0.5, 0.99].map((share) => between(looked, look, key, share));
      looks[index].push({ rate: p50.total / (look.at - looked.at), p50: p50.bound, p99: p99.bound });
      if (looks[index].length > LOOKS) looks[index].shift();
    });
    drawCharts();
  }
  looked = look;
}

/** A line that breaks where nothing is known; a single value between two breaks is a short dash. */
function line(points, color, most, width, dashes) {
  const isKnown = (index) => Number.isFinite(points[index]);
  const steps = points.map((value, index) => {
    if (!isKnown(index)) return "";
    const x = 300 * (index + LOOKS - points.length) / (LOOKS - 1), y = 60 - 54 * value / (most || 1);
    const place = `${x.toFixed(1)},${y.toFixed(1)}`;
    return isKnown(index - 1) ? `L${place}` : `M${place}${isKnown(index + 1) ? "" : "h1"}`;
  });
  return make("path", {
    d: steps.join(""), fill: "none", stroke: color, "stroke-width": width, "stroke-linecap": "round",
    "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round", "stroke-dasharray": dashes,
  });
}

function drawCharts() {
  at("charts").replaceChildren(...OPERATIONS.flatMap(([, name], index) => {
    const seen = looks[index], last = seen[seen.length - 1];
    if (name === "Deletes" && seen.every((look) => look.rate === 0)) return [];
    const rates = seen.map((look) => look.rate), p99 = seen.map((look) => look.p99);
    const panel = (title, now, lines, below) => make("div", {},
      make("h3", {}, title, make("b", {}, now)),
      make("svg", { viewBox: "0 0 300 64", preserveAspectRatio: "none", "aria-hidden": "true" },
        make("line", { x1: 0, y1: 60, x2: 300, y2: 60, stroke: "var(--line)" }), ...lines),
      make("div", { class: "key" }, below));
    const top = Math.max(...rates, 1), slow = Math.max(...p99.filter(Number.isFinite), 1e-6);
    return make("div", {},
      panel(`${name} per second`, count(Math.round(last.rate)), [line(rates, "var(--accent)", top, 1.6)], `up to ${count(Math.round(top))}`),
      panel(`${name}: latency`, Number.isFinite(last.p99) ? `p99 ≤ ${duration(last.p99)}` : "–",
        [line(seen.map((look) => look.p50), "var(--good)", slow, 1.3, "3 2"), line(p99, "var(--bad)", slow, 1.6)],
        `p50 dashed, p99 solid, up to ${p99.some(Number.isFinite) ? duration(slow) : "–"}`));
  }));
}
