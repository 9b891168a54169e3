// The nodes of the cluster, and what they come to.

import { element, fill, find, human, number, write } from "./format.js";

const COLUMNS = ["Node", "Seeds", "Peers", "From S3", "Uploaded", "Delivered", "Announces", "State"];
const PLAIN = new Set(["Node", "State"]);
const UNTOLD = "hasn't told yet";

function nodeRow() {
  const row = element("tr");
  row.setAttribute("role", "row");
  for (const name of COLUMNS) {
    const cell = element("td", PLAIN.has(name) ? "" : "number", row);
    cell.setAttribute("role", "cell");
    cell.dataset.name = name;
  }
  return row;
}

function fillRow(row, { name, summary, state }) {
  const told = summary || {};
  const count = (value, show) => (value === undefined ? "" : show(value));
  const values = [
    name,
    count(told.seeded, number),
    count(told.peers, number),
    count(told.origin_bytes, human),
    count(told.uploaded_bytes, human),
    count(told.delivered_verified_bytes, human),
    count(told.announces, number),
    state,
  ];
  values.forEach((value, place) => write(row.children[place], value));
}

export function showNodes(cluster) {
  find("#nodes").hidden = cluster === null;
  if (cluster === null) return;
  const rows = cluster.members.map((member) => {
    const state = member.summary ? member.summary.trouble || "there" : UNTOLD;
    const self = member.name === cluster.name;
    return { name: self ? `${member.name} (this one)` : member.name, summary: member.summary, state };
  });
  const state = cluster.up ? `each object is seeded by ${number(cluster.replicas)}` : cluster.reason;
  rows.push({ name: "All together", summary: cluster.totals, state });
  write(find("#nodes-title").firstChild, `Nodes: ${number(cluster.members.length)} `);
  fill(find("#nodes tbody"), rows, nodeRow, fillRow);
}
