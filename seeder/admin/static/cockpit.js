// The status page: a stream of events keeps the document, and everything shown is drawn from it.

import { clock, duration, find, rate, share, write } from "./format.js";
import { showFigures, showNotices, speed } from "./figures.js";
import { listenToObjects, showObjects } from "./objects.js";
import { showPeers } from "./peers.js";
import { showNode } from "./node.js";
import { showNodes } from "./nodes.js";
import { Reader } from "./history.js";
import { Plot, CACHE, S3, TRAFFIC } from "./plots.js";

const SPANS = ["hour", "day", "month", "all"];
const STALE = 10; // seconds; later if the next event is due later
const LATE = 8; // seconds that it may be late then
const AGAIN = 3000;

const USUAL = { span: "day", search: "", state: "", order: "attention", reverse: "", first: "0", opened: "" };
const view = { ...USUAL };
const plots = [
  [find("#traffic"), TRAFFIC],
  [find("#s3"), S3],
  [find("#found"), CACHE],
].map(([figure, kind]) => new Plot(figure, kind));
const reader = new Reader(plots, find("#history"));
let source = null;
let now = null;
let before = null;
let heardAt = 0;
let due = 0;
let again = 0;

// What is in the address after # outlives a reload, and can be sent to somebody.
function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const [name, usual] of Object.entries(USUAL)) view[name] = said.get(name) ?? usual;
  if (!SPANS.includes(view.span)) view.span = USUAL.span;
  find(`#span input[value=${view.span}]`).checked = true;
  find("#search").value = view.search;
  find("#order").value = view.order;
}

function writeAddress() {
  const said = Object.entries(view).filter(([name, value]) => value !== USUAL[name]);
  history.replaceState(null, "", said.length ? `#${new URLSearchParams(said)}` : location.pathname);
}

function change(wanted) {
  Object.assign(view, wanted);
  writeAddress();
  connect();
}

function patch(node, delta) {
  for (const [key, value] of Object.entries(delta)) {
    if (Array.isArray(value)) [node[key]] = value;
    else patch(node[key], value);
  }
}

function take(event) {
  const said = JSON.parse(event.data);
  if (said.whole) {
    if (now && now.version !== said.whole.version) location.reload();
    // Another run of the daemon: its counts don't go on from these.
    before = now && now.started_at === said.whole.started_at ? now : null;
    now = said.whole;
  } else {
    before = structuredClone(now);
    patch(now, said.delta);
  }
  heardAt = Date.now();
  due = heardAt + 1000 * Math.max(STALE, (said.pause || 0) + LATE);
  show();
}

function show() {
  showNotices(now, change);
  showFigures(now, before);
  showObjects(now, before, view, change);
  showNodes(now.cluster);
  showPeers(now);
  showNode(now, before);
  reader.look(view.span, {}, now.at, now.started_at);
  write(find("#about"), `${now.version}, up ${duration(now.at - now.started_at)}`);
  find("main").hidden = false;
  showLink("live", "live");
  const sent = speed(now, before, "uploaded_bytes");
  const saving = now.totals.total_saving_verified;
  document.title = `${sent > 0 ? `↑ ${rate(sent)} · ` : ""}${saving > 0 ? `${share(saving)} saved · ` : ""}seeder`;
}

function showLink(className, text) {
  find("#link").className = className;
  find("main").classList.toggle("stale", className !== "live");
  write(find("#link"), text);
}

function lost() {
  showLink("lost", now ? `no answer since ${clock(heardAt / 1000)}` : "no answer");
}

function close() {
  clearTimeout(again);
  if (source) source.close();
  source = null;
}

function connect() {
  close();
  if (document.hidden) return;
  source = new EventSource(`events?${new URLSearchParams(view)}`);
  source.addEventListener("message", take);
  source.addEventListener("error", () => {
    lost();
    // What isn't tried again by itself: a reply that wasn't a stream.
    if (source && source.readyState === EventSource.CLOSED) again = setTimeout(connect, AGAIN);
  });
}

setInterval(() => {
  if (source && heardAt && Date.now() > due) lost();
}, 1000);

document.addEventListener("visibilitychange", connect);
addEventListener("hashchange", () => {
  readAddress();
  connect();
});
find("#span").addEventListener("change", (event) => change({ span: event.target.value }));
readAddress();
listenToObjects(view, change);
connect();
