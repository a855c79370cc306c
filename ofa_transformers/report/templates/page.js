"use strict";
// The table of tokens and the map. Texts from the data only ever become text nodes.

const ROW = 34;
const TALLEST = 10_000_000; // px; browsers cut taller elements
const KINDS = ["copied", "composed", "fallback", "special"];
const MATCHES = ["", "the same token", "the same but for case", "the same but for the leading space", "the same role",
  "the source has this token, but its languages hardly use it"];
const NO_LANGUAGE = 65535;
const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

async function unpack(text) {
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  // safetensors: the length of the header, the header as JSON, the data
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const types = { U8: Uint8Array, U16: Uint16Array, U32: Uint32Array, I16: Int16Array };
  const { __metadata__: { facts }, ...arrays } = header;
  const columns = { facts: JSON.parse(facts) };
  for (const [name, { dtype, data_offsets: [first, last] }] of Object.entries(arrays)) {
    columns[name] = new types[dtype](buffer.slice(start + first, start + last));
  }
  return columns;
}

function starts(lengths) {
  const ends = new Uint32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) ends[i + 1] = ends[i] + lengths[i];
  return ends;
}

class Texts {
  constructor(columns, name) {
    this.all = new TextDecoder().decode(columns[name + "_text"]);
    this.starts = starts(columns[name + "_length"]);
    this.length = this.starts.length - 1;
  }
  at(i) { return this.all.slice(this.starts[i], this.starts[i + 1]); }
  // 1 where a text holds the query, without regard to case.
  matching(query) {
    this.lower ??= Array.from({ length: this.length }, (_, i) => this.at(i).toLowerCase());
    const found = new Uint8Array(this.length);
    const wanted = query.toLowerCase();
    for (let i = 0; i < found.length; i++) if (this.lower[i].includes(wanted)) found[i] = 1;
    return found;
  }
}

class Tokens {
  constructor(columns) {
    this.columns = columns;
    this.facts = columns.facts;
    this.token = new Texts(columns, "token");
    this.source = new Texts(columns, "source");
    this.word = new Texts(columns, "word");
    this.sourceStart = starts(columns.source_count);
    this.wordStart = starts(columns.word_count);
    this.length = this.token.length;
  }
  languageName(code) { return this.facts.names[code] ?? code; }
  languageOf(i) {
    const number = this.columns.language[i];
    return number === NO_LANGUAGE ? "" : this.facts.languages[number];
  }
  sourceId(j) { return this.columns.sources_low[j] + 65536 * this.columns.sources_high[j]; }
  wordId(j) { return this.columns.words_low[j] + 65536 * this.columns.words_high[j]; }
  sources(i) {
    const found = [];
    for (let j = this.sourceStart[i]; j < this.sourceStart[i + 1]; j++) {
      const id = this.sourceId(j);
      found.push({ id, text: this.source.at(id), weight: this.columns.weights[j] / 255 });
    }
    return found;
  }
  words(i) {
    const found = [];
    for (let j = this.wordStart[i]; j < this.wordStart[i + 1]; j++) {
      const id = this.wordId(j);
      found.push({ text: this.word.at(id).replaceAll("$", " ").trim(), language: this.facts.languages[this.columns.word_language[id]] });
    }
    return found;
  }
  nearest(i) { return this.columns.kind[i] === 1 ? (this.columns.cosine[i] / 127.5 - 1).toFixed(2) : ""; }
  // Ids of the tokens that pass all filters, in order.
  select({ query, scope, kind, language, order }) {
    const { columns } = this;
    let passes = () => true;
    if (query && scope === "token") {
      const hits = this.token.matching(query);
      passes = (i) => hits[i];
    } else if (query) {
      const [hits, start, id] = scope === "word"
        ? [this.word.matching(query), this.wordStart, (j) => this.wordId(j)]
        : [this.source.matching(query), this.sourceStart, (j) => this.sourceId(j)];
      passes = (i) => {
        for (let j = start[i]; j < start[i + 1]; j++) if (hits[id(j)]) return true;
        return false;
      };
    }
    const found = new Uint32Array(this.length);
    let size = 0;
    for (let i = 0; i < this.length; i++) {
      if (kind !== "" && columns.kind[i] !== +kind) continue;
      if (language !== "" && columns.language[i] !== +language) continue;
      if (order === "near" && columns.kind[i] !== 1) continue;
      if (!columns.token_length[i] || !passes(i)) continue;
      found[size++] = i;
    }
    const ids = found.subarray(0, size);
    if (order === "near") ids.sort((a, b) => columns.cosine[a] - columns.cosine[b] || a - b);
    if (order === "words") ids.sort((a, b) => columns.word_total[b] - columns.word_total[a] || a - b);
    return ids;
  }
}

