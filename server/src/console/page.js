// Which of it goes where, and the lookup of a key.

let question = null, sought = null, ring = null, colors = new Map(), answered = null;

/** A colour for an owner, striped if that is down. */
const swatch = (hostId, isUp) =>
  make("span", { class: isUp ? "swatch" : "swatch down", style: `--hue:${colors.get(hostId)}`, "aria-hidden": "true" });

/** A table's cell, with the title of its column for where each row stands by itself. */
const cell = (title, name, ...content) => make("td", { class: name || null, "data-title": title }, ...content);

function drawMembers(status, detector, hints) {
  const heard = new Map(detector.peers.map((peer) => [peer.host_id, peer]));
  const kept = new Map(hints.targets.map((target) => [target.host_id, target]));
  at("members").replaceChildren(...status.members.map((member) => {
    const peer = heard.get(member.host_id), waiting = kept.get(member.host_id);
    const isSuspect = peer && member.up && peer.phi > detector.threshold / 2;
    const isSelf = member.host_id === status.host_id, isDrained = member.up == null;
    const isUp = isDrained ? (isSelf ? "drained" : "unknown") : member.up ? "up" : "down";
    const state = member.state === "normal" ? isUp : `${isUp}, ${member.state}`;
    const offset = peer?.clock_offset_us;
    return make("tr", { class: isSelf ? "self" : null },
      make("td", {}, swatch(member.host_id, member.up), make("span", { class: "mono", title: `host id ${member.host_id}` }, member.address)),
      cell("Where", "", `${member.datacenter} / ${member.rack}`),
      make("td", { class: member.up ? "good" : "bad", title: member.why, "data-title": "State" }, state),
      cell("Phi", `number${isSuspect ? " warn" : ""}`, peer ? (peer.phi >= 100 ? "> 100" : peer.phi.toFixed(2)) : ""),
      cell("Load", "number", member.load_bytes == null ? "?" : bytes(member.load_bytes)),
      cell("Owns", "number", member.owns == null ? "" : `${(100 * member.owns).toFixed(1)} %`),
      cell("Clock", `number${Math.abs(offset) > 1e6 ? " bad" : ""}`, offset == null ? "" : `${offset >= 0 ? "+" : "−"}${duration(Math.abs(offset) / 1e6)}`),
      cell("Hints", "number", waiting ? count(waiting.pending ?? waiting.hints ?? 0) : ""));
  }));
}

function drawFigures(info, look) {
  const value = (name) => look.values.get(name) ?? 0;
  const cache = info.block_cache, asked = cache.hits + cache.misses;
  const figures = [
    ["Load", bytes(info.load_bytes)], ["Memtables", bytes(info.memtable_bytes)],
    ["SSTables", count(value("helenus_sstables"))], ["Flushes", count(value("helenus_flushes_total"))],
    ["Compactions", count(value("helenus_compactions_total"))],
    ["Block cache", `${bytes(cache.bytes)}${asked ? `, ${(100 * cache.hits / asked).toFixed(1)} % hits` : ""}`],
    ["Hints waiting", count(value("helenus_hints_pending"))],
    ["Hints delivered", count(value('helenus_hints_total{outcome="delivered"}'))],
    ["Read repairs", count(value('helenus_coordinator_read_repairs_total{when="blocking"}') + value('helenus_coordinator_read_repairs_total{when="background"}'))],
    ["Requests under way", count(info.requests_in_flight)], ["Memory", bytes(info.resident_bytes)],
    ["Up for", duration(info.uptime_seconds)],
  ];
  at("figures").replaceChildren(...figures.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

function drawSummary(status, info, description) {
  const down = status.members.filter((member) => member.up === false);
  const up = status.members.filter((member) => member.up).length;
  const isDrained = status.members.some((member) => member.up == null);
  const versions = description.schema_versions.length;
  at("cluster").textContent = status.cluster_name;
  at("build").textContent = `Helenus ${info.version}, node ${info.address}, ${status.partitioner}, snitch ${description.snitch}`;
  at("summary").className = down.length || versions > 1 || info.why_not_ready ? "bad" : "";
  at("summary").textContent = [
    isDrained ? "this node is drained: who is up it does not know" : `${up} of ${status.members.length} nodes up`,
    down.length ? `down: ${down.map((member) => member.address).join(", ")}` : null,
    versions > 1 ? `${versions} schema versions` : null,
    info.why_not_ready,
  ].filter(Boolean).join(" · ");
  offerTables(description.tables.map((table) => table.name), at("table").value);
}

/** Offers these tables, and the chosen one even if it is gone: the node says so when it is asked for it. */
function offerTables(names, chosen) {
  const offered = chosen && !names.includes(chosen) ? [...names, chosen] : names;
  if ([...at("table").options].map((option) => option.value).join() !== offered.join()) {
    at("table").replaceChildren(...offered.map((name) => make("option", { value: name }, name)));
  }
  if (chosen) at("table").value = chosen;
}

const moment = (micros) => new Date(micros / 1000).toISOString().replace("T", " ").replace("Z", "");

/** Whether those that answered agree, and apart from that how many did not answer. */
function verdict({ agree, answered, unanswered }) {
  const replicas = (count) => `${count} replica${count === 1 ? "" : "s"}`;
  const said = (name, text) => make("strong", { class: name }, text);
  const silent = unanswered ? [" ", said("bad", `? ${replicas(unanswered)} of ${answered + unanswered} did not answer.`)] : [];
  if (agree === null) return silent;
  if (!agree) return [said("warn", "≠ The replicas differ."), ...silent];
  const all = unanswered ? answered === 1 ? "✓ One answered." : `✓ The ${answered} that answered hold the same.` : "✓ All replicas hold the same.";
  return [said("good", all), ...silent];
}

function drawAnswer(name, found) {
  const newest = Math.max(...found.replicas.map((replica) => replica.timestamp_us ?? -1));
  const rows = found.replicas.map((replica) => {
    const isBehind = replica.holds !== "unknown" && (replica.timestamp_us ?? -1) < newest;
    const words = { value: bytes(replica.value_bytes ?? 0), expired: "expired value", tombstone: "tombstone", nothing: "nothing" };
    const until = replica.deleted_at_us ? `deleted ${moment(replica.deleted_at_us)}` : replica.expires_at_us ? `expires ${moment(replica.expires_at_us)}` : "";
    const text = cell("Value", "mono text", replica.text ?? "");
    if (replica.digest) text.title = `xxh3 ${replica.digest}`;
    return make("tr", {},
      make("td", {}, swatch(replica.host_id, replica.up), make("span", { class: "mono" }, replica.address)),
      cell("Where", "", `${replica.datacenter} / ${replica.rack}${replica.pending ? ", pending" : ""}`),
      cell("Holds", replica.holds === "unknown" ? "bad why" : isBehind ? "warn" : "good",
        replica.holds === "unknown" ? `not known: ${replica.why}` : `${words[replica.holds]}${isBehind ? ", behind" : ""}`),
      cell("Written (UTC)", "mono", replica.timestamp_us ? moment(replica.timestamp_us) : ""),
      cell("Ends", "", until),
      text);
  });
  const titles = ["Replica", "Where", "Holds", "Written (UTC)", "Ends", "Value"].map((title) => make("th", { scope: "col" }, title));
  at("answer").replaceChildren(
    make("h3", { class: "mono" }, name),
    make("p", { class: "verdict" }, "Token ", make("code", {}, found.token), ". ", ...verdict(found)),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What each replica holds" },
      make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows))));
}

