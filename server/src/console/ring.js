// Each datacenter's ring.

const HUES = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0"];
const LOWEST = -(2n ** 63n), WHOLE = 2n ** 64n;

/** Where a token lies on the ring, 0 to 1; NaN of one that is no number. */
function turn(token) {
  try { return Number((BigInt(token) - LOWEST) * 1000000n / WHOLE) / 1000000; } catch { return NaN; }
}

function point(turn, radius) {
  const angle = 2 * Math.PI * turn - Math.PI / 2;
  return `${(110 + radius * Math.cos(angle)).toFixed(2)} ${(110 + radius * Math.sin(angle)).toFixed(2)}`;
}

function arc(from, to, inner, outer) {
  // A whole turn would be none.
  const span = Math.min((to - from + 1) % 1 || 1, 0.9999), end = from + span, large = span > 0.5 ? 1 : 0;
  return `M ${point(from, outer)} A ${outer} ${outer} 0 ${large} 1 ${point(end, outer)} L ${point(end, inner)}` +
    ` A ${inner} ${inner} 0 ${large} 0 ${point(from, inner)} Z`;
}

/** Stripes of a colour, for who is down: seen without colours too. */
function stripes(id, color) {
  const line = make("line", { x1: 0, y1: 0, x2: 0, y2: 6, stroke: color, "stroke-width": 4 });
  return make("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, line);
}

/**
 * Draws the rings; `sought` is a key's token and its replicas, if one was looked up: they are thick, the others thin. Who is
 * down is striped, thick or thin.
 */
function drawRings(ring, colors, sought) {
  const members = new Map(ring.members.map((member) => [member.host_id, member]));
  const datacenters = [...new Set(ring.members.map((member) => member.datacenter))].sort();
  at("rings").replaceChildren(...datacenters.map((datacenter) => {
    const tokens = ring.tokens
      .filter(({ host_id }) => members.get(host_id)?.datacenter === datacenter)
      .map((token) => ({ ...token, turn: turn(token.token) }))
      .filter((token) => !Number.isNaN(token.turn));
    const arcs = tokens.map((token, index) => {
      const member = members.get(token.host_id), before = tokens[(index + tokens.length - 1) % tokens.length];
      const isOther = sought && !sought.hosts.has(token.host_id), color = colors.get(token.host_id);
      const path = make("path", {
        d: arc(before.turn, token.turn, isOther ? 84 : 74, isOther ? 92 : 102), class: member.up ? null : "down",
        fill: member.up ? color : `url(#down-${token.host_id})`, stroke: member.up ? "var(--card)" : color, "stroke-width": 1,
      });
      const facts = [member.address, `rack ${member.rack}`, member.up ? null : member.up == null ? "unknown" : "down",
        sought ? `${isOther ? "no " : ""}replica of ${sought.name}` : null].filter(Boolean);
      path.append(make("title", {}, `${facts.join(", ")}\nup to token ${token.token}`));
      return path;
    });
    const own = ring.members.filter((member) => member.datacenter === datacenter);
    const down = own.filter((member) => member.up === false).length, isKnown = own.every((member) => member.up != null);
    const patterns = own.filter((member) => !member.up).map((member) => stripes(`down-${member.host_id}`, colors.get(member.host_id)));
    const svg = make("svg", { viewBox: "0 0 220 220", role: "img", "aria-label": `Ring of datacenter ${datacenter}` },
      make("defs", {}, ...patterns), ...arcs);
    if (sought && !Number.isNaN(turn(sought.token))) {
      const [x1, y1] = point(turn(sought.token), 62).split(" "), [x2, y2] = point(turn(sought.token), 109).split(" ");
      svg.append(make("line", { x1, y1, x2, y2, stroke: "var(--ink)", "stroke-width": 3, "stroke-linecap": "round" }));
    }
    const words = (y, size, color, text) =>
      make("text", { x: 110, y, "text-anchor": "middle", fill: color, "font-size": size }, text);
    svg.append(words(108, 16, "var(--ink)", datacenter));
    svg.append(words(127, 12, down ? "var(--bad)" : "var(--faint)", down ? `${down} of ${own.length} down` : isKnown ? `${own.length} up` : "who is up is unknown"));
    const racks = [...new Set(own.map((member) => member.rack))].sort();
    return make("figure", {}, svg, make("figcaption", {}, `${racks.length === 1 ? "rack" : "racks"} ${racks.join(", ")}`));
  }));
  at("legend").replaceChildren(
    ring.members.some((member) => member.up === false) ? "; striped: down" : "",
    ring.members.some((member) => member.up == null) ? "; striped: unknown" : "",
    ...(sought ? ["; thick: replicas of ", make("span", { class: "mono" }, sought.name), ", thin: the others"] : []));
}
