// The objects: a page of compact rows, one of which may be open.

import { counted, duration, element, fill, find, human, moment, named, number, pairs, parts, rate, share, write } from "./format.js";
import { fillPeer, peerRow, PEER_COLUMNS } from "./peers.js";
import { Reader } from "./history.js";
import { Plot, TRAFFIC } from "./plots.js";

const COLUMNS = ["Object", "Size", "Saved", "From S3", "Uploaded", "Rate", "Peers"];
const STATES = ["serving", "building", "waiting", "embargoed", "stalled", "faulty", "failed", "duplicate", "former"];
const DEBOUNCE = 250;

const rows = new Map();
const ids = new Map();

function idOf(name) {
  if (!ids.has(name)) ids.set(name, `object-${ids.size}`);
  return ids.get(name);
}

export function listenToObjects(view, change) {
  const search = find("#search");
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ search: search.value, first: "0" }), DEBOUNCE);
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
    }
    if (event.key === "Escape" && view.opened && !typing) change({ opened: "" });
  });
  find("#order").addEventListener("change", (event) => change({ order: event.target.value, reverse: "", first: "0" }));
  find("#reverse").addEventListener("click", () => change({ reverse: view.reverse ? "" : "1", first: "0" }));
}

export function showObjects(now, before, view, change) {
  const { objects } = now;
  showStates(now, view, change);
  find("#reverse").setAttribute("aria-pressed", String(Boolean(view.reverse)));
  showRows(now, before, view, change);
  const none = find("#no-objects");
  none.hidden = objects.total > 0;
  find("#objects table").hidden = objects.total === 0;
  const all = Object.values(now.states).reduce((sum, count) => sum + count, 0);
  write(none, all === 0 ? "No object is configured, or none is listed yet." : "No object is like that.");
  const last = objects.first + objects.rows.length;
  find("#pages").hidden = objects.total <= objects.rows.length;
  write(find("#place"), `${number(objects.first + 1)} to ${number(last)} of ${number(objects.total)}`);
  const step = Math.max(objects.rows.length, 50);
  setButton("#previous", objects.first > 0, () => change({ first: String(Math.max(0, objects.first - 50)) }));
  setButton("#next", last < objects.total, () => change({ first: String(objects.first + step) }));
}

function setButton(selector, enabled, press) {
  const button = find(selector);
  button.disabled = !enabled;
  button.onclick = press;
}

function showStates(now, view, change) {
  const all = Object.values(now.states).reduce((sum, count) => sum + count, 0);
  const shown = STATES.filter((state) => now.states[state] > 0 || view.state === state);
  const chips = [{ state: "", text: `all ${number(all)}` }, ...shown.map((state) => ({ state, text: `${state} ${number(now.states[state] || 0)}` }))];
  const make = () => {
    const button = element("button", "");
    button.type = "button";
    return button;
  };
  fill(find("#states"), chips, make, (button, chip) => {
    write(button, chip.text);
    button.className = `pill ${chip.state}`;
    button.setAttribute("aria-pressed", String(view.state === chip.state));
    button.onclick = () => change({ state: chip.state, first: "0" });
  });
}

function makeRow(name, view, change) {
  const row = element("tr", "object");
  row.setAttribute("role", "row");
  for (const column of COLUMNS) {
    const cell = element("td", column === "Object" ? "" : "number", row);
    cell.setAttribute("role", "cell");
    cell.dataset.name = column;
  }
  const [first] = row.children;
  const button = element("button", "name", first);
  button.type = "button";
  const pill = element("span", "pill", first);
  const standing = element("div", "standing", first);
  const toggle = () => change({ opened: view.opened === name ? "" : name });
  button.addEventListener("click", toggle);
  return {
    row,
    button,
    pill,
    standing,
    progress: element("progress", "", standing),
    reason: element("span", "reason", standing),
    detail: null,
  };
}