/** Asks the question once more. */
async function lookUp() {
  if (!question) return;
  const asked = question, { table, key } = asked, name = `${table}/${key}`;
  // Of its own accord the browser would walk up a path of dots.
  const raw = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  const path = raw.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  try {
    const found = await report(`replicas/${encodeURIComponent(table)}/${path}?key_encoding=base64url`);
    if (question !== asked) return;
    sought = { name, token: found.token, hosts: new Set(found.replicas.map((replica) => replica.host_id)) };
    drawAnswer(name, found);
  } catch (error) {
    if (question !== asked) return;
    sought = null;
    at("answer").replaceChildren(make("p", { class: "bad" }, `${name}: ${error.message}.`));
  }
  if (ring) drawRings(ring, colors, sought);
}

const hour = (date) => date.toLocaleTimeString([], { hour12: false });

/** Says that what the page shows is old, or that it is not. */
function tellAge(error) {
  document.body.classList.toggle("stale", Boolean(error));
  at("stale").hidden = !error;
  document.title = error ? "Helenus – no answer" : "Helenus";
  if (!error) { at("stale").textContent = ""; return; }
  const isSilent = error instanceof TypeError || error.name === "TimeoutError";
  const what = isSilent ? `This page's node, ${location.host}, does not answer.` : `This page's node, ${location.host}, says: ${error.message}.`;
  const age = answered ? ` What is below is stale since ${hour(answered)}.` : "";
  const said = `${what}${age} The page goes on asking.`;
  // Said once to those who hear the page.
  if (at("stale").textContent !== said) at("stale").textContent = said;
  at("summary").className = "";
  at("summary").textContent = answered ? `as of ${hour(answered)}` : "nothing is known yet";
}

async function look() {
  try {
    const [status, detector, hints, info, description, seen, tokens] = await Promise.all(
      [report("status"), report("failure-detector"), report("hints"), report("info"), report("describe-cluster"), metrics(), report("ring")]);
    ring = tokens;
    const order = [...status.members].sort((a, b) => (a.host_id < b.host_id ? -1 : 1));
    colors = new Map(order.map((member, index) => [member.host_id, HUES[index % HUES.length]]));
    drawSummary(status, info, description);
    drawRings(ring, colors, sought);
    drawMembers(status, detector, hints);
    drawFigures(info, seen);
    chart(Object.assign(seen, { generation: info.generation }));
    if (at("again").checked) await lookUp();
    answered = new Date();
    tellAge(null);
  } catch (error) {
    tellAge(error);
  }
  // A page that nobody sees asks less often.
  setTimeout(look, document.hidden ? 10000 : 1000);
}

/** The question in the page's address, so that one can send it to somebody: #table/key. */
function readAddress() {
  let address = "";
  try { address = decodeURIComponent(location.hash); } catch { /* no question of ours */ }
  const [, table, key] = address.match(/^#([^/]+)\/(.+)$/s) || [];
  if (!key) return;
  offerTables([...at("table").options].map((option) => option.value), table);
  at("key").value = key;
  question = { table, key };
  lookUp();
}

at("question").addEventListener("submit", (event) => {
  event.preventDefault();
  question = { table: at("table").value, key: at("key").value };
  history.replaceState(null, "", `#${question.table}/${encodeURIComponent(question.key)}`);
  lookUp();
});
addEventListener("hashchange", readAddress);
look().then(readAddress);
