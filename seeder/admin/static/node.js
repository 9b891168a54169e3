// The node itself: cache, S3, budget, prefixes.

import { clock, counted, element, fill, find, human, moment, money, number, pairs, rate, share, write } from "./format.js";
import { speed } from "./figures.js";

export function showNode(now, before) {
  showSelf(now);
  showCache(now.cache);
  showOrigins(now.origins);
  find("#budget").hidden = now.budget.length === 0;
  const sent = speed(now, before, "uploaded_bytes");
  fill(find("#limits"), now.limits, makeLimit, (item, limit) => fillLimit(item, limit, sent));
  fill(find("#left"), now.budget, makeLimit, (item, limit) => fillBudget(item, limit, now.currency));
  find("#groups").hidden = now.groups.length === 0;
  fill(find("#flows"), now.groups, makeGroup, fillGroup);
  find("#prefixes").hidden = now.prefixes.length === 0;
  fill(find("#listed"), now.prefixes, makePrefix, fillPrefix);
}

function showSelf(now) {
  const { tracker, tracker_tls: tls, tracker_udp: udp, peer, admin } = now.listeners;
  pairs(find("#self"), [
    ["version", now.version],
    ["running since", moment(now.started_at)],
    ...(tracker ? [["tracker and downloads at", tracker.join(", ")]] : []),
    ...(tls ? [["tracker and downloads by TLS at", tls.join(", ")]] : []),
    ...(now.certificate ? [["certificate ends", moment(now.certificate.ends)]] : []),
    ...(udp ? [["tracker by UDP at", udp.join(", ")]] : []),
    ["peers at", peer.join(", ")],
    ["this page at", admin.join(", ")],
    ["torrents name", now.announce],
  ]);
}

function tier(used, budget) {
  return budget ? `${human(used)} of ${human(budget)} (${share(used / budget)})` : "off";
}

function showCache(cache) {
  const found = cache.memory_hits + cache.disk_hits;
  const asked = found + cache.misses;
  pairs(find("#cache"), [
    ["memory", tier(cache.memory_bytes, cache.memory_budget)],
    ["disk", tier(cache.disk_bytes, cache.disk_budget)],
    ["pieces found", asked ? `${share(found / asked)} of ${number(asked)}` : "none asked for"],
    ["on their way from S3", counted(cache.fetching, "piece")],
    ["made room for others", counted(cache.memory_evictions + cache.disk_evictions, "time")],
  ]);
}

function makeOrigin() {
  const item = element("li");
  element("b", "", item);
  element("span", "pill", item);
  element("span", "", item);
  element("div", "reason", item);
  return item;
}

function showOrigins(origins) {
  fill(find("#origins"), Object.entries(origins), makeOrigin, (item, [name, origin]) => {
    const [title, pill, counts, reason] = item.children;
    write(title, name);
    pill.className = origin.reachable ? "pill serving" : "pill failed";
    write(pill, origin.reachable ? "reachable" : "away");
    const errors = Object.values(origin.errors).reduce((sum, count) => sum + count, 0);
    write(counts, `${counted(origin.requests, "request")}, ${number(origin.retries)} tried again, ${number(errors)} failed`);
    const since = origin.since === null ? "" : ` since ${clock(origin.since)}`;
    const last = origin.last_error === null ? "" : `last error: ${origin.last_error}`;
    write(reason, origin.reachable ? last : `${origin.reason}${since}`);
  });
}

function amount(limit, value, currency) {
  if (limit.resource.endsWith("_bytes")) return human(Math.round(value));
  return limit.resource.endsWith("_money") ? money(value, currency) : number(value);
}

function makeLimit() {
  const item = element("li");
  const name = element("b", "", item);
  name.id = `limit-${Math.random().toString(36).slice(2)}`;
  element("span", "", item);
  element("progress", "", item).setAttribute("aria-labelledby", name.id);
  element("span", "pill", item);
  return item;
}

const TAKEN = {
  connections: (used, most) => `${counted(used, "peer")} of at most ${number(most)}`,
  uploads: (used, most) => `${counted(used, "upload")} of ${number(most)} at a time`,
  bytes_per_second: (used, most) => `${rate(used)} of ${rate(most)}`,
  calls: (used) => `${counted(used, "call")} under way`,
};

function fillLimit(item, limit, sent) {
  const [name, taken, bar, pill] = item.children;
  const used = limit.unit === "bytes_per_second" ? sent : limit.used;
  write(name, limit.setting);
  bar.hidden = limit.limit === null;
  bar.value = limit.limit ? Math.min(1, used / limit.limit) : 0;
  write(taken, TAKEN[limit.unit](used, limit.limit));
  pill.hidden = !limit.full;
  pill.className = "pill waiting";
  write(pill, "used up");
}

function fillBudget(item, limit, currency) {
  const [name, left, bar, pill] = item.children;
  const until = new Date(limit.resets_at * 1000).toISOString().slice(0, 16).replace("T", " ");
  write(name, `${limit.resource.replaceAll("_", " ")} a ${limit.period}`);
  bar.value = limit.limit > 0 ? Math.min(1, limit.spent / limit.limit) : 1;
  write(left, `${amount(limit, limit.left, currency)} of ${amount(limit, limit.limit, currency)} left until ${until} UTC`);
  pill.hidden = limit.level === "normal";
  pill.className = limit.left <= 0 ? "pill failed" : "pill";
  write(pill, limit.level);
}

function makeGroup() {
  const item = element("li");
  element("b", "", item);
  element("span", "", item);
  element("div", "reason", item);
  return item;
}

function fillGroup(item, group) {
  const [name, measured, claimed] = item.children;
  write(name, group.name);
  write(measured, `${human(group.sent_bytes)} from us (measured)`);
  const [least, most] = [group.from_other_groups_claimed_least_bytes, group.from_other_groups_claimed_most_bytes];
  const crossed = least === most ? human(most) : `${human(least)} to ${human(most)}`;
  write(claimed, `claimed: ${human(group.from_peers_claimed_bytes)} from peers, ${crossed} of that of other groups; ${human(group.uploaded_claimed_bytes)} uploaded`);
}

function makePrefix() {
  const item = element("li");
  element("b", "", item);
  element("span", "", item);
  element("span", "pill", item);
  element("div", "reason", item);
  return item;
}

function fillPrefix(item, prefix) {
  const [name, counts, pill, reason] = item.children;
  write(name, `${prefix.bucket}/${prefix.prefix}`);
  write(counts, `${counted(prefix.objects, "object")}, ${human(prefix.bytes)}`);
  pill.hidden = prefix.state === "followed";
  pill.className = prefix.state === "failed" ? "pill failed" : "pill";
  write(pill, prefix.state);
  const without = prefix.left_out.map((entry) => `${entry.key}: ${entry.reason}`);
  write(reason, [prefix.reason, ...without].filter(Boolean).join("; "));
}
