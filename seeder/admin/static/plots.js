// The plots: what /history.json tells of a span, drawn by uPlot, and beside each the same in words
// and as a table. Where the daemon didn't run there is a hatched gap, and no line.

import { duration, element, fill, number, rate, share, write, UNKNOWN } from "./format.js";
import { gapsOf, missing, together } from "./history.js";

const POINT = 2.5; // pixels that a point of a line takes
const FAR = 8; // points without a value that interrupt a line
const ROWS = 12; // of a table
const HOUR = 3600;
const DAY = 24 * HOUR;

const origin = (sum) => sum("origin_bytes_metainfo") + sum("origin_bytes_hashing") + sum("origin_bytes_pieces");
const milliseconds = (value) => (value < 10000 ? `${number(Math.round(value))} ms` : `${(value / 1000).toFixed(1)} s`);
// Of nothing there is no share: what isn't defined interrupts no line, null does.
const part = (some, all) => (all > 0 ? some / all : undefined);

export const TRAFFIC = {
  height: 210,
  series: [
    { name: "from S3", color: "--s3", tell: rate, of: (sum, seconds) => origin(sum) / seconds },
    { name: "to peers", color: "--cache", tell: rate, of: (sum, seconds) => sum("uploaded_bytes") / seconds },
    {
      name: "between peers (verified)",
      color: "--between",
      tell: rate,
      of: (sum, seconds) => Math.max(0, sum("delivered_verified_bytes") - sum("uploaded_bytes")) / seconds,
    },
  ],
};
export const S3 = {
  height: 160,
  series: [
    { name: "first byte", color: "--s3", tell: milliseconds, of: (sum) => part(sum("s3_wait_ms"), sum("s3_answers")) },
    { name: "errors", color: "--bad", tell: (value) => number(value), of: (sum) => sum("s3_failures"), bars: true, adds: true },
  ],
};
const asked = (sum) => sum("memory_hits") + sum("disk_hits") + sum("misses");
export const CACHE = {
  height: 160,
  most: 1,
  series: [
    {
      name: "in memory or on disk",
      color: "--between",
      tell: share,
      of: (sum) => part(sum("memory_hits") + sum("disk_hits"), asked(sum)),
      least: true,
    },
    { name: "in memory", color: "--cache", tell: share, of: (sum) => part(sum("memory_hits"), asked(sum)), least: true },
  ],
};

const SIZES = [];
for (let power = 0; power < 6; power += 1) for (let twos = 1; twos < 1024; twos *= 2) SIZES.push(twos * 1024 ** power);

const moment = (seconds, span) => {
  const date = new Date(seconds * 1000);
  if (span > 3 * DAY) return date.toLocaleDateString([], { day: "numeric", month: "short" });
  const precise = span <= HOUR / 2 ? { second: "2-digit" } : {};
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...precise });
};
const exactly = (seconds) =>
  new Date(seconds * 1000).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

