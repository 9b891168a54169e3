"use strict";

// Reads status.json every two seconds. Everything from it is set as text, never as markup.

const PERIOD = 2000;
const DEADLINE = 10000;
// Of more torrents, those in trouble or at work are shown, and those with the most peers.
const SHOWN = 200;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const UNKNOWN = "–";
const STATES = new Set(["serving", "building", "waiting", "faulty", "duplicate", "failed", "former"]);

const find = (selector, root = document) => root.querySelector(selector);
const rows = new Map();
let before = null;
let answered = null;
let timer = 0;

function human(count) {
  if (count === null) return UNKNOWN;
  let size = Math.abs(count);
  let power = 0;
  while (size >= (power ? 1023.5 : 1024) && power < UNITS.length - 1) {
    size /= 1024;
    power += 1;
  }
  const digits = power === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return `${count < 0 ? "−" : ""}${size.toFixed(digits)} ${UNITS[power]}`;
}

const share = (value) => (value === null ? UNKNOWN : `${(value * 100).toFixed(1).replace("-", "−")} %`);
const copies = (value) => (value === null ? UNKNOWN : value.toFixed(2));
const number = (value) => value.toLocaleString("en");
const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

function money(value) {
  const digits = Math.abs(value) >= 1 || Math.abs(value) < 0.00005 ? 2 : 4;
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return value < 0 && Number(text.replaceAll(",", "")) !== 0 ? `−${text}` : text;
}

// Leaves a node alone that says it already, so that a selection in it stays.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(name, className, parent) {
  const node = document.createElement(name);
  if (className) node.className = className;
  parent.append(node);
  return node;
}

function showTotals(now) {
  const totals = now.totals;
  const put = (name, text) => write(find(`[data-total=${name}]`), text);
  put("saved_verified", human(totals.saved_verified_bytes));
  find("[data-total=saved_verified]").classList.toggle("loss", totals.saved_verified_bytes < 0);
  put("saved_claimed", `${human(totals.saved_claimed_bytes)} claimed`);
  put("saved_money", `money ${money(totals.saved_verified_money)}, claimed ${money(totals.saved_claimed_money)}`);
  put("s3_copies", copies(totals.s3_copies));
  put("origin", `${human(totals.origin_bytes)} from S3${speed(now, "origin_bytes")}`);
  put("origin_money", `${counted(totals.origin_requests, "request")}, money ${money(totals.origin_money)}`);
  put("offload_verified", share(totals.offload_verified));
  put("offload_claimed", `${share(totals.offload_claimed)} claimed`);
  put("uploaded", `${human(totals.uploaded_bytes)} uploaded${speed(now, "uploaded_bytes")}`);
  put("protocol", `${human(totals.protocol_bytes)} of protocol besides`);
  put("peers", counted(totals.peers, "peer"));
  put("seeds", `of them ${counted(totals.seeds, "seed")}`);
  put("completed", `${counted(totals.completed, "download")} completed (claimed)`);
}

// What has been counted since the last answer, per second; nothing after a restart or a pause.
function speed(now, name) {
  const seconds = before ? now.at - before.at : 0;
  const count = before ? now.totals[name] - before.totals[name] : 0;
  return seconds > 0 && seconds < 30 && count > 0 ? `, ${human(Math.round(count / seconds))}/s now` : "";
}

// Torrent by torrent: what one uploaded from the cache must not hide what another read in vain.
function showSources(torrents) {
  const parts = { s3: 0, cache: 0, peers: 0 };
  for (const torrent of torrents) {
    const ours = Math.min(torrent.uploaded_bytes, torrent.delivered_verified_bytes);
    const s3 = Math.min(torrent.origin_bytes, ours);
    parts.s3 += s3;
    parts.cache += ours - s3;
    parts.peers += torrent.delivered_verified_bytes - ours;
  }
  const delivered = parts.s3 + parts.cache + parts.peers;
  find("#sources").hidden = delivered === 0;
  for (const [name, count] of Object.entries(parts)) {
    const part = delivered ? count / delivered : 0;
    find(`.bar .from-${name}`).style.flexGrow = part;
    write(find(`[data-source=${name}]`), `${human(count)} (${share(part)})`);
  }
}

function amount(limit, value) {
  if (limit.resource.endsWith("_bytes")) return human(Math.round(value));
  return limit.resource.endsWith("_money") ? money(value) : number(value);
}

// Show a list, an item per entry, in its section; without an entry neither.
function showList(section, entries, make, fill) {
  const list = find(`${section} ul`);
  find(section).hidden = entries.length === 0;
  while (list.children.length > entries.length) list.lastElementChild.remove();
  entries.forEach((entry, place) => fill(list.children[place] || make(list), entry));
}

function makeLimit(list) {
  const item = element("li", "", list);
  element("b", "", item);
  element("progress", "", item);
  element("span", "left", item);
  element("span", "pill", item);
  return item;
}

function fillLimit(item, limit) {
  const until = new Date(limit.resets_at * 1000).toISOString().slice(0, 16).replace("T", " ");
  const left = `${amount(limit, limit.left)} of ${amount(limit, limit.limit)} left until ${until} UTC`;
  write(find("b", item), `${limit.resource.replaceAll("_", " ")} a ${limit.period}`);
  find("progress", item).value = limit.limit > 0 ? Math.min(1, limit.spent / limit.limit) : 1;
  write(find(".left", item), left);
  const pill = find(".pill", item);
  pill.hidden = limit.level === "normal";
  pill.classList.toggle("spent", limit.left <= 0);
  write(pill, limit.level);
}