function fillRow(shown, object, past, seconds) {
  const [, size, saved, read, uploaded, speed, peers] = shown.row.children;
  write(shown.button, named(object.object));
  shown.pill.className = `pill ${object.state}`;
  write(shown.pill, object.state);
  shown.progress.hidden = object.progress === null;
  shown.progress.value = object.progress === null ? 0 : object.progress;
  shown.progress.setAttribute("aria-label", "Progress");
  write(shown.reason, progressOf(object));
  shown.standing.hidden = object.progress === null && !object.reason;
  write(size, human(object.size));
  write(saved, human(object.saved_verified_bytes));
  saved.classList.toggle("loss", object.saved_verified_bytes < 0);
  write(read, human(object.origin_bytes));
  write(uploaded, human(object.uploaded_bytes));
  const sent = past && seconds > 0 ? (object.uploaded_bytes - past.uploaded_bytes) / seconds : 0;
  write(speed, sent > 0 ? rate(sent) : "");
  write(peers, object.peers ? `${number(object.peers)} (${number(object.seeds)})` : "");
}

// The object's name stands above it.
function reasonOf(object) {
  const reason = object.reason || "";
  const name = `${named(object.object)}: `;
  return reason.startsWith(name) ? reason.slice(name.length) : reason;
}

function progressOf(object) {
  if (object.progress === null) return reasonOf(object);
  const told = [share(object.progress)];
  if (object.rate !== null) told.push(rate(object.rate));
  if (object.time_left !== null) told.push(`${duration(object.time_left)} left`);
  if (object.reason) told.push(reasonOf(object));
  return told.join(", ");
}

function showRows(now, before, view, change) {
  const body = find("#objects tbody");
  const past = new Map((before ? before.objects.rows : []).map((object) => [JSON.stringify(object.object), object]));
  const seconds = before ? now.at - before.at : 0;
  const kept = new Set();
  let place = body.firstElementChild;
  const put = (row) => {
    if (place === row) place = row.nextElementSibling;
    else body.insertBefore(row, place);
  };
  for (const object of now.objects.rows) {
    const name = JSON.stringify(object.object);
    if (kept.has(name)) continue;
    kept.add(name);
    if (!rows.has(name)) rows.set(name, makeRow(name, view, change));
    const shown = rows.get(name);
    fillRow(shown, object, past.get(name), seconds);
    put(shown.row);
    const open = view.opened === name;
    shown.row.classList.toggle("open", open);
    shown.button.setAttribute("aria-expanded", String(open));
    if (open) {
      if (!shown.detail) shown.detail = makeDetail(idOf(name));
      shown.button.setAttribute("aria-controls", shown.detail.row.id);
      fillDetail(shown.detail, now, name, view.span);
      put(shown.detail.row);
    } else if (shown.detail) {
      if (place === shown.detail.row) place = place.nextElementSibling;
      dropDetail(shown.detail);
      shown.detail = null;
      shown.button.removeAttribute("aria-controls");
    }
  }
  for (const [name, shown] of rows) {
    if (kept.has(name)) continue;
    shown.row.remove();
    if (shown.detail) dropDetail(shown.detail);
    rows.delete(name);
  }
}

function makeDetail(id) {
  const row = element("tr", "detail");
  row.id = id;
  row.setAttribute("role", "row");
  const cell = element("td", "", row);
  cell.setAttribute("role", "cell");
  cell.colSpan = COLUMNS.length;
  const detail = { row, cell, facts: element("dl", "facts", cell) };
  detail.bars = element("div", "bars", cell);
  detail.cached = makeBar(detail.bars, "Pieces in the cache");
  detail.copies = makeBar(detail.bars, "Pieces at the peers that are connected");
  const figure = element("figure", "", cell);
  element("figcaption", "", figure, "Traffic of this object");
  detail.plot = new Plot(figure, TRAFFIC);
  detail.reader = new Reader([detail.plot], element("p", "reason", figure));
  detail.links = element("ul", "links", cell);
  detail.peers = element("table", "", cell);
  detail.peers.setAttribute("role", "table");
  element("caption", "", detail.peers, "Its peers");
  const head = element("tr", "", element("thead", "hidden", detail.peers));
  for (const name of PEER_COLUMNS) element("th", "", head, name).scope = "col";
  detail.body = element("tbody", "", detail.peers);
  return detail;
}

function dropDetail(detail) {
  detail.plot.close();
  detail.row.remove();
}

function makeBar(parent, title) {
  const figure = element("figure", "", parent);
  const caption = element("figcaption", "", figure, title);
  const bar = element("div", "parts", figure);
  bar.setAttribute("role", "img");
  return { figure, caption, bar, title };
}