function showTable(tokens) {
  const scroll = $("scroll"), body = $("body"), details = $("details");
  let ids = new Uint32Array(0), chosen = -1, first = 0, visible = 0, pending = false;

  const height = () => Math.min(ids.length * ROW, TALLEST);
  const top = () => {
    const room = scroll.clientHeight - ROW;
    const whole = ids.length * ROW;
    if (whole <= TALLEST) return Math.floor(scroll.scrollTop / ROW);
    return Math.round(scroll.scrollTop / Math.max(TALLEST - room, 1) * Math.max(ids.length - room / ROW, 0));
  };

  function row(position) {
    const i = ids[position];
    const kind = KINDS[tokens.columns.kind[i]];
    const words = tokens.words(i).map((word) => word.text).join(", ");
    const sources = tokens.sources(i);
    const listed = sources.map(({ text, weight }) => sources.length > 1 ? `${text} ${weight.toFixed(2)}` : text).join("  ");
    const code = tokens.languageOf(i);
    const button = element("button", { type: "button", "data-position": position }, tokens.token.at(i));
    const made = element("tr", { "aria-rowindex": position + 2, class: i === chosen ? "chosen" : "" },
      element("td", {}, button),
      element("td", { class: "kind" }, element("i", { class: kind }), kind),
      element("td", { class: "wide soft" }, code && tokens.languageName(code)),
      element("td", { class: "wide number" }, tokens.nearest(i)),
      element("td", { class: "wide" }, words),
      element("td", { class: "mid" }, listed));
    return made;
  }

  const space = (pixels) => {
    const cell = element("td");
    cell.style.height = `${pixels}px`;
    return element("tr", { class: "space", "aria-hidden": "true" }, cell);
  };

  function draw() {
    pending = false;
    const focused = document.activeElement?.dataset?.position;
    visible = Math.ceil(scroll.clientHeight / ROW) + 2;
    first = Math.max(0, Math.min(top() - 1, ids.length - visible));
    const last = Math.min(first + visible, ids.length);
    const whole = ids.length * ROW <= TALLEST;
    const above = whole ? first * ROW : Math.max(0, Math.min(scroll.scrollTop - ROW, height() - (last - first) * ROW));
    const rows = [];
    for (let position = first; position < last; position++) rows.push(row(position));
    body.replaceChildren(space(above), ...rows, space(Math.max(0, height() - above - rows.length * ROW)));
    if (focused !== undefined) body.querySelector(`[data-position="${focused}"]`)?.focus({ preventScroll: true });
  }

  function moveTo(position) {
    if (position < 0 || position >= ids.length) return;
    if (ids.length * ROW <= TALLEST) {
      const room = scroll.clientHeight - 2 * ROW;
      if (position * ROW < scroll.scrollTop) scroll.scrollTop = position * ROW;
      if (position * ROW > scroll.scrollTop + room) scroll.scrollTop = position * ROW - room;
    } else {
      scroll.scrollTop = position / ids.length * TALLEST;
    }
    draw();
    body.querySelector(`[data-position="${position}"]`)?.focus({ preventScroll: true });
  }

  function explain(i) {
    chosen = i;
    const { columns } = tokens;
    const kind = KINDS[columns.kind[i]];
    const sources = tokens.sources(i), words = tokens.words(i), code = tokens.languageOf(i);
    const parts = [element("h3", {}, element("code", {}, tokens.token.at(i)), element("span", { class: "soft" }, ` · id ${i} · ${kind}`))];
    const said = [];
    if (MATCHES[columns.match[i]]) said.push(MATCHES[columns.match[i]]);
    if (code) said.push(`used most in ${tokens.languageName(code)} (${code})`);
    if (kind === "composed") said.push(`nearest source token at cosine ${tokens.nearest(i)}`);
    if (kind === "fallback") said.push("no word with a vector contains it");
    if (said.length) parts.push(element("p", {}, said.join("; ") + "."));
    if (words.length) {
      const listed = words.map(({ text, language }) => `${text} (${tokens.languageName(language)})`).join(", ");
      const total = columns.word_total[i];
      parts.push(element("p", {}, element("b", {}, `In ${count.format(total)} word${total === 1 ? "" : "s"}: `), listed + (total > words.length ? ", …" : "")));
    }
    if (sources.length) {
      const table = element("table", { class: "weights bars" }, element("caption", { class: "hidden" }, "Source tokens and weights"));
      for (const { id, text, weight } of sources) {
        const bar = element("i", { class: kind });
        bar.style.width = `${100 * weight}%`;
        table.append(element("tr", {}, element("th", { scope: "row", title: `source id ${id}` }, text),
          element("td", {}, element("div", { class: "bar" }, bar)), element("td", { class: "number" }, weight.toFixed(2))));
      }
      parts.push(table);
    }
    details.replaceChildren(...parts);
    draw();
  }

  function search() {
    ids = tokens.select({
      query: $("query").value.trim(), scope: $("scope").value, kind: $("kind").value,
      language: $("language").value, order: $("order").value,
    });
    $("found").value = `${count.format(ids.length)} of ${count.format(tokens.length)} tokens`;
    $("table").setAttribute("aria-rowcount", ids.length + 1);
    scroll.scrollTop = 0;
    draw();
  }

  const codes = new Set(tokens.columns.language);
  tokens.facts.languages.map((code, number) => [tokens.languageName(code), number])
    .filter(([, number]) => codes.has(number)).sort((a, b) => a[0].localeCompare(b[0]))
    .forEach(([name, number]) => $("language").append(element("option", { value: number }, name)));

  let timer;
  $("query").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 120); });
  for (const id of ["scope", "kind", "language", "order"]) $(id).addEventListener("change", search);
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  scroll.addEventListener("scroll", () => { if (!pending) { pending = true; requestAnimationFrame(draw); } });
  addEventListener("resize", draw);
  body.addEventListener("click", (event) => {
    const button = event.target.closest("tr")?.querySelector("button");
    if (button) explain(ids[+button.dataset.position]);
  });
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const position = event.target.dataset?.position;
    if (step && position !== undefined) { event.preventDefault(); moveTo(+position + step); }
  });
  search();
}