function makePrefix(list) {
  const item = element("li", "", list);
  element("b", "", item);
  element("span", "", item);
  element("span", "pill", item);
  element("div", "reason", item);
  return item;
}

function fillPrefix(item, prefix) {
  write(find("b", item), `${prefix.bucket}/${prefix.prefix}`);
  write(find("span", item), `${counted(prefix.objects, "object")}, ${human(prefix.bytes)}`);
  const pill = find(".pill", item);
  pill.hidden = prefix.state === "followed";
  pill.classList.toggle("failed", prefix.state === "failed");
  write(pill, prefix.state);
  write(find(".reason", item), prefix.reason === null ? "" : prefix.reason);
}

function showLedger(ledger) {
  find("#ledger").hidden = ledger.writable;
  const reason = `The ledger can't be written; what is counted waits in memory: ${ledger.reason}`;
  write(find("#ledger"), ledger.writable ? "" : reason);
}

function makeRow() {
  const row = document.createElement("tr");
  const object = element("td", "", row);
  const parts = {
    row,
    name: element("div", "name", object),
    standing: element("div", "", object),
  };
  parts.state = element("span", "pill", parts.standing);
  parts.progress = element("progress", "", parts.standing);
  parts.reason = element("div", "reason", object);
  parts.hash = element("div", "hash", object);
  for (const name of ["size", "origin", "copies", "uploaded"]) parts[name] = element("td", "", row);
  for (const name of ["delivered", "saved", "peers"]) {
    const cell = element("td", "", row);
    parts[name] = element("div", "", cell);
    parts[`${name}Second`] = element("div", "second", cell);
  }
  parts.completed = element("td", "", row);
  return parts;
}

function fillRow(parts, torrent) {
  write(parts.name, `${torrent.bucket}/${torrent.key}`);
  parts.name.title = torrent.version ? `version ${torrent.version}` : "";
  write(parts.state, torrent.state);
  parts.state.className = STATES.has(torrent.state) ? `pill ${torrent.state}` : "pill";
  parts.progress.hidden = torrent.progress === null;
  parts.progress.value = torrent.progress === null ? 0 : torrent.progress;
  parts.progress.title = torrent.progress === null ? "" : share(torrent.progress);
  write(parts.reason, torrent.reason === null ? "" : torrent.reason);
  write(parts.hash, torrent.info_hash === null ? "" : torrent.info_hash);
  parts.hash.title = torrent.metainfo === null ? "" : `metainfo from ${torrent.metainfo}`;
  write(parts.size, human(torrent.size));
  write(parts.origin, human(torrent.origin_bytes));
  write(parts.copies, copies(torrent.s3_copies));
  write(parts.uploaded, human(torrent.uploaded_bytes));
  write(parts.delivered, human(torrent.delivered_verified_bytes));
  write(parts.deliveredSecond, human(torrent.delivered_claimed_bytes));
  write(parts.saved, human(torrent.saved_verified_bytes));
  parts.saved.classList.toggle("loss", torrent.saved_verified_bytes < 0);
  write(parts.savedSecond, human(torrent.saved_claimed_bytes));
  write(parts.peers, number(torrent.peers));
  write(parts.peersSecond, number(torrent.seeds));
  write(parts.completed, number(torrent.completed));
}

function showTorrents(torrents) {
  const body = find("tbody");
  const seen = new Set();
  torrents.forEach((torrent, place) => {
    const identity = [torrent.origin, torrent.bucket, torrent.key, torrent.version];
    let name = JSON.stringify(identity);
    if (seen.has(name)) name = JSON.stringify([...identity, place]);
    seen.add(name);
    if (!rows.has(name)) rows.set(name, makeRow());
    const parts = rows.get(name);
    fillRow(parts, torrent);
    if (body.children[place] !== parts.row) body.insertBefore(parts.row, body.children[place] || null);
  });
  for (const [name, parts] of rows) {
    if (seen.has(name)) continue;
    parts.row.remove();
    rows.delete(name);
  }
}

function show(now) {
  const totals = now.totals;
  showTotals(now);
  showSources(now.torrents);
  showList("#budget", now.budget, makeLimit, fillLimit);
  showList("#prefixes", now.prefixes, makePrefix, fillPrefix);
  showLedger(now.ledger);
  showTorrents(now.torrents);
  const hidden = now.torrents_in_all - now.torrents.length;
  find("#more").hidden = hidden === 0;
  write(find("#more"), `${counted(hidden, "more torrent")}: see status.json`);
  find("#nothing").hidden = totals.origin_requests + totals.uploaded_bytes + totals.delivered_claimed_bytes > 0;
  find("main").hidden = false;
  before = now;
}

function showLink(className, text) {
  const link = find("#link");
  link.className = className;
  write(link, text);
}

async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch(`status.json?limit=${SHOWN}`, { cache: "no-store", signal: AbortSignal.timeout(DEADLINE) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
    answered = new Date();
    showLink("live", "live");
  } catch (error) {
    before = null;
    console.warn(error);
    showLink("lost", answered ? `no answer since ${answered.toLocaleTimeString()}` : "no answer");
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, PERIOD);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
refresh();