export class Plot {
  // `kind` says what is drawn; everything is put into `figure`, which has a caption already.
  constructor(figure, kind) {
    this.kind = kind;
    this.caption = figure.querySelector("figcaption");
    this.title = this.caption.textContent;
    this.moment = element("span", "moment", this.caption);
    this.legend = element("ul", "legend", figure);
    this.box = element("div", "plot", figure);
    this.box.style.height = `${kind.height}px`;
    this.box.setAttribute("role", "img");
    this.details = element("details", "", figure);
    element("summary", "", this.details, "As a table");
    this.table = null;
    this.told = null;
    this.groups = [];
    this.place = null;
    this.drawn = null;
    this.details.addEventListener("toggle", () => this.fillTable());
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.box);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => {
      this.forget();
      this.draw();
    };
    this.scheme.addEventListener("change", this.repaint);
    this.fillLegend(null);
  }

  close() {
    this.watcher.disconnect();
    this.scheme.removeEventListener("change", this.repaint);
    this.forget();
  }

  forget() {
    if (this.drawn) this.drawn.destroy();
    this.drawn = null;
  }

  // Shows what was counted up to `at` (Unix s).
  show(told, at) {
    this.told = told;
    this.now = at;
    this.draw();
    this.fillTable();
  }

  draw() {
    const width = Math.floor(this.box.clientWidth);
    if (!this.told || width <= 0) return;
    this.groups = together(this.told, Math.max(20, width / POINT), this.now);
    this.gaps = gapsOf(this.groups);
    const begin = this.told.begin;
    this.end = Math.max(this.groups.at(-1).end, begin + 1);
    const values = this.kind.series.map((series) => connected(this.groups.map((group) => this.value(series, group))));
    const data = [this.groups.map((group) => (group.start + group.end) / 2), ...values];
    if (!this.drawn) this.drawn = new uPlot(this.options(width), data, this.box);
    else {
      if (this.drawn.width !== width) this.drawn.setSize({ width, height: this.kind.height });
      this.drawn.setData(data);
    }
    if (this.place === null) this.fillLegend(null);
  }

  value(series, group) {
    return group.ran ? series.of(group.sum, group.seconds) : null;
  }

  options(width) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = "12px system-ui, sans-serif";
    const base = { stroke: color("--soft"), font, ticks: { show: false }, grid: { stroke: color("--line"), width: 1 } };
    const bars = this.kind.series.some((series) => series.bars);
    const [first] = this.kind.series;
    const bytes = first.tell === rate;
    const axes = [
      { ...base, grid: { show: false }, size: 26, space: 80, values: (plot, ticks) => ticks.map((tick) => moment(tick, plot.scales.x.max - plot.scales.x.min)) },
      {
        ...base,
        size: 74,
        space: 32,
        ...(bytes ? { incrs: SIZES } : {}),
        values: (plot, ticks) => ticks.map((tick) => (bytes ? rate(tick).replace(/\.0+ /, " ") : first.tell === share ? `${Math.round(tick * 100)} %` : first.tell(tick))),
      },
    ];
    if (bars) {
      axes.push({ ...base, scale: "count", side: 1, size: 44, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000], values: (plot, ticks) => ticks.map(number) });
    }
    return {
      width,
      height: this.kind.height,
      padding: [8, bars ? 0 : 32, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 }, sync: { key: "span" } },
      scales: {
        x: { range: () => [this.told.begin, this.end] },
        y: { range: (plot, least, most) => [0, this.kind.most || Math.max(bytes ? 1024 : 10, (most || 0) * 1.08)] },
        count: { range: (plot, least, most) => [0, Math.max(4, (most || 0) * 1.5)] },
      },
      axes,
      series: [
        {},
        ...this.kind.series.map((series) => ({
          scale: series.bars ? "count" : "y",
          stroke: color(series.color),
          fill: series.bars ? color(series.color) : `${color(series.color)}1c`,
          width: series.bars ? 0 : 1.5,
          paths: series.bars ? uPlot.paths.bars({ size: [1, 3], align: 0 }) : undefined,
          // A value without neighbours is no line: it is drawn as a point.
          points: { show: !series.bars, size: 4, stroke: color(series.color), fill: color(series.color), filter: alone },
        })),
      ],
      hooks: {
        drawClear: [(plot) => this.hatch(plot, color("--gap"))],
        setCursor: [(plot) => this.point(plot.cursor.idx ?? null)],
      },
    };
  }

  hatch(plot, color) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    for (const [start, stop] of this.gaps) {
      const left = Math.max(bbox.left, plot.valToPos(start, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(stop, "x", true));
      ctx.rect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.clip();
    ctx.strokeStyle = color;
    ctx.lineWidth = Math.max(1, devicePixelRatio);
    ctx.beginPath();
    const pace = 7 * devicePixelRatio;
    for (let at = bbox.left - bbox.height; at < bbox.left + bbox.width; at += pace) {
      ctx.moveTo(at, bbox.top + bbox.height);
      ctx.lineTo(at + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }

  point(place) {
    this.place = place;
    this.fillLegend(place);
  }

  // Says the values at one place, or of the whole span the most (of a share the least) or the sum.
  fillLegend(place) {
    const group = place === null ? null : this.groups[place];
    write(this.moment, group ? `${exactly(group.start)}${group.ran ? "" : ", not running"}` : "");
    const told = this.kind.series.map((series) => ({ ...series, text: group ? tell(series, this.value(series, group)) : this.whole(series) }));
    const without = this.told ? missing(this.told) : 0;
    if (without > 0) told.push({ name: "not running", text: group ? "" : duration(without), gap: true });
    const make = () => {
      const item = element("li");
      element("i", "", item);
      element("span", "", item);
      element("b", "", item);
      return item;
    };
    fill(this.legend, told, make, (item, { name, color, text, gap }) => {
      const [mark, title, value] = item.children;
      mark.className = gap ? "gap" : color.slice(2);
      write(title, name);
      write(value, text);
    });
    if (place === null) {
      const words = told.map(({ name, text }) => `${name} ${text}`).join(", ");
      this.box.setAttribute("aria-label", `${this.title}: ${words}`);
    }
  }

  whole(series) {
    const values = this.groups.map((group) => this.value(series, group)).filter((value) => value !== null && value !== undefined);
    if (!values.length) return UNKNOWN;
    if (series.adds) return series.tell(values.reduce((sum, value) => sum + value, 0));
    if (series.least) return `at least ${series.tell(values.reduce((one, other) => Math.min(one, other)))}`;
    return `at most ${series.tell(values.reduce((one, other) => Math.max(one, other)))}`;
  }

  fillTable() {
    if (!this.details.open || !this.told) return;
    if (!this.table) {
      this.table = element("table", "", this.details);
      element("caption", "hidden", this.table, this.title);
      const head = element("tr", "", element("thead", "", this.table));
      for (const name of ["From", ...this.kind.series.map((series) => series.name)]) {
        element("th", name === "From" ? "" : "number", head, name).scope = "col";
      }
      element("tbody", "", this.table);
    }
    const columns = ["From", ...this.kind.series.map((series) => series.name)];
    const make = () => {
      const row = element("tr");
      for (const name of columns) element("td", name === "From" ? "" : "number", row).dataset.name = name;
      return row;
    };
    fill(this.table.tBodies[0], together(this.told, ROWS, this.now), make, (row, group) => {
      write(row.cells[0], exactly(group.start) + (group.ran ? "" : ", not running"));
      this.kind.series.forEach((series, place) => write(row.cells[place + 1], tell(series, this.value(series, group))));
    });
  }
}

const tell = (series, value) => (value === null || value === undefined ? UNKNOWN : series.tell(value));

// Values with null where one is missing for long: what is far apart isn't connected.
function connected(values) {
  let last = 0;
  const found = [...values];
  for (let place = 0; place <= values.length; place += 1) {
    if (place < values.length && values[place] == null) continue;
    if (place - last > FAR) found.fill(null, last, place);
    last = place + 1;
  }
  return found;
}

// The places of values without neighbours.
function alone(plot, series) {
  const values = plot.data[series];
  const found = [];
  values.forEach((value, place) => {
    const between = values[place - 1] == null && values[place + 1] == null;
    if (value != null && between) found.push(place);
  });
  return found;
}
