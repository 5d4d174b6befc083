
"use strict";
// All that comes from the worker is set as text and never as markup: ids and reasons are what anybody sent.

const EVERY_MS = 2000;
const by = (id) => document.getElementById(id);
const say = (id, text) => { by(id).textContent = text; };

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What others wrote, by itself and without what would turn or hide the text around it. */
function foreign(text, className) {
  const harmless = text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  return element("bdi", className, harmless);
}

const grouped = (number) => Math.round(number).toLocaleString("en");
const rate = (number) => (number >= 100 ? grouped(number) : String(Math.round(number * 10) / 10));
const percent = (ratio) => (ratio * 100).toFixed(1) + " %";

function span(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 120) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  if (seconds < 172800) return Math.floor(seconds / 3600) + " h " + Math.floor((seconds % 3600) / 60) + " min";
  return Math.floor(seconds / 86400) + " days";
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) { number /= 1024; unit += 1; }
  return (unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)) + " " + units[unit];
}

/** Day and time of day. */
const plain = (iso) => iso.replace("T", " ").replace(/\.\d+Z$/, "");
/** The day only where it is not today. */
const time = (iso, now) => (iso.slice(0, 10) === now.slice(0, 10) ? plain(iso).slice(11) : plain(iso));

const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

function line(svg, className, values, max) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const last = Math.max(1, values.length - 1);
  const points = values.map((value, at) => (300 * at / last).toFixed(1) + "," + (57 - 54 * value / max).toFixed(1));
  shape.setAttribute("class", className);
  shape.setAttribute("points", points.join(" "));
  svg.append(shape);
}

function charts(points) {
  const flow = by("chart-flow"), lag = by("chart-lag");
  const most = Math.max(0, ...points.map((point) => Math.max(point.received, point.stored)));
  const lags = points.map((point) => point.lag ?? 0), longest = Math.max(0, ...lags);
  flow.replaceChildren();
  lag.replaceChildren();
  if (points.length > 1) {
    line(flow, "in", points.map((point) => point.received), most || 1);
    line(flow, "out", points.map((point) => point.stored), most || 1);
    line(lag, "lag", lags, longest || 1);
  }
  say("flow-max", rate(most));
  say("lag-max", grouped(longest));
}

function dependency([name, status], now) {
  const item = element("li");
  item.append(element("span", "state " + status.state, status.state), element("strong", "", name), " ");
  item.append(element("span", "since", "since " + time(status.since, now) + " UTC (" + span(between(status.since, now)) + ")"));
  if (status.lastError) {
    item.append(element("div", "error", status.lastError));
  } else if (status.lastOutage) {
    const { began, ended, error } = status.lastOutage;
    item.append(element("div", "error over", "before that down for " + span(between(began, ended)) + ": " + error));
  }
  return item;
}

function flush(stage) {
  const row = element("tr");
  const cells = stage.count === 0 ? ["0", "", "", ""]
    : [grouped(stage.count), grouped(stage.events), span(stage.meanSeconds), span(stage.maxSeconds)];
  row.append(element("td", "", stage.stage), ...cells.map((text) => element("td", "", text)));
  return row;
}

function step(of, most) {
  const row = element("div", "step"), bar = element("div", "bar"), full = element("span");
  full.style.width = Math.min(100, 100 * of.outputCount / most) + "%";
  bar.append(full);
  const name = foreign(of.stepName, "name");
  name.title = of.stepName;
  const figures = grouped(of.inputCount) + " → " + grouped(of.outputCount) + " (" + percent(of.eliminationRatio) + " fewer); "
    + grouped(of.keptCount) + " kept, " + grouped(of.eliminatedCount) + " eliminated, " + grouped(of.scoredCount) + " scored";
  row.append(name, bar, element("span", "figures", figures));
  return row;
}

function run(of, now, isOpen) {
  const item = element("details"), head = element("summary");
  const known = ["pending", "running", "completed", "failed", "cancelled"].includes(of.status) ? of.status : "";
  head.append(foreign(of.runId, "id"), element("span", "status " + known, of.status), foreign(of.pipelineId), "  ");
  head.append(element("span", "since", of.totalSteps + " steps, " + grouped(of.inputCount) + " → " + grouped(of.outputCount)
    + ", started " + time(of.startedAt, now) + " UTC"));
  item.append(head);
  item.dataset.run = of.runId;
  item.open = isOpen;
  if (of.error) item.append(foreign(of.error, "error"));
  const funnel = element("div", "funnel");
  const most = Math.max(1, ...of.steps.map((one) => Math.max(one.inputCount, one.outputCount)));
  funnel.append(...of.steps.map((one) => step(one, most)));
  if (of.totalSteps > of.steps.length) funnel.append(element("p", "note", "and " + (of.totalSteps - of.steps.length) + " more steps"));
  item.append(funnel);
  return item;
}

