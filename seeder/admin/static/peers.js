// The connected peers, and why the last ones left.

import { clock, duration, element, fill, find, human, named, number, rate, share, write } from "./format.js";

export const PEER_COLUMNS = ["Address", "Client", "Object", "Has", "Uploaded", "Rate", "State", "For"];
const NUMBERS = new Set(["Uploaded", "Rate", "For"]);

export function peerRow() {
  const row = element("tr");
  row.setAttribute("role", "row");
  for (const name of PEER_COLUMNS) {
    const cell = element("td", NUMBERS.has(name) ? "number" : "", row);
    cell.setAttribute("role", "cell");
    cell.dataset.name = name;
  }
  const progress = element("progress", "", row.children[3]);
  progress.setAttribute("aria-label", "Share of the pieces that the peer has");
  element("span", "", row.children[3]);
  return row;
}

export function fillPeer(row, peer, at) {
  const [address, client, object, has, uploaded, speed, state, time] = row.children;
  const host = peer.address.includes(":") ? `[${peer.address}]` : peer.address;
  write(address, `${host}:${peer.port}`);
  write(client, (peer.client || "unnamed") + (peer.name ? ` of ${peer.name}` : ""));
  write(object, named(peer.object));
  has.firstElementChild.value = peer.share;
  write(has.lastElementChild, share(peer.share));
  write(uploaded, human(peer.uploaded_bytes));
  write(speed, peer.rate > 0 ? rate(peer.rate) : "");
  const states = [peer.choked ? "choked" : "", peer.interested ? "" : "wants nothing", peer.encrypted ? "encrypted" : ""];
  write(state, states.filter(Boolean).join(", ") || "served");
  write(time, duration(at - peer.since));
  time.title = `since ${clock(peer.since)}`;
}

export function showPeers(now) {
  const { peers } = now;
  const more = peers.connected > peers.rows.length ? `, the fastest ${number(peers.rows.length)} of them` : "";
  write(find("#peers-title"), `Peers: ${number(peers.connected)} of at most ${number(peers.places)}${more}`);
  fill(find("#peers tbody"), peers.rows, peerRow, (row, peer) => fillPeer(row, peer, now.at));
  find("#peers table").hidden = peers.rows.length === 0;
  find("#no-peers").hidden = peers.rows.length > 0;
  const closes = Object.entries(peers.closes).sort((one, other) => other[1] - one[1]);
  find("#departed").hidden = closes.length === 0;
  fill(find("#closes"), closes, () => element("li"), (item, [reason, count]) => write(item, `${reason} ${number(count)}`));
  fill(find("#departures"), peers.departures, () => element("li"), (item, gone) => {
    const what = `${gone.address} ${gone.client || "unnamed"}, ${named(gone.object)}: ${gone.reason}`;
    write(item, `${clock(gone.at)} ${what}, ${human(gone.uploaded_bytes)} uploaded`);
  });
}

