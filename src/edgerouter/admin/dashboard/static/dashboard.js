// Reads the admin API once a second and shows it. Text of devices and services goes through `text` and `clean` only.

const POLL_MS = 1000;
const ANSWER_MS = 5000;
const HISTORY = 300; // samples of the status: five minutes
const RATE_SECONDS = 5; // rates are means over this time
const MOST_ROWS = 100; // of tap and events
const TOPIC_CHARS = 200, PREVIEW_CHARS = 400, ERROR_CHARS = 2000, WHOLE_CHARS = 16384;
const MOST_DRAWN = 12; // sources or sinks in the picture

const $ = (id) => document.getElementById(id);

// --- text

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Return text with everything unprintable escaped, as the command line shows it, and cut to a length. */
function clean(value, most = TOPIC_CHARS, lines = false) {
  const whole = typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
  const cut = whole.length > most ? whole.slice(0, most) : whole;
  const shown = cut.replace(UNPRINTABLE, (c) => (lines && (c === "\n" || c === "\t") ? c : NAMED[c] ?? escape(c.codePointAt(0))));
  return whole.length > most ? `${shown}… (${number(whole.length)} characters)` : shown;
}

function escape(code) {
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const number = (value) => grouped.format(value);
const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const rateText = (value) => (value === null ? "–" : value > 0 && value < 9.95 ? value.toFixed(1) : number(value));

function size(bytes) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (bytes < 1024) return unit === "B" ? `${bytes} B` : `${bytes.toFixed(1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} TiB`;
}

