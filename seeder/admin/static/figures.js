// The first screen: what was saved, what moves now, and what needs a person.

import { counted, element, fill, find, human, money, number, rate, share, write } from "./format.js";

const put = (name, text) => write(find(`[data-figure=${name}]`), text);
const SPANS = { hour: "in the last hour", day: "in the last day", month: "in the last 30 days", all: "in all" };
const TROUBLE = { failed: "failed", faulty: "served from the cache only", stalled: "stalled" };

export function showNotices(now, change) {
  const list = find("#notices");
  const states = Object.keys(TROUBLE).filter((state) => now.states[state] > 0);
  const told = [
    ...now.notices.map((text) => ({ text, state: "" })),
    ...states.map((state) => ({ text: `${counted(now.states[state], "object")} ${TROUBLE[state]}`, state })),
  ];
  list.hidden = told.length === 0;
  const make = () => {
    const item = element("li");
    element("span", "", item);
    element("button", "", item, "Show").type = "button";
    return item;
  };
  fill(list, told, make, (item, notice) => {
    write(item.firstElementChild, notice.text);
    const button = item.lastElementChild;
    button.hidden = !notice.state;
    button.onclick = () => {
      change({ state: notice.state, search: "", first: "0" });
      find("#objects").focus();
    };
  });
}

// Bytes a second between two documents; null while that isn't known.
export function speed(now, before, name) {
  const seconds = before ? now.at - before.at : 0;
  if (seconds <= 0 || seconds > 60) return null;
  return Math.max(0, now.totals[name] - before.totals[name]) / seconds;
}

export function showFigures(now, before) {
  showSaved(now);
  showNow(now, before);
  // Of a ledger that can't be read only the sum of all is known.
  showSources(now.lately || now.totals);
}

function showSaved(now) {
  const figures = now.lately || now.totals;
  const span = SPANS[now.lately ? now.span : "all"];
  const { size } = now.totals;
  const { origin_bytes: read, delivered_verified_bytes: delivered } = figures;
  const saved = figures.saved_verified_bytes;
  const earning = saved < 0 && read > 0;
  const verified = figures.delivered_claimed_bytes > 0 ? " (verified)" : "";
  write(find("#saved-title"), earning ? `Earned back ${span}` : `Saved ${span}${verified}`);
  const bar = find("#earned");
  bar.hidden = !earning;
  if (earning) {
    // Until peers have had what S3 was read for, there is nothing saved and nothing lost.
    put("saved", earned(read, delivered, size));
    bar.value = Math.min(1, delivered / read);
    put("saved-more", `S3 sent ${human(read)}, worth ${money(figures.origin_money, now.currency)}; what peers get from now on pays it back`);
  } else {
    const worth = figures.saved_verified_money;
    const part = figures.total_saving_verified;
    const told = part === null ? "nothing was delivered" : `${share(part)} of what was delivered was not read from S3`;
    // Money without a currency says little.
    put("saved", now.currency ? money(worth, now.currency) : human(saved));
    put("saved-more", `${now.currency ? human(saved) : `worth ${money(worth, "")}`}: ${told}`);
  }
  const claimed = figures.delivered_claimed_bytes > 0;
  put("saved-claimed", claimed ? `claimed by peers: ${human(figures.saved_claimed_bytes)}, ${money(figures.saved_claimed_money, now.currency)}` : "");
}

// In copies of all objects once S3 has sent one, else in bytes.
function earned(read, delivered, size) {
  const copies = size ? (read / size).toFixed(1) : "0.0";
  if (copies < 1) return `${human(delivered)} of ${human(read)}`;
  const back = (delivered / size).toFixed(1);
  return `${back} of ${copies.replace(/\.0$/, "")} ${copies === "1.0" ? "copy" : "copies"}`;
}

function showNow(now, before) {
  const sent = speed(now, before, "uploaded_bytes");
  const delivered = speed(now, before, "delivered_verified_bytes");
  put("rate-peers", rate(sent));
  put("rate-s3", rate(speed(now, before, "origin_bytes")));
  put("rate-between", rate(sent === null ? null : Math.max(0, delivered - sent)));
  const downloads = now.peers.downloads ? `, ${counted(now.peers.downloads, "download")} by HTTP` : "";
  put("connected", `${counted(now.peers.connected, "peer")}${downloads}`);
  put("swarms", `${counted(now.totals.peers, "peer")}, ${number(now.totals.seeds)} of them seeds`);
}

function showSources(figures) {
  const ours = Math.min(figures.uploaded_bytes, figures.delivered_verified_bytes);
  const s3 = Math.min(figures.origin_bytes, ours);
  const parts = { s3, cache: ours - s3, between: figures.delivered_verified_bytes - ours };
  const whole = figures.delivered_verified_bytes;
  const names = { s3: "from-s3", cache: "from-cache", between: "between" };
  for (const [name, count] of Object.entries(parts)) {
    find(`#sources .${names[name]}`).style.flexGrow = whole ? count / whole : 0;
    put(`part-${name}`, whole ? `${human(count)} (${share(count / whole)})` : human(count));
  }
  const copies = figures.s3_copies;
  put("copies", copies === null ? human(figures.origin_bytes) : `${copies.toFixed(2)} times`);
}