function showBar(shown, values, text) {
  parts(shown.bar, values);
  write(shown.caption, `${shown.title}: ${text}`);
  shown.bar.setAttribute("aria-label", `${shown.title}: ${text}`);
}

function fillDetail(detail, now, name, span) {
  const [origin, bucket, key] = JSON.parse(name);
  detail.reader.look(span, { origin, torrent: `${bucket}/${key}` }, now.at, now.started_at);
  const opened = now.opened && JSON.stringify(now.opened.object) === name ? now.opened : null;
  if (!opened) {
    pairs(detail.facts, [["", "Nothing more is known: it is no longer published, or not yet."]]);
    detail.bars.hidden = detail.peers.hidden = true;
    return;
  }
  const torrent = opened.torrent;
  const facts = [
    ["origin", opened.origin],
    ["version", opened.version || "not known yet"],
    ["requests to S3", Object.entries(opened.requests).map(([purpose, count]) => `${purpose} ${number(count)}`).join(", ")],
    ["read from S3", Object.entries(opened.origin_bytes).map(([purpose, count]) => `${purpose} ${human(count)}`).join(", ")],
    ["protocol besides", human(opened.protocol_bytes)],
    ["downloads completed (claimed)", number(opened.completed)],
    ["open to", opened.public ? "anybody" : "those who may read the object in S3"],
  ];
  if (opened.reason) facts.unshift(["why", opened.reason]);
  const trying = ["waiting", "failed", "faulty", "stalled"].includes(opened.state);
  if (opened.next_look) facts.push([trying ? "next try" : "looked at again", moment(opened.next_look)]);
  if (opened.last_error) {
    const told = opened.last_error === opened.reason ? "" : `: ${opened.last_error}`;
    facts.push(["last error", moment(opened.last_error_at) + told]);
  }
  if (torrent) {
    facts.push(["metainfo from", torrent.metainfo]);
    facts.push(["pieces", `${number(torrent.pieces)} of ${human(torrent.piece_length)}`]);
    facts.push(["swarm (announced)", `${counted(torrent.seeds, "seed")}, ${counted(torrent.peers - torrent.seeds, "leecher")}`]);
    if (torrent.published) facts.push(["published", moment(torrent.published)]);
  }
  pairs(detail.facts, facts);
  detail.bars.hidden = !torrent;
  detail.peers.hidden = !torrent || torrent.connected.length === 0;
  const links = [];
  if (torrent) {
    const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
    showBar(detail.cached, torrent.cached, share(mean(torrent.cached)));
    const asked = torrent.counted_peers;
    const copies = `${mean(torrent.copies).toFixed(2)} copies at ${counted(asked, "peer")}`;
    showBar(detail.copies, torrent.copies.map((count) => (asked ? count / asked : 0)), copies);
    fill(detail.body, torrent.connected, peerRow, (row, peer) => fillPeer(row, peer, now.at));
    links.push(["info hash", torrent.info_hash, ""]);
    if (torrent.v2_hash) links.push(["v2 info hash", torrent.v2_hash, ""]);
    links.push(["magnet", torrent.magnet, torrent.magnet]);
  }
  links.push(["torrent", opened.torrent_url, opened.torrent_url]);
  if (torrent && torrent.download_url) links.push(["download", torrent.download_url, torrent.download_url]);
  fill(detail.links, links, makeLink, fillLink);
}

function makeLink() {
  const item = element("li");
  element("b", "", item);
  element("a", "", item);
  const button = element("button", "", item, "Copy");
  button.type = "button";
  button.addEventListener("click", () => copy(item.children[1], button));
  return item;
}

function fillLink(item, [title, text, url]) {
  const [name, link, button] = item.children;
  write(name, title);
  write(link, text);
  if (url) link.href = url;
  else link.removeAttribute("href");
  button.setAttribute("aria-label", `Copy the ${title}`);
}

// The clipboard is there on localhost and with TLS only; elsewhere the text is selected.
async function copy(node, button) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    write(button, "Copied");
  } catch {
    getSelection().selectAllChildren(node);
    write(button, document.execCommand("copy") ? "Copied" : "Selected");
  }
  setTimeout(() => write(button, "Copy"), 2000);
}
