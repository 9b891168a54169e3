// What /history.json tells: asked for now and then, and its steps put together to points.

import { write } from "./format.js";

const LATE = 15; // seconds that a step has to be old to tell a rate
const LONG = { hour: 3600, day: 86400, month: 30 * 86400 }; // seconds
const AGAIN = { hour: 6000, day: 30000, month: 60000, all: 60000 }; // milliseconds between two looks

// Puts steps together to about `wanted` points: the same ones each time, and none in which the daemon
// ran with one in which it didn't.
export function together(told, wanted, at) {
  const { begin, step, columns } = told;
  const [known] = Object.values(columns);
  // Of the last step nothing may be told yet.
  const length = Math.max(1, known.length - (known.at(-1) === null ? 1 : 0));
  const count = Math.max(1, Math.ceil(length / wanted));
  const groups = [];
  let from = 0;
  while (from < length) {
    const ran = known[from] !== null;
    const limit = Math.min(length, (Math.floor((begin / step + from) / count) + 1) * count - begin / step);
    let to = from + 1;
    while (to < limit && (known[to] !== null) === ran) to += 1;
    groups.push(group(told, from, to, ran, at));
    from = to;
  }
  const last = groups.at(-1);
  const early = Math.min(LATE, (count * step) / 2);
  if (groups.length > 1 && last.ran && last.seconds < early) groups.pop();
  return groups;
}

function group({ begin, step, columns }, from, to, ran, at) {
  const start = begin + from * step;
  const end = begin + to * step;
  const sum = (name) => {
    let total = 0;
    for (let place = from; columns[name] && place < to; place += 1) total += columns[name][place];
    return total;
  };
  return { start, end, ran, seconds: Math.max(1, Math.min(end, at) - start), sum };
}

// Seconds in which the daemon didn't run.
export function missing(told) {
  const [steps] = Object.values(told.columns);
  return told.step * steps.slice(0, -1).filter((value) => value === null).length;
}

// Without the steps before the first one in which the daemon ran: these are no gap.
function begun(told) {
  if (told.since === null || told.since < told.begin) return told;
  const names = Object.keys(told.columns);
  const known = told.columns[names[0]];
  const found = known.findIndex((value) => value !== null);
  const first = found < 0 ? known.length - 1 : found;
  const columns = Object.fromEntries(names.map((name) => [name, told.columns[name].slice(first)]));
  return { ...told, begin: told.begin + first * told.step, columns };
}

export function gapsOf(groups) {
  const gaps = [];
  for (const { start, end, ran } of groups) {
    if (ran) continue;
    if (gaps.length && gaps.at(-1)[1] === start) gaps.at(-1)[1] = end;
    else gaps.push([start, end]);
  }
  return gaps;
}

// Asks for the history of a span, of everything or of one object, now and then, and shows it.
export class Reader {
  constructor(plots, note) {
    this.plots = plots;
    this.note = note;
    this.asked = "";
    this.askedAt = 0;
    this.busy = false;
  }

  // `run` is another for each run of the daemon.
  look(span, of, at, run) {
    const query = new URLSearchParams(of);
    const wanted = `${span} ${query} ${run}`;
    const due = wanted !== this.asked || performance.now() - this.askedAt > AGAIN[span];
    if (!due || this.busy) return;
    this.asked = wanted;
    this.askedAt = performance.now();
    this.busy = true;
    read(span, query, at)
      .then(
        (told) => {
          write(this.note, "");
          for (const plot of this.plots) plot.show(told, at);
        },
        (error) => write(this.note, `The history can't be read: ${error.message}`),
      )
      .finally(() => {
        this.busy = false;
      });
  }
}

// Of a history that has just begun, long steps would be few points.
async function read(span, query, at) {
  const told = await ask(span, query);
  const age = told.since === null ? 0 : at - told.since;
  const [finer] = Object.keys(LONG).filter((other) => age < LONG[other]);
  return begun(finer && LONG[finer] < (LONG[span] ?? Infinity) ? await ask(finer, query) : told);
}

async function ask(span, query) {
  const response = await fetch(`history.json?${new URLSearchParams([["span", span], ...query])}`);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}