const PALETTES = {
  light: ["#2f6db5", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b", "#d63384", "#5d4037"],
  dark: ["#6aa3e6", "#f1857a", "#6fd08c", "#c79be0", "#f2b950", "#59cbdc", "#f58ac0", "#c3a08f"],
};

function showMap(tokens) {
  const canvas = $("map-canvas"), tip = $("map-tip"), legend = $("map-legend");
  const { map_points: points, map_ids: ids, facts } = tokens.columns;
  const numSource = facts.map.sources;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const scriptNames = scriptName();
  const near = tokens.columns.map_translations, perPoint = near ? near.length / ids.length : 0;
  let shown = [], at = -1, lit = new Set();

  function groupOf(n, by) {
    if (n < numSource) return "source tokens";
    const i = ids[n];
    if (by === "kind") return KINDS[tokens.columns.kind[i]];
    if (by === "script") return scriptNames(facts.scripts[tokens.columns.script[i]]);
    const code = tokens.languageOf(i);
    return code ? tokens.languageName(code) : "no language";
  }

  function colours(by) {
    const style = getComputedStyle(document.documentElement);
    const grey = style.getPropertyValue("--special").trim();
    if (by === "kind") {
      return { ...Object.fromEntries(KINDS.map((kind) => [kind, style.getPropertyValue(`--${kind}`).trim()])), "source tokens": grey };
    }
    const sizes = new Map();
    for (let n = numSource; n < ids.length; n++) {
      const group = groupOf(n, by);
      if (group !== "no language") sizes.set(group, (sizes.get(group) ?? 0) + 1);
    }
    const largest = [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([name]) => name);
    const palette = PALETTES[dark.matches ? "dark" : "light"];
    return { ...Object.fromEntries(largest.map((name, k) => [name, palette[k]])), "source tokens": grey };
  }

  function draw() {
    const by = $("map-colour").value, only = $("map-only").value;
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const palette = colours(by), other = style.getPropertyValue("--soft").trim();
    shown = [];
    for (let n = 0; n < ids.length; n++) {
      const group = groupOf(n, by);
      const language = groupOf(n, "language");
      if (only && language !== only && n >= numSource) continue;
      const x = 12 + (points[2 * n] / 32767 + 1) / 2 * (width - 24);
      const y = 12 + (1 - points[2 * n + 1] / 32767) / 2 * (height - 24);
      context.fillStyle = only && n >= numSource ? style.getPropertyValue("--fallback") : palette[group] ?? other;
      context.globalAlpha = lit.size ? 0.12 : n < numSource ? 0.3 : palette[group] || only ? 0.85 : 0.35;
      context.beginPath();
      context.arc(x, y, n < numSource ? 1.8 : 2.6, 0, 2 * Math.PI);
      context.fill();
      shown.push({ n, x, y });
    }
    context.globalAlpha = 1;
    lightUp(context, style, width, height, palette, other, by);
    if (at >= 0 && shown[at]) {
      context.strokeStyle = style.getPropertyValue("--ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(shown[at].x, shown[at].y, 6, 0, 2 * Math.PI);
      context.stroke();
    }
    legend.replaceChildren(...Object.entries(palette).map(([name, colour]) => {
      const patch = element("i");
      patch.style.background = colour;
      return element("span", {}, patch, name);
    }));
    if (by === "language") {
      const patch = element("i");
      patch.style.background = other;
      legend.append(element("span", {}, patch, "others, or none"));
    }
  }

  // The chosen token and its translations, joined and named; names that would lie on others move down.
  function lightUp(context, style, width, height, palette, other, by) {
    const dots = shown.filter(({ n }) => lit.has(n)).sort((a, b) => a.y - b.y);
    if (!dots.length) return;
    const first = shown.find(({ n }) => n === [...lit][0]);
    context.strokeStyle = style.getPropertyValue("--soft");
    context.lineWidth = 1;
    if (first) {
      for (const { x, y } of dots) {
        context.beginPath();
        context.moveTo(first.x, first.y);
        context.lineTo(x, y);
        context.stroke();
      }
    }
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    const boxes = [];
    for (const { n, x, y } of dots) {
      context.fillStyle = palette[groupOf(n, by)] ?? other;
      context.beginPath();
      context.arc(x, y, 5, 0, 2 * Math.PI);
      context.fill();
      const text = `${tokens.token.at(ids[n]).replace(/^[▁Ġ]/, "")} · ${groupOf(n, "language")}`;
      const size = context.measureText(text).width;
      const left = Math.min(Math.max(x + 9, 4), width - size - 6);
      let line = y;
      const meets = ([l, r, v]) => left < r && left + size > l && Math.abs(v - line) < 17;
      while (boxes.some(meets) && line < height - 20) line += 3;
      boxes.push([left, left + size, line]);
      context.globalAlpha = 0.85;
      context.fillStyle = style.getPropertyValue("--card");
      context.fillRect(left - 3, line - 9, size + 6, 18);
      context.globalAlpha = 1;
      context.fillStyle = style.getPropertyValue("--ink");
      context.fillText(text, left, line);
    }
  }

  const bare = (n) => tokens.token.at(ids[n]).replace(/^[▁Ġ]/, "").toLowerCase();

  function translate(n) {
    lit = new Set(n < 0 ? [] : [n]);
    if (n >= 0) for (let k = n * perPoint; k < (n + 1) * perPoint; k++) if (near[k] !== NO_LANGUAGE) lit.add(near[k]);
    $("map-found").value = n < 0 ? "" : lit.size < 2 ? "no token of another language means nearly the same"
      : `${lit.size - 1} token${lit.size === 2 ? "" : "s"} of other languages`;
    point(-1);
  }

  function findWord() {
    const word = $("map-word").value.trim().toLowerCase();
    if (!word) { translate(-1); return; }
    let best = -1, most = -1;
    for (let n = numSource; n < ids.length; n++) {
      if (bare(n) !== word) continue;
      let size = 0;
      for (let k = n * perPoint; k < (n + 1) * perPoint; k++) if (near[k] !== NO_LANGUAGE) size++;
      if (size > most) { most = size; best = n; }
    }
    translate(best);
    if (best < 0) $("map-found").value = "not among the points of the map";
  }

  function point(index) {
    at = index;
    draw();
    tip.hidden = at < 0;
    if (at < 0) return;
    const { n, x, y } = shown[at];
    const i = ids[n];
    const text = n < numSource
      ? `${tokens.source.at(i)} · source`
      : `${tokens.token.at(i)} · ${KINDS[tokens.columns.kind[i]]} · ${groupOf(n, "language")}`;
    tip.textContent = text;
    $("map-said").textContent = text;
    tip.style.left = `${Math.min(x + 10, canvas.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${y > 40 ? y - 34 : y + 12}px`;
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = 14 * 14;
    shown.forEach((dot, index) => {
      const distance = (dot.x - x) ** 2 + (dot.y - y) ** 2;
      if (distance < least) { least = distance; best = index; }
    });
    if (best !== at) point(best);
  }

  const named = new Set();
  for (let n = numSource; n < ids.length; n++) if (tokens.languageOf(ids[n])) named.add(groupOf(n, "language"));
  [...named].sort((a, b) => a.localeCompare(b)).forEach((name) => $("map-only").append(element("option", { value: name }, name)));
  if (near) {
    const offered = [];
    for (let n = numSource; n < ids.length; n++) {
      if (near[n * perPoint + 2] !== NO_LANGUAGE && near[n * perPoint + 2] !== undefined && bare(n).length > 2) offered.push(n);
    }
    for (const n of offered.slice(0, 400)) $("map-words").append(element("option", { value: bare(n) }));
    $("map-word").addEventListener("input", findWord);
    // Something to see at once: a word that has many translations, of those the one whose words are most.
    const total = (n) => tokens.columns.word_total[ids[n]];
    const full = offered.filter((n) => tokens.token.at(ids[n]).match(/^[▁Ġ]/) && bare(n).length > 3);
    const count = (n) => near.subarray(n * perPoint, (n + 1) * perPoint).filter((k) => k !== NO_LANGUAGE).length;
    const plain = (n) => /^[a-z]+$/.test(bare(n));
    full.sort((a, b) => plain(b) - plain(a) || count(b) - count(a) || total(b) - total(a));
    if (full.length) { $("map-word").value = bare(full[0]); findWord(); }
  } else {
    $("map-word").parentElement.hidden = true;
  }
  canvas.addEventListener("pointermove", nearest);
  canvas.addEventListener("pointerdown", nearest);
  canvas.addEventListener("click", () => {
    if (!near || at < 0 || shown[at].n < numSource) return;
    $("map-word").value = bare(shown[at].n);
    translate(shown[at].n);
  });
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !shown.length) return;
    event.preventDefault();
    point(at < 0 ? numSource % shown.length : (at + step + shown.length) % shown.length);
  });
  for (const id of ["map-colour", "map-only"]) $(id).addEventListener("change", () => point(-1));
  addEventListener("resize", () => point(-1));
  dark.addEventListener("change", draw);
  draw();
}

function scriptName() {
  const names = new Intl.DisplayNames(["en"], { type: "script", fallback: "code" });
  return (code) => (code === "Zyyy" ? "no letters" : names.of(code).replace(/ \(.*\)$/, ""));
}

async function main() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
    });
  }
  const name = scriptName();
  for (const cell of document.querySelectorAll("[data-script]")) cell.textContent = name(cell.dataset.script);
  const packed = $("columns");
  if (typeof DecompressionStream === "undefined") {
    $("found").value = "This browser is too old for the table: it lacks DecompressionStream.";
    return;
  }
  const tokens = new Tokens(await unpack(packed.textContent));
  packed.remove();
  showTable(tokens);
  if (tokens.columns.map_ids) showMap(tokens);
  document.documentElement.dataset.ready = "true";
}

main();