function letter(of, now) {
  const item = element("li");
  const since = element("div", "since", time(of.firstSeen, now) + " UTC, " + bytes(of.bytes) + ", from ");
  since.append(foreign(of.source), of.redrivenAt ? ", sent again " + time(of.redrivenAt, now) : "");
  item.append(element("span", "code", of.code), foreign(of.reason), since);
  item.append(element("code", "", "xray-processor-worker dead-letters show " + of.sha256.slice(0, 12)));
  return item;
}

let tablesShown = "";

/** Only when they were read anew: what somebody has opened or marked stays as it is. */
function tables(of, now) {
  say("tables-note", of === null ? "Not read yet." : of.error ? "Cannot be read: " + of.error : "");
  if (of === null || of.read === null || of.read === tablesShown) return;
  tablesShown = of.read;
  const shown = [...by("runs").children];
  const first = !shown.some((item) => item.dataset.run !== undefined);
  const isOpen = (id, at) => shown.find((item) => item.dataset.run === id)?.open ?? (first && at === 0);
  by("runs").replaceChildren(...of.runs.map((one, at) => run(one, now, isOpen(one.runId, at))));
  by("letters").replaceChildren(...of.deadLetters.map((one) => letter(one, now)));
  const unread = (error) => "Cannot be read now: " + error;
  if (of.runsError) by("runs").prepend(element("p", "note", unread(of.runsError)));
  else if (of.runs.length === 0) by("runs").append(element("p", "note", "None yet."));
  if (of.deadLettersError) by("letters").prepend(element("li", "note", unread(of.deadLettersError)));
  else if (of.deadLetters.length === 0) by("letters").append(element("li", "note", "None."));
}

function verdict(level, sentences) {
  by("verdict").className = level;
  by("verdict").replaceChildren(...sentences.map((sentence) => element("p", "", sentence)));
  document.title = (level === "good" ? "" : level === "warn" ? "▲ " : "✖ ") + "X-Ray worker";
}

function show(status) {
  const { flow, inFlight, complete, now } = status;
  say("about", status.version + " on " + status.queue + ", running for " + span(between(status.started, now)) + "; " + time(now, now) + " UTC");
  verdict(status.verdict.level, status.verdict.sentences);
  say("received", rate(flow.rates.received));
  say("stored", rate(flow.rates.stored));
  say("dead", rate(flow.rates.deadLetters));
  say("received-all", grouped(flow.received) + " events");
  say("stored-all", grouped(flow.stored) + " events");
  say("dead-all", grouped(flow.deadLetters) + " in all");
  say("lag", flow.lag === null ? "unknown" : grouped(flow.lag));
  const grows = flow.rates.lag;
  say("lag-grows", flow.lag === null ? "the broker does not tell" : !grows ? "messages" : (grows > 0 ? "grows by " : "falls by ") + rate(Math.abs(grows)) + "/s");
  say("oldest", span(flow.oldestUnackedSeconds));
  say("redeliveries", flow.redeliveries === 0 ? "" : grouped(flow.redeliveries) + " redelivered");
  const [day, clock] = plain(complete.upTo ?? "now").split(" ");
  const ofToday = day === now.slice(0, 10);
  say("complete", ofToday ? clock : day);
  say("waiting", (clock === undefined || ofToday ? "" : clock + " UTC, ") + (complete.waiting === null ? "but for what waits at the broker" : complete.waiting === 0 ? "nothing else waits"
    : "but for " + grouped(complete.waiting) + " that wait"));
  charts(flow.points);
  by("dependencies").replaceChildren(...Object.entries(status.dependencies).map((entry) => dependency(entry, now)));
  by("messages").value = inFlight.messages / Math.max(1, inFlight.maxMessages);
  by("bytes").value = inFlight.bytes / Math.max(1, inFlight.maxBytes);
  say("messages-text", grouped(inFlight.messages) + " of " + grouped(inFlight.maxMessages));
  say("bytes-text", bytes(inFlight.bytes) + " of " + bytes(inFlight.maxBytes));
  say("heavy", inFlight.heavyLane === 0 ? "" : grouped(inFlight.heavyLane) + " wait for rows that take long to recompute");
  by("flushes").replaceChildren(...status.flushes.map(flush));
  tables(status.tables, now);
}

async function ask() {
  try {
    // Beside this page, wherever a proxy has put it, and without a password that stands in the address.
    const answer = await fetch(location.origin + new URL("status.json", location).pathname, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error("it answers " + answer.status);
    show(await answer.json());
  } catch (error) {
    verdict("bad", ["The worker does not answer this page: it is down or cannot be reached. What stands below is old.", String(error.message)]);
  }
  // A page that nobody sees asks no more, until somebody does.
  if (document.hidden) document.addEventListener("visibilitychange", ask, { once: true });
  else setTimeout(ask, EVERY_MS);
}

ask();