function duration(seconds) {
  if (seconds < 1) return `${Math.round(Math.max(0, seconds) * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/** Return a time of the router, in this machine's zone; a date only where it is another day. */
function moment(seconds) {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return "–";
  const clock = at.toLocaleTimeString("en-GB");
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  return day + clock;
}

const ago = (seconds) => `${duration(Math.max(0, app.serverNow() - seconds))} ago`;
const share = (part, whole) => (whole > 0 ? Math.round((100 * part) / whole) : 0);

/** Return the command line that does the same, with the router's file and its arguments quoted for a shell. */
function command(...words) {
  const file = app.status?.configuration;
  const where = file && file !== "environment" ? ["-c", file] : [];
  return ["edgerouter", ...words, ...where].map((word) => quoted(clean(String(word), 500))).join(" ");
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// --- elements

const SVG = "http://www.w3.org/2000/svg";
const label = (look, x, y, ...children) => h("text", { class: look, x, y }, ...children);
const SVG_TAGS = new Set(["svg", "g", "rect", "line", "path", "text", "polyline", "title"]);

/** Make an element. Children that are strings become text nodes, never markup. */
function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const made = (tag) => (look, ...children) => h(tag, { class: look || null }, ...children);
const span = made("span"), div = made("div");

/** Set text, only where it differs: a selection survives, and a screen reader hears nothing twice. */
function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Isolate foreign text with its writing direction. */
const foreign = (value, most, lines) => h("bdi", {}, clean(value, most, lines));

/** Keep one element for each item: focus, selection and scrolling survive an update. */
function keyed(container, items, key, make, update) {
  const old = (container.kept ??= new Map());
  const kept = new Map();
  let place = container.firstChild;
  for (const item of items) {
    const name = key(item);
    const row = old.get(name) ?? make(item);
    kept.set(name, row);
    old.delete(name);
    update?.(row, item);
    if (row === place) place = place.nextSibling;
    else container.insertBefore(row, place);
  }
  for (const row of old.values()) row.remove();
  container.kept = kept;
}

/** Show name and value pairs; a value of `null` hides its pair. */
function facts(list, pairs) {
  const shown = pairs.filter(([, value]) => value !== null);
  keyed(list, shown.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]), ([tag, name]) => tag + name,
    ([tag]) => h(tag), (element, [, , value]) => text(element, value));
}

/** Show the newest items first, some at most, drawn once a frame. */
function feed(id, make) {
  let items = [], added = 0, frame = 0;
  const draw = () => {
    frame = 0;
    keyed($(id), items, ({ key }) => key, ({ item }) => make(item));
  };
  return (...more) => {
    items = more.length ? [{ key: ++added, item: more[0] }, ...items].slice(0, MOST_ROWS) : [];
    frame ||= requestAnimationFrame(draw);
  };
}

const SHAPES = {
  flows: ["M2 8h9", "m8 4 4 4-4 4"],
  waits: ["M8 3v5l3 2", "M8 1.5a6.5 6.5 0 1 0 .01 0z"],
  broken: ["m3.5 3.5 9 9", "m12.5 3.5-9 9"],
  locked: ["M3.5 7h9v7h-9z", "M5.5 7V5a2.5 2.5 0 0 1 5 0v2"],
  paused: ["M5.5 3v10", "M10.5 3v10"],
  stopped: ["M3.5 3.5h9v9h-9z"],
};

const shape = (name) => h("svg", { class: "shape", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
  ...SHAPES[name].map((d) => h("path", { d })));

function say(sentence) {
  text($("says"), sentence);
}

// --- asking

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function token() {
  try { return sessionStorage.getItem("edgerouter-token") ?? ""; } catch { return ""; }
}

function keepToken(value) {
  try {
    if (value) sessionStorage.setItem("edgerouter-token", value);
    else sessionStorage.removeItem("edgerouter-token");
  } catch { /* storage is off: the router keeps refusing */ }
}

function headers(more = {}) {
  return token() ? { ...more, Authorization: `Bearer ${token()}` } : more;
}

async function requested(path, options) {
  const answer = await fetch(`api/v1/${path}`, { cache: "no-store", redirect: "error", ...options });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.detail ?? `the router answers ${answer.status}`);
}

/** Ask the admin API. A body makes it a change. */
async function ask(path, { method = "GET", body, seconds = ANSWER_MS / 1000 } = {}) {
  const answer = await requested(path, {
    method,
    headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(seconds * 1000),
  });
  return answer.json();
}

/** Yield server-sent events as [event, data, id]. `fetch` reads them, since `EventSource` sends no token. */
async function* stream(path, signal) {
  const answer = await requested(path, { headers: headers({ Accept: "text/event-stream" }), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: "", id: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, name, content] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
        if (name === "data") fields.data += content;
        else if (name) fields[name] = content;
      }
      if (fields.data) yield [fields.event, JSON.parse(fields.data), fields.id];
    }
  }
}

const said = (error) => clean(error.message, ERROR_CHARS);
const needsToken = (error) => error instanceof Refused && (error.status === 401 || error.status === 403);

// --- the state of the page

const app = {
  status: null,
  samples: [], // {at, status}, oldest first
  lastAnswer: 0,
  states: new Map(),
  offset: 0,
  serverNow: () => Date.now() / 1000 + app.offset,
};

/** Return the growth a second of a number of the status; `null` while it is unknown. */
function rate(pick, seconds = RATE_SECONDS) {
  const last = app.samples.at(-1);
  const first = app.samples.find((sample) => last.at - sample.at <= seconds + 0.5);
  const from = pick(first.status), to = pick(last.status);
  if (first === last || from === undefined || to === undefined) return null;
  return (to - from) / (last.at - first.at);
}

const positive = (value) => (value === null ? null : Math.max(0, value));
const sinkRate = (name) => positive(rate((status) => status.sinks[name]?.delivered));
const sourceRate = (name) => positive(rate((status) => status.sources[name]?.messages));

/** Words, shape and cure for each state of a sink. */
const STATES = {
  starting: ["waits", "warn", "Starting", "It opens its connection. If this lasts, look at the last error."],
  ok: ["flows", "", "Delivering", ""],
  idle: ["flows", "", "Idle, nothing waits", ""],
  behind: ["flows", "warn", "Delivers, but is behind", "If the oldest gets older, the service takes less than comes in: larger batches, more concurrency, or drain: live_first."],
  stuck: ["waits", "warn", "Delivers nothing", "Messages wait and no write ends. Look at the service's latency, and at timeout and rate."],
  retrying: ["broken", "broken", "Cannot deliver, retrying", "Its messages wait in the spool and are retried for ever. Look at the last error, the network and the service. With “no answer within”: a longer timeout or a smaller batch.max_bytes."],
  throttled: ["waits", "warn", "Slowed down by the service", "Its wait is honoured and fewer writes run at once. If the backlog grows: larger batches, a rate, or more quota."],
  unauthorized: ["locked", "broken", "Refused by the service", "Correct the credentials, the permission or the destination that the last error names. Secrets are read again, and the sink reopens by itself; nothing is lost."],
  stopped: ["stopped", "held", "Stopped", "The router is stopping, or a reload replaces the sink. If this lasts, look at the router's log."],
  paused: ["paused", "held", "Paused by an operator", "Its messages wait in the spool. Resume it when the service may receive them."],
};

const SPOOL_CURES = {
  full: "Its limit is reached, so no message is accepted until a sink settles some. Bring back the sink with the most pending messages, or raise spool.max_bytes.",
  read_only: "The file system is read-only. Remount it and check the disk; the router resumes by itself.",
  failing: "The disk fails. Check it, then the router's log; the router resumes by itself.",
};

function stateOf(sink) {
  if (sink.state !== "ok") return STATES[sink.state] ? sink.state : "stuck";
  if (!sink.pending && !sink.uncounted) return sink.idle_seconds !== null && sink.idle_seconds < 5 ? "ok" : "idle";
  const idle = sink.idle_seconds ?? app.status.uptime_seconds;
  const oldest = sink.oldest_pending_seconds ?? idle;
  const patience = Math.max(60, sink.patience_seconds);
  return oldest < patience ? "ok" : idle < patience ? "behind" : "stuck";
}

const sourceState = (source) => (source.paused ? "paused" : source.connected ? "flows" : "broken");

// --- polling

async function poll() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function look() {
  try {
    answered(await ask("status"));
  } catch (error) {
    unanswered(error);
  }
}

function answered(status) {
  const restarted = app.status && app.status.started_at !== status.started_at;
  if (restarted) app.samples = [];
  app.samples.push({ at: performance.now() / 1000, status });
  if (app.samples.length > HISTORY) app.samples.shift();
  app.offset = status.started_at + status.uptime_seconds - Date.now() / 1000;
  app.status = status;
  app.lastAnswer = Date.now();
  const back = document.body.dataset.link === "lost";
  document.body.dataset.link = "live";
  text($("link"), "Live");
  $("lost").hidden = true;
  show(status);
  if (back || restarted) say("The router answers again");
}

function unanswered(error) {
  const denied = needsToken(error);
  document.body.dataset.link = "lost";
  text($("link"), denied ? "Token needed" : "No answer");
  const since = app.lastAnswer ? ` since ${moment(app.lastAnswer / 1000)}; the numbers below are from then` : "";
  const why = denied ? `The router does not show this without a token: ${said(error)}`
    : error instanceof Refused ? `The router answers: ${said(error)}`
      : `The router does not answer${since}. Trying again every second. See systemctl status edgerouter and its log.`;
  $("lost").hidden = false;
  text($("lost"), why);
  if (!app.status) text($("verdict"), denied ? "A token is needed" : "No answer from the router");
  if (denied) askForToken(error.message, true);
}

// --- the whole

function show(status) {
  text($("host"), clean(status.host));
  document.title = `${clean(status.host, 60)} – edgerouter`;
  text($("verdict"), verdict(status));
  text($("about"), `Version ${clean(status.version)}, up ${duration(status.uptime_seconds)}, configured by ${clean(status.configuration, 300)}`);
  showNotices(status);
  showPicture(status);
  showSpool(status);
  showSources(status);
  showCards(status);
  showCertificates(status);
  choices($("dead-sink"), Object.keys(status.sinks));
  choices($("tap-sink"), Object.keys(status.sinks));
  tap.offer();
  letters.follow(status);
}

const VERDICTS = [["does not deliver", "retrying", "unauthorized", "stuck"], ["is slowed down", "throttled"], ["is behind", "behind"], ["is paused", "paused"]];

/** Return one sentence: all that needs an operator, or nothing. */
function verdict(status) {
  const problems = [];
  const sinks = Object.entries(status.sinks).map(([name, sink]) => [name, sink, stateOf(sink)]);
  const names = (found) => list(found.map(([name]) => name));
  if (status.spool.state !== "ok") problems.push(`The spool is ${status.spool.state.replace("_", "-")}`);
  const lost = Object.entries(status.sources).filter(([, source]) => sourceState(source) === "broken");
  if (lost.length) problems.push(`${names(lost)} ${lost.length === 1 ? "is" : "are"} not connected`);
  for (const [verb, ...states] of VERDICTS) {
    const found = sinks.filter(([, , state]) => states.includes(state));
    const waiting = found.reduce((sum, [, sink]) => sum + sink.pending, 0);
    const verbs = found.length === 1 ? verb : verb.replace("does", "do").replace("is", "are");
    if (found.length) problems.push(`${names(found)} ${verbs}${waiting ? `, ${counted(waiting, "message")} waiting` : ""}`);
  }
  const silent = Object.values(status.sources).reduce((sum, source) => sum + (source.silence?.silent ?? 0), 0);
  if (silent) problems.push(`${counted(silent, "expected topic")} silent`);
  if (status.draining) problems.push("Draining: no more messages are accepted, and the router ends once the spool is delivered");
  if (problems.length) return problems.join("; ");
  return sinks.length ? "Messages reach every sink" : "The router starts";
}

function list(names) {
  const shown = names.slice(0, 3).map((name) => clean(name, 60));
  return names.length > 3 ? `${shown.join(", ")} and ${names.length - 3} more` : shown.join(" and ");
}

function showNotices(status) {
  const loop = status.event_loop;
  const notices = [];
  if (status.configuration_error) notices.push(["refused", true, "The last change of the configuration was refused; the one before it stays in effect. Correct the file:", status.configuration_error]);
  for (const [name, sink] of Object.entries(status.sinks)) {
    if (sink.ledger_error) notices.push([`ledger ${name}`, true, `The numbers of ${name} do not add up. Please report this with the log:`, sink.ledger_error]);
  }
  for (const drop of status.drops) {
    notices.push([`drop ${drop.sink} ${drop.topic} ${drop.reason}`, false, `Dropped ${counted(drop.messages, "message")} at ${drop.sink || "intake"}, topic ${clean(drop.topic)}: ${clean(drop.reason)}`]);
  }
  for (const [name, sink] of Object.entries(status.detached)) {
    notices.push([`detached ${name}`, false, `${name} is not configured any more; ${counted(sink.pending, "message")} still wait for it. Give them up with: ${command("forget", name)}`]);
  }
  if (loop.last_pause_at && app.serverNow() - loop.last_pause_at < 3600) {
    notices.push(["loop", false, `${clean(loop.last_holder)} blocked the router for ${duration(loop.last_pause_seconds)}, ${ago(loop.last_pause_at)}; every sink and source waited. Update that plugin.`]);
  }
  keyed($("notices"), notices.slice(0, 20), ([key]) => key, ([, bad]) => div(bad ? "notice bad" : "notice", h("p"), h("pre")),
    (row, [, , sentence, detail]) => { text(row.firstChild, sentence); text(row.lastChild, detail ? clean(detail, ERROR_CHARS, true) : ""); });
}

function choices(select, names) {
  if (select.known === names.join("\n")) return;
  select.known = names.join("\n");
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => h("option", { value: name }, clean(name))));
  select.value = names.includes(chosen) ? chosen : "";
}

// --- the picture

function fitted(value, width) {
  const most = Math.max(3, Math.floor(width / 8));
  const shown = clean(value, 60);
  return shown.length > most ? `${shown.slice(0, most - 1)}…` : shown;
}

function showPicture(status) {
  const box = $("picture");
  const width = Math.max(260, box.clientWidth);
  const sources = Object.entries(status.sources), sinks = Object.entries(status.sinks);
  const side = Math.min(230, Math.max(104, width * 0.24)), middle = Math.min(200, Math.max(70, width * 0.17));
  const step = 56, high = 46;
  const longest = Math.max(sources.length, sinks.length), rows = Math.max(1, Math.min(MOST_DRAWN, longest));
  const height = rows * step - (step - high);
  const at = { width, side, middle, left: (width - middle) / 2, high };
  const more = longest > MOST_DRAWN ? 22 : 0;
  const picture = h("svg", { viewBox: `0 0 ${width} ${height + more}`, height: height + more, role: "img", "aria-label": "Sources, spool and sinks; details below" });
  const column = (items, draw) => {
    const drawn = items.slice(0, MOST_DRAWN);
    const top = (height - (drawn.length * step - (step - high))) / 2;
    drawn.forEach(([name, item], index) => picture.append(draw(name, item, top + index * step, at)));
  };
  column(sources, drawSource);
  column(sinks, drawSink);
  picture.append(drawSpool(status.spool, height, at));
  if (more) picture.append(label("small right", width, height + 17, `and ${longest - MOST_DRAWN} more below`));
  box.replaceChildren(picture);
}

function drawSource(name, source, y, at) {
  const state = sourceState(source), perSecond = sourceRate(name);
  const line = source.paused ? "paused" : source.connected ? `${rateText(perSecond)}/s` : "offline";
  return h("g", { class: state === "broken" ? "broken" : state === "paused" ? "held" : "" },
    ...pipe(at.side, at.left, y + at.high / 2, state === "flows" ? perSecond : 0),
    ...boxed(0, y, name, line, state, at));
}

function drawSink(name, sink, y, at) {
  const [symbol, look, words] = STATES[stateOf(sink)], perSecond = sinkRate(name), right = at.left + at.middle;
  const line = look === "broken" ? "failing" : look === "held" ? words.split(" ")[0].toLowerCase() : `${rateText(perSecond)}/s`;
  const room = at.width - at.side - right;
  const waiting = sink.pending && room > 110
    ? label("small mid", right + room / 2, y + at.high / 2 - 8, `${number(sink.pending)} waiting`) : null;
  return h("g", { class: look }, ...pipe(right, at.width - at.side, y + at.high / 2, look === "held" ? 0 : perSecond), waiting,
    ...boxed(at.width - at.side, y, name, line, symbol, at));
}

/** Draw a line; dots run along it, faster and thicker with the rate. */
function pipe(from, to, y, perSecond) {
  const parts = [h("line", { class: "pipe", x1: from, x2: to, y1: y, y2: y })];
  if (perSecond > 0) {
    const strength = Math.min(1, Math.log10(1 + perSecond) / 4);
    const flow = h("line", { class: "flow", x1: from + 4, x2: to - 2, y1: y, y2: y, "stroke-width": 3 + 3 * strength });
    flow.style.setProperty("--pace", `${(1.2 - strength).toFixed(2)}s`);
    // the dots continue where they were
    flow.style.animationDelay = `-${((performance.now() / 1000) % 60).toFixed(3)}s`;
    parts.push(flow);
  }
  return parts;
}

function boxed(x, y, name, line, symbol, at) {
  const mark = shape(symbol);
  mark.setAttribute("x", x + at.side - 24);
  mark.setAttribute("y", y + 15);
  return [
    h("rect", { x: x + 0.5, y: y + 0.5, width: at.side - 1, height: at.high - 1, rx: 3 }),
    label("name", x + 10, y + 19, fitted(name, at.side - 34), h("title", {}, clean(name))),
    label("small", x + 10, y + 36, fitted(line, at.side - 34)), mark,
  ];
}

function drawSpool(spool, height, at) {
  const full = Math.min(1, spool.bytes / spool.max_bytes || 0), centre = at.left + at.middle / 2;
  const level = Math.max(2, (height - 2) * full);
  return h("g", { class: spool.state === "ok" ? "" : "broken" },
    h("rect", { x: at.left, y: 0, width: at.middle, height, rx: 3 }),
    h("rect", { class: "level", x: at.left + 1, y: height - 1 - level, width: at.middle - 2, height: level, rx: 2 }),
    label("name mid", centre, height / 2 - 3, "spool"),
    label("small mid", centre, height / 2 + 14, `${share(spool.bytes, spool.max_bytes)} %${at.middle > 120 ? " full" : ""}`));
}

// --- spool, sources, sinks, certificates

function showSpool(status) {
  const spool = status.spool, used = share(spool.bytes, spool.max_bytes);
  $("spool-bar").style.width = `${Math.min(100, used)}%`;
  $("spool").className = spool.state !== "ok" || used >= 80 ? "spool tight" : "spool";
  text($("spool-room"), `${size(spool.bytes)} of ${size(spool.max_bytes)} used (${used} %), ${timeLeft(spool)}`);
  $("spool-state").hidden = spool.state === "ok";
  text($("spool-state"), `${spool.state.replace("_", "-")}: ${clean(spool.reason, ERROR_CHARS)}. ${SPOOL_CURES[spool.state] ?? ""}`);
  facts($("spool-numbers"), [
    ["Messages held", number(spool.messages)],
    ["Type", clean(spool.type)],
    ["Dead letters", number(spool.dead_letters)],
    ["Disk free", spool.free_bytes === null ? null : size(spool.free_bytes)],
    ["Damaged messages", spool.quarantined_messages ? number(spool.quarantined_messages) : null],
  ]);
}

function timeLeft(spool) {
  const growth = rate((status) => status.spool.bytes, HISTORY);
  if (growth === null) return "measuring its growth";
  if (growth < 1) return "not growing";
  const room = Math.min(spool.max_bytes - spool.bytes, spool.free_bytes ?? Infinity);
  return room <= 0 ? "full" : `full in ${duration(room / growth)} at the present rate`;
}

function showSources(status) {
  keyed($("sources"), Object.entries(status.sources), ([name]) => name, ([name]) => makeSource(name), (row, [name, source]) => {
    const { symbol, reason, perSecond, total, steer } = row.parts, state = sourceState(source);
    if (symbol.dataset.state !== state) {
      symbol.dataset.state = state;
      symbol.className = state === "broken" ? "bad" : "";
      symbol.replaceChildren(shape(state));
    }
    text(reason, source.paused ? "Paused by an operator; the broker keeps its messages"
      : source.connected ? `connected${silent(source)}` : `not connected, retrying: ${clean(source.reason, ERROR_CHARS)}`);
    reason.className = state === "broken" || source.silence?.silent ? "reason bad-text" : "reason quiet";
    text(perSecond, `${rateText(sourceRate(name))}/s`);
    text(total, `${number(source.messages)} total`);
    steer.update(source.paused === true);
  });
}

/** Name silent topics. */
function silent(source) {
  const { silent: count, topics } = source.silence ?? {};
  if (!count) return "";
  const named = topics.slice(0, 3).map((topic) => `${clean(topic.topic)} for ${duration(topic.seconds)}`);
  return `; ${counted(count, "expected topic")} silent: ${named.join(", ")}${count > named.length ? ", …" : ""}. Look at these devices.`;
}

function makeSource(name) {
  const parts = {
    symbol: span(""), reason: span(""), perSecond: span("n"), total: span("n total quiet"), steer: steering("source", name),
  };
  const row = div("row source", parts.symbol, h("b", {}, foreign(name)), parts.reason, parts.perSecond, parts.total, parts.steer.button, parts.steer.line);
  row.parts = parts;
  return row;
}

/** Make the button that pauses or resumes, with its command. */
function steering(kind, name) {
  const button = h("button", { type: "button" }), same = h("code");
  let paused = false;
  const words = () => [paused ? "resume" : "pause", ...(kind === "source" ? ["--source"] : []), name];
  button.addEventListener("click", () => change(`${kind}s/${encodeURIComponent(name)}/${words()[0]}`, {}, `${name}: ${words()[0]}d`, button));
  const line = span("command", same);
  const update = (now) => {
    paused = now;
    text(button, paused ? "Resume" : "Pause");
    button.setAttribute("aria-label", `${paused ? "Resume" : "Pause"} ${clean(name)}`);
    text(same, command(...words()));
  };
  return { button, line, update };
}

function showCards(status) {
  keyed($("cards"), Object.entries(status.sinks), ([name]) => name, ([name, sink]) => makeCard(name, sink), (card, [name, sink]) => updateCard(card, name, sink));
}

let cards = 0;

function makeCard(name, sink) {
  const parts = {
    symbol: h("span", { "aria-hidden": "true" }), words: span(""), todo: h("p", { class: "todo" }), perSecond: h("b"),
    line: h("polyline", { points: "" }), latency: span(""), numbers: h("dl", { class: "facts" }), error: h("div", { class: "error", tabindex: "0", role: "group" }),
    steer: steering("sink", name),
  };
  const id = `card-${++cards}`;
  const card = h("article", { class: "card", "aria-labelledby": id },
    h("header", {}, h("h3", { id }, foreign(name)), span("", clean(sink.type))),
    h("p", { class: "state" }, parts.symbol, parts.words), parts.todo,
    div("rate", span("", parts.perSecond, h("small", {}, " messages/s")),
      div("spark", h("svg", { viewBox: "0 0 120 26", preserveAspectRatio: "none", "aria-hidden": "true" }, parts.line), parts.latency)),
    parts.numbers, parts.error, div("steer", parts.steer.button, parts.steer.line));
  card.parts = parts;
  return card;
}

function updateCard(card, name, sink) {
  const state = stateOf(sink), [symbol, look, words, cure] = STATES[state], parts = card.parts;
  if (app.states.get(name) !== state) {
    if (app.states.has(name) && !(state === "idle" || (state === "ok" && app.states.get(name) === "idle"))) say(`${clean(name)}: ${words}`);
    app.states.set(name, state);
    card.className = `card ${look}`;
    card.dataset.state = state;
    parts.symbol.replaceChildren(shape(symbol));
  }
  text(parts.words, words);
  text(parts.todo, cure);
  parts.todo.hidden = !cure;
  text(parts.perSecond, rateText(sinkRate(name)));
  text(parts.latency, sink.last_delivery_at ? `latency ${duration(sink.latency_seconds)}` : "no delivery yet");
  spark(parts.line, name);
  facts(parts.numbers, [
    ["Pending", number(sink.pending) + (sink.uncounted ? "+" : "")],
    ["Oldest", sink.oldest_pending_seconds === null ? "–" : duration(sink.oldest_pending_seconds)],
    ["Delivered", number(sink.delivered)],
    ["Filtered", number(sink.filtered)],
    ["Dead letters", number(sink.dead_lettered)],
    ["Dropped", number(sink.dropped)],
  ]);
  showLastError(parts.error, sink, name);
  parts.steer.update(state === "paused");
}

/** An error of the past stays in sight, paler, for an hour. */
function showLastError(element, sink, name) {
  const present = !["ok", "starting", "paused"].includes(sink.state);
  const recent = sink.last_error_at && app.serverNow() - sink.last_error_at < 3600;
  element.hidden = !sink.last_error || !(present || recent);
  element.className = present ? "error" : "error past";
  element.setAttribute("aria-label", `Last error of ${clean(name)}`);
  if (element.hidden) return;
  const when = sink.last_error_at ? `${ago(sink.last_error_at)}: ` : "";
  text(element, when + clean(sink.last_error, ERROR_CHARS));
}

function spark(line, name) {
  const samples = app.samples.slice(-120).map((sample) => sample.status.sinks[name]?.latency_seconds ?? 0);
  const most = Math.max(...samples, 0.001);
  const points = samples.map((value, index) => `${(120 - (samples.length - 1 - index)).toFixed(0)},${(24.5 - (22 * value) / most).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
}

function showCertificates(status) {
  const items = status.certificates;
  $("certificate-none").hidden = items.length > 0;
  keyed($("certificate-rows"), items, (item) => `${item.owner}.${item.field} ${item.file}`,
    (item) => div("row certificate", span("", foreign(`${item.owner}.${item.field}`)), span("mono file quiet", foreign(item.file, 300)), span("n")),
    (row, item) => {
      const days = item.days_left, last = row.lastChild;
      last.className = days === null || days < 14 ? "n bad-text" : "n";
      text(last, days === null ? clean(item.problem, ERROR_CHARS) : days <= 0 ? `expired ${duration(-days * 86400)} ago` : `${days < 14 ? "renew it: " : ""}${days < 2 ? duration(days * 86400) : `${Math.floor(days)} days`} left`);
    });
}

// --- changes

/** Make a change; say what came of it. Return the answer, or `null` where it was refused. */
async function change(path, body, done, button) {
  // not disabled, which would take the focus from the keyboard's user
  if (button.ariaBusy === "true") return null;
  button.ariaBusy = "true";
  try {
    const answer = await ask(path, { method: "POST", body, seconds: 600 });
    const sentence = typeof done === "function" ? done(answer) : done;
    say(sentence);
    await look();
    return answer ?? {};
  } catch (error) {
    const sentence = `Not done: ${said(error)}`;
    if (needsToken(error)) askForToken(error.message, true);
    else notify(sentence);
    return null;
  } finally {
    button.ariaBusy = "false";
  }
}

function notify(sentence) {
  say(sentence);
  const notice = div("notice bad", h("p", {}, sentence));
  $("notices").before(notice);
  setTimeout(() => notice.remove(), 15000);
}

function confirmed(title, sentence, yes, same) {
  text($("confirm-title"), title);
  text($("confirm-text"), sentence);
  text($("confirm-yes"), yes);
  text($("confirm-command"), same);
  const dialog = $("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

let declined = false;

/** Open the field for a token; unasked only once. */
function askForToken(why, unasked = false) {
  if ($("token").open || (unasked && declined)) return;
  declined = true;
  if (why) text($("token-why"), clean(why, ERROR_CHARS));
  $("token-value").value = "";
  $("token").showModal();
}

// --- dead letters

const letters = {
  seen: -1, // dead letters in the spool when the list was read
  items: [],
  next: null,
  busy: false,

  filter: () => Object.fromEntries([["sink", $("dead-sink").value], ["topic", $("dead-topic").value.trim()]].filter(([, value]) => value)),

  options: () => Object.entries(letters.filter()).flatMap(([name, value]) => [`--${name}`, value]),

  /** Read the list again when their number has changed. */
  follow(status) {
    text($("dead-total"), number(status.spool.dead_letters));
    if (status.spool.dead_letters !== letters.seen && !letters.busy) letters.read();
  },

  async read(after = null) {
    letters.busy = true;
    letters.seen = app.status?.spool.dead_letters ?? -1;
    try {
      const page = await ask(`dead-letters?${new URLSearchParams({ ...letters.filter(), limit: 10, ...(after === null ? {} : { after }) })}`);
      letters.items = after === null ? page.items : [...letters.items, ...page.items];
      letters.next = page.next;
      letters.show(page.total);
    } catch (error) {
      text($("dead-note"), `The list cannot be read: ${said(error)}`);
    } finally {
      letters.busy = false;
    }
  },

  show(total) {
    const shown = letters.items.length;
    text($("dead-note"), total ? `${number(shown)} of ${number(total)}, oldest first` : Object.keys(letters.filter()).length ? "None match." : "There are none.");
    $("dead-replay").disabled = $("dead-purge").disabled = !total;
    $("dead-more").hidden = letters.next === null;
    keyed($("dead-rows"), letters.items, (letter) => letter.number, letters.row);
  },

  row(letter) {
    const id = String(letter.number);
    const act = (name, title, run, kind = "") => h("button", { type: "button", class: kind, "aria-label": `${title} dead letter ${id}`, onclick: run }, name);
    return div("row dead",
      span("n", id), span("quiet", moment(Date.parse(letter.last_attempt) / 1000)), h("b", {}, foreign(letter.sink)),
      span("mono topic", foreign(letter.message.topic)),
      span("buttons",
        act("Show", "Show", () => letters.open(letter)),
        act("Replay", "Replay", (event) => letters.replay({ numbers: [letter.number] }, event.target)),
        act("Purge…", "Purge", (event) => letters.purge({ numbers: [letter.number] }, 1, [id], event.target))),
      span("why", foreign(`${letter.error}: ${letter.reason}`, PREVIEW_CHARS),
        h("code", { class: "command" }, command("dead-letters", "replay", id))));
  },

  async replay(which, button) {
    if (await change("dead-letters/replay", which, (answer) => `${counted(answer.messages, "message")} will be sent again`, button)) await letters.read();
  },

  async purge(which, count, words, button) {
    const sure = await confirmed(`Purge ${counted(count, "dead letter")}?`, "They are thrown away for ever, and count as dropped.", "Purge for ever",
      command("dead-letters", "purge", ...words));
    if (sure && await change("dead-letters/purge", which, (answer) => `${counted(answer.messages, "dead letter")} thrown away`, button)) await letters.read();
  },

  open(letter) {
    const message = letter.message, id = String(letter.number);
    text($("letter-title"), `Dead letter ${id}`);
    const { topic, payload, ...others } = message;
    const numbers = h("dl", { class: "facts" });
    facts(numbers, [
      ["Sink", clean(letter.sink)],
      ["Reason", clean(`${letter.error}: ${letter.reason}`, ERROR_CHARS)],
      ["Topic", clean(topic, ERROR_CHARS)],
      ["Attempts", `${number(letter.attempts)}, the last at ${clean(letter.last_attempt)}`],
    ]);
    const body = typeof payload === "string" ? payload : JSON.stringify(payload, null, 2);
    const block = (name, content) => [h("h3", {}, name), h("pre", { tabindex: "0", "aria-label": name }, foreign(content, WHOLE_CHARS, true))];
    $("letter-body").replaceChildren(numbers, ...block("Payload", body), ...block("Other fields", JSON.stringify(others, null, 2)),
      h("p", { class: "command" }, h("code", {}, command("dead-letters", "show", id))));
    $("letter").showModal();
  },
};

// --- tap

const tap = {
  add: feed("tap-rows", (item) => div("row tapped",
    span("quiet", moment(item.at)), span("mono topic", foreign(item.topic)),
    span("mono text", foreign(item.hidden ? `(${item.hidden})` : item.payload, ERROR_CHARS), item.cut ? "…" : "",
      ...item.user_properties.map(([name, value]) => div("quiet", foreign(`${name}: ${value}`)))),
    span("n quiet", size(item.size)))),
  running: null,

  query() {
    const sink = $("tap-sink").value;
    return { topic: $("tap-topic").value.trim() || "#", ...(sink && { sink, after_steps: $("tap-after").checked }) };
  },

  offer() {
    const { topic, sink, after_steps: after } = tap.query();
    $("tap-after").disabled = !sink;
    text($("tap-command"), command("tap", topic, ...(sink ? ["--sink", sink] : []), ...(after ? ["--after-steps"] : [])));
  },

  async run() {
    if (tap.running) return tap.running.abort();
    const { signal } = (tap.running = new AbortController()), query = tap.query();
    let shown = 0, missed = 0, end = "The router ended the tap.";
    tap.add();
    text($("tap-go"), "Stop");
    text($("tap-note"), `Messages that match ${clean(query.topic)}:`);
    try {
      for await (const [event, data] of stream(`tap?${new URLSearchParams(query)}`, signal)) {
        if (event === "missed") missed += data.messages;
        else if ($("tap-pause").checked) missed += 1;
        else {
          shown += 1;
          tap.add(data);
        }
        text($("tap-count"), `${number(shown)} shown, ${number(missed)} left out`);
      }
    } catch (error) {
      end = signal.aborted ? "Stopped." : said(error);
      if (error.status === 401) askForToken(error.message);
    }
    tap.running = null;
    text($("tap-go"), "Start");
    text($("tap-note"), end);
  },
};

// --- events

const events = {
  last: 0,

  async follow() {
    for (;;) {
      try {
        for await (const [event, data] of stream(`events?after=${events.last}`)) {
          if (event === "missed") text($("events-note"), `${counted(data.events, "older event")} are not held any more.`);
          else events.received(data);
        }
      } catch (error) {
        if (error instanceof Refused) text($("events-note"), said(error));
      }
      await new Promise((resolve) => setTimeout(resolve, 2 * POLL_MS));
    }
  },

  received(event) {
    events.last = event.id;
    events.add(event);
  },

  add: feed("event-rows", (event) => {
    const what = [event.text.startsWith(event.state) ? "" : event.state, event.text, event.messages ? counted(event.messages, "message") : "", event.by && `by ${event.by}`];
    return div(event.level === "info" ? "row event" : "row event bad-text",
      span("quiet", moment(event.at)), h("b", {}, foreign([event.kind.replace("_", " "), event.subject].filter(Boolean).join(" "))),
      span("text", foreign(what.filter(Boolean).join(", "), PREVIEW_CHARS)));
  }),
};

// --- configuration

const configuration = {
  values: [],

  async read() {
    try {
      const values = [];
      for (let after = 0; after !== null;) {
        const page = await ask(`configuration?after=${after}`);
        values.push(...page.items);
        after = page.next;
      }
      configuration.values = values;
      configuration.show();
    } catch (error) {
      text($("configuration-note"), said(error));
    }
  },

  show() {
    const find = $("configuration-find").value.trim().toLowerCase(), all = $("configuration-all").checked;
    const shown = configuration.values.filter((item) => (all || item.origin !== "default") && item.path.toLowerCase().includes(find));
    text($("configuration-note"), `${number(shown.length)} of ${counted(configuration.values.length, "value")}; secrets are masked. The same: ${command("config")}`);
    keyed($("configuration-rows"), shown, (item) => `${item.path} ${item.value}`, (item) => div("row value",
      span("mono", foreign(item.path)), span("mono", foreign(item.value, PREVIEW_CHARS)), span("quiet", foreign(item.origin, 300))));
  },
};

// --- wiring

const on = (id, event, run) => $(id).addEventListener(event, run);
const submitted = (id, run) => on(id, "submit", (event) => { event.preventDefault(); run(event); });

on("token-button", "click", () => askForToken(""));
on("token-forget", "click", () => { keepToken(""); $("token").close(); restart(); });
submitted("token-form", () => { keepToken($("token-value").value.trim()); $("token-value").value = ""; $("token").close(); restart(); });
submitted("dead-filter", () => letters.read());
on("dead-sink", "change", () => letters.read());
on("dead-more", "click", () => letters.read(letters.next));
on("dead-replay", "click", (event) => letters.replay(letters.filter(), event.target));
on("dead-purge", "click", async (event) => {
  const { total } = await ask(`dead-letters?${new URLSearchParams({ ...letters.filter(), limit: 1 })}`).catch(() => ({ total: letters.items.length }));
  letters.purge(letters.filter(), total, letters.options(), event.target);
});
submitted("tap-form", tap.run);
on("tap-form", "input", tap.offer);
submitted("configuration-form", () => configuration.read());
on("configuration-find", "input", configuration.show);
on("configuration-all", "change", configuration.show);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
new ResizeObserver(() => { if (app.status) showPicture(app.status); }).observe($("picture"));

/** Ask for everything again, with another token. */
function restart() {
  look();
  letters.read();
  configuration.read();
}

poll();
events.follow();
configuration.read();
