// Which of it goes where, and the lookup of a key.

let sought = null, ring = null, colors = new Map();

function drawMembers(status, detector, hints) {
  const heard = new Map(detector.peers.map((peer) => [peer.host_id, peer]));
  const kept = new Map(hints.targets.map((target) => [target.host_id, target]));
  at("members").replaceChildren(...status.members.map((member) => {
    const peer = heard.get(member.host_id), waiting = kept.get(member.host_id);
    const isSuspect = peer && member.up && peer.phi > detector.threshold / 2;
    const isUp = member.up ? "up" : "down";
    const state = member.state === "normal" ? isUp : `${isUp}, ${member.state}`;
    const offset = peer?.clock_offset_us;
    const cell = (text, name) => make("td", { class: name }, text);
    return make("tr", { class: member.host_id === status.host_id ? "self" : null },
      make("td", {}, make("span", { class: "swatch", style: `background:${colors.get(member.host_id)}` }),
        make("span", { class: "mono", title: `host id ${member.host_id}` }, member.address)),
      cell(`${member.datacenter} / ${member.rack}`),
      make("td", { class: member.up ? "good" : "bad", title: member.why }, state),
      cell(peer ? (peer.phi >= 100 ? "> 100" : peer.phi.toFixed(2)) : "", `number${isSuspect ? " warn" : ""}`),
      cell(bytes(member.load_bytes), "number"),
      cell(member.owns == null ? "" : `${(100 * member.owns).toFixed(1)} %`, "number"),
      cell(offset == null ? "" : `${offset >= 0 ? "+" : "−"}${duration(Math.abs(offset) / 1e6)}`, `number${Math.abs(offset) > 1e6 ? " bad" : ""}`),
      cell(waiting ? count(waiting.pending ?? waiting.hints ?? 0) : "", "number"));
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
  const down = status.members.filter((member) => !member.up);
  const versions = description.schema_versions.length;
  at("cluster").textContent = status.cluster_name;
  at("build").textContent = `Helenus ${info.version}, node ${info.address}, ${status.partitioner}, snitch ${description.snitch}`;
  at("summary").className = down.length || versions > 1 || info.why_not_ready ? "bad" : "";
  at("summary").textContent = [
    `${status.members.length - down.length} of ${status.members.length} nodes up`,
    down.length ? `down: ${down.map((member) => member.address).join(", ")}` : null,
    versions > 1 ? `${versions} schema versions` : null,
    info.why_not_ready,
  ].filter(Boolean).join(" · ");
  const names = description.tables.map((table) => table.name);
  if ([...at("table").options].map((option) => option.value).join() !== names.join()) {
    at("table").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
  }
}

const moment = (micros) => new Date(micros / 1000).toISOString().replace("T", " ").replace("Z", "");

function drawAnswer(found) {
  const newest = Math.max(...found.replicas.map((replica) => replica.timestamp_us ?? -1));
  const rows = found.replicas.map((replica) => {
    const isBehind = replica.holds !== "unknown" && (replica.timestamp_us ?? -1) < newest;
    const words = { value: bytes(replica.value_bytes ?? 0), expired: "expired value", tombstone: "tombstone", nothing: "nothing", unknown: replica.why };
    const until = replica.deleted_at_us ? `deleted ${moment(replica.deleted_at_us)}` : replica.expires_at_us ? `expires ${moment(replica.expires_at_us)}` : "";
    return make("tr", {},
      make("td", {}, make("span", { class: "swatch", style: `background:${colors.get(replica.host_id)}` }), make("span", { class: "mono" }, replica.address)),
      make("td", {}, `${replica.datacenter} / ${replica.rack}${replica.pending ? ", pending" : ""}`),
      make("td", { class: replica.holds === "unknown" ? "bad" : isBehind ? "warn" : "good" }, `${words[replica.holds]}${isBehind ? ", behind" : ""}`),
      make("td", { class: "mono" }, replica.timestamp_us ? moment(replica.timestamp_us) : ""),
      make("td", {}, until),
      make("td", { class: "mono text", title: replica.digest ? `xxh3 ${replica.digest}` : null }, replica.text ?? ""));
  });
  const unknown = found.replicas.filter((replica) => replica.holds === "unknown").length;
  const verdict = found.agree ? ["good", "All replicas hold the same."]
    : unknown ? ["bad", `${unknown} of ${found.replicas.length} replicas did not answer.`] : ["warn", "The replicas differ."];
  const titles = ["Replica", "Where", "Holds", "Written (UTC)", "Ends", "Value"].map((title) => make("th", { scope: "col" }, title));
  at("answer").replaceChildren(
    make("p", { class: "verdict" }, "Token ", make("code", {}, found.token), ". ", make("strong", { class: verdict[0] }, verdict[1])),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What each replica holds" },
      make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows))));
}

async function lookUp() {
  const [table, key] = [at("table").value, at("key").value];
  if (!table || !key) return;
  // Of its own accord the browser would walk up a path of dots.
  const raw = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  const path = raw.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  try {
    const found = await report(`replicas/${table}/${path}?key_encoding=base64url`);
    sought = { token: found.token, hosts: new Set(found.replicas.map((replica) => replica.host_id)) };
    drawAnswer(found);
  } catch (error) {
    sought = null;
    at("answer").replaceChildren(make("p", { class: "bad" }, error.message));
  }
  if (ring) drawRings(ring, colors, sought);
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
    chart(seen);
    if (at("again").checked) await lookUp();
  } catch (error) {
    at("summary").className = "bad";
    at("summary").textContent = `The node does not answer: ${error.message}`;
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
  at("table").value = table;
  at("key").value = key;
  lookUp();
}

at("question").addEventListener("submit", (event) => {
  event.preventDefault();
  history.replaceState(null, "", `#${at("table").value}/${encodeURIComponent(at("key").value)}`);
  lookUp();
});
addEventListener("hashchange", readAddress);
look().then(readAddress);
