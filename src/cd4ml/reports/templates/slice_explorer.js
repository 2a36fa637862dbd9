/* The page: choices in, a table (or a map) of slices out. Texts are only ever set as text. */
(() => {
  const SHOWN = 200, FEW_ROWS = 30, FEW_CLUSTERS = 5, BARS = 24, PICTURE = 160;
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const state = { first: "", second: "", metric: "", prediction: "", rule: "rows", bins: 5, spread: "predicted",
    order: "worst", view: "table", text: "", least: 1, worse: false, all: false, open: null };
  const KEPT = ["first", "second", "metric", "prediction", "rule", "bins", "spread", "order", "view", "least"];

  function prepare() {
    data.y = Slices.unpack(data.actual);
    data.cluster = data.cluster && Slices.unpack(data.cluster);
    data.weight = data.weight && Slices.unpack(data.weight);
    data.mean = data.y.reduce((sum, one) => sum + one, 0) / data.y.length;
    data.cache = new Map();
    for (const one of data.predictions) {
      one.values = Slices.unpack(one.values);
      one.called = one.called && Slices.unpack(one.called);
    }
    for (const column of data.columns) column.codes = Slices.unpack(column.codes);
  }

  const text = (value) => String(value).replace("-", "−");
  function decimals(values) {
    const known = values.filter((one) => one !== null && Number.isFinite(one));
    const size = Math.max(0, ...known.map(Math.abs));
    if (size >= 1000 || known.every(Number.isInteger)) return 0;
    return Math.min(6, Math.max(0, 3 - Math.floor(Math.log10(size))));
  }
  const fixed = (value, digits) => (value === null ? "–"
    : text(value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })));
  const say = (value) => (Number.isInteger(value) ? text(value.toLocaleString("en")) : fixed(value, decimals([value])));
  const count = (value) => value.toLocaleString("en");
  const day = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").replace(/( 00:00)?:00\.000Z$/, "");
  const metric = () => data.metrics.find((one) => one.name === state.metric);
  const prediction = () => data.predictions.find((one) => one.name === state.prediction);
  const distance = (value) => (metric().best === null ? value : Math.abs(metric().best - value));

  /* Elements ------------------------------------------------------------------------------------------------- */
  function make(tag, attributes = {}, ...children) {
    const drawn = ["svg", "path", "line", "circle", "rect", "title"].includes(tag);
    const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function options(id, entries, chosen) {
    at(id).replaceChildren(...entries.map(([value, said]) => make("option", { value }, said)));
    at(id).value = chosen;
  }

  /* Slices ----------------------------------------------------------------------------------------------------- */
  function cut(column) {
    const levels = (column.labels || column.lows).length, isNull = levels;
    let bin = Array.from({ length: levels }, (_, level) => level);
    const each = column.labels || state.rule === "each";
    if (!each) {
      const sizes = new Uint32Array(levels + 1);
      for (const code of column.codes) sizes[code] += 1;
      const total = data.rows - sizes[isNull], low = column.lows[0], span = column.highs[levels - 1] - low;
      let before = 0;
      bin = bin.map((level) => {
        const middle = (before + sizes[level] / 2) / total;
        before += sizes[level];
        const place = state.rule === "rows" ? middle : ((column.lows[level] + column.highs[level]) / 2 - low) / (span || 1);
        return Math.min(state.bins - 1, Math.floor(place * state.bins));
      });
    }
    const used = [...new Set(bin)], where = new Map(used.map((one, index) => [one, index]));
    const ofLevel = [...bin.map((one) => where.get(one)), used.length];
    const names = column.labels ? column.labels.slice() : used.map((one) => stretch(column, bin.indexOf(one), bin.lastIndexOf(one)));
    return { labels: [...names, "no value"], ofLevel };
  }

  function stretch(column, from, to) {
    const said = column.type === "time" ? day : (value) => text(Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6 }));
    const [low, high] = [said(column.lows[from]), said(column.highs[to])];
    return low === high ? low : `${low} to ${high}`;
  }

  function slices() {
    const chosen = [state.first, state.second].filter(Boolean).map((name) => data.columns.find((one) => one.name === name));
    const cuts = chosen.map(cut), codes = new Int32Array(data.rows), width = cuts[1] ? cuts[1].labels.length : 1;
    chosen.forEach((column, which) => {
      const factor = which === 0 ? width : 1, { ofLevel } = cuts[which];
      for (let i = 0; i < codes.length; i += 1) codes[i] += ofLevel[column.codes[i]] * factor;
    });
    const label = (code) => (cuts[1] ? `${cuts[0].labels[Math.floor(code / width)]} × ${cuts[1].labels[code % width]}` : cuts[0].labels[code]);
    const found = Slices.measure(data, prediction(), state.metric, codes, cuts[0].labels.length * width);
    return { found: found.map((one) => ({ ...one, label: label(one.code) })), cuts, width };
  }

  function overall() {
    return Slices.measure(data, prediction(), state.metric, new Int32Array(data.rows), 1)[0];
  }

  const small = (one) => one.n < FEW_ROWS || one.low === null;
  function worse(one, all) {
    const { best } = metric();
    if (one.low === null || all.estimate === null || best === null) return false;
    if (best > one.low && best < one.high) return false;
    return (all.estimate < one.low || all.estimate > one.high) && distance(one.estimate) > distance(all.estimate);
  }

  const ORDERS = {
    worst: (a, b) => known(b) - known(a),
    best: (a, b) => (a.estimate === null ? 1 : b.estimate === null ? -1 : distance(a.estimate) - distance(b.estimate)),
    rows: (a, b) => b.n - a.n,
    few: (a, b) => a.n - b.n,
    values: (a, b) => a.code - b.code,
    backwards: (a, b) => b.code - a.code,
  };
  const known = (one) => (one.estimate === null ? -Infinity : distance(one.estimate));
  // A click on a heading orders by it, a second click the other way round.
  const HEADS = { slice: ["values", "backwards"], rows: ["rows", "few"], metric: ["worst", "best"] };

  /* Pictures ---------------------------------------------------------------------------------------------------- */
  function whisker(one, all, span) {
    const x = (value) => 6 + ((Math.min(Math.max(value, span[0]), span[1]) - span[0]) / (span[1] - span[0])) * (PICTURE - 12);
    const kind = small(one) ? 2 : worse(one, all) ? 1 : 0, dot = x(one.estimate);
    const drawn = make("svg", { viewBox: `0 0 ${PICTURE} 22`, "aria-hidden": "true", class: "whisker" });
    if (all.estimate !== null) drawn.append(make("line", { class: "r", x1: x(all.estimate), x2: x(all.estimate), y1: 0, y2: 22 }));
    if (one.low !== null) drawn.append(make("line", { class: `w c${kind}`, x1: x(one.low), x2: x(one.high), y1: 11, y2: 11 }));
    drawn.append(kind === 1 ? make("rect", { class: "d1", x: dot - 4.5, y: 6.5, width: 9, height: 9 })
      : make("circle", { class: `d${kind}`, cx: dot, cy: 11, r: 4.5 }));
    return drawn;
  }

  function reach(shown, all) {
    const firm = shown.filter((one) => !small(one)), used = firm.length ? firm : shown;
    const values = [...used, all].flatMap((one) => [one.estimate, one.low, one.high]).filter((value) => value !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return low === high ? [low - (Math.abs(low) / 2 || 0.5), high + (Math.abs(high) / 2 || 0.5)] : [low, high];
  }

  function spreadValues() {
    const p = prediction().values, { y } = data;
    if (state.spread === "actual") return y;
    return state.spread === "predicted" ? p : Float64Array.from(p, (value, i) => value - y[i]);
  }

  function histogram() {
    const values = spreadValues(), sorted = Float64Array.from(values).sort(), last = sorted.length - 1;
    const binary = data.task === "classification" && state.spread !== "error";
    const low = binary ? 0 : sorted[Math.floor(last * 0.01)];
    let high = binary ? 1 : sorted[Math.ceil(last * 0.99)];
    if (high === low) high = low + 1;
    const of = (rows) => {
      const bars = new Float64Array(BARS);
      for (const i of rows) bars[Math.min(BARS - 1, Math.max(0, Math.floor(((values[i] - low) / (high - low)) * BARS)))] += 1 / rows.length;
      return bars;
    };
    return { low, high, of, whole: of(values.keys ? Array.from(values.keys()) : []) };
  }

  /* Bars of the slice over an outline of all rows. Square roots keep rare values visible. */
  function bars(part, whole, width, height) {
    const top = Math.sqrt(Math.max(...part, ...whole)) || 1, step = width / BARS;
    const up = (value) => height - (Math.sqrt(value) / top) * (height - 1);
    const drawn = make("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "spread" });
    part.forEach((value, k) => {
      if (value) drawn.append(make("rect", { class: "f0", x: k * step + 0.5, y: up(value), width: step - 1, height: height - up(value) }));
    });
    const line = Array.from(whole, (value, k) => `L${k * step} ${up(value)}L${(k + 1) * step} ${up(value)}`).join("");
    drawn.append(make("path", { class: "outline", d: `M0 ${height}${line}L${width} ${height}` }));
    return drawn;
  }

  /* The table --------------------------------------------------------------------------------------------------- */
  function heading(key, said, plain) {
    const orders = HEADS[key], cell = make("th", { scope: "col", role: "columnheader", ...(plain ? { class: "plain" } : {}) });
    if (!orders) { cell.append(said); return cell; }
    const turn = orders.indexOf(state.order);
    const down = key === "slice" ? "ascending" : "descending", up = key === "slice" ? "descending" : "ascending";
    if (turn >= 0) cell.setAttribute("aria-sort", turn === 0 ? down : up);
    const button = make("button", { type: "button", class: "sort", "data-order": key }, said, make("span", { "aria-hidden": "true" }, turn < 0 ? "" : (turn === 0) === (key === "slice") ? " ▲" : " ▼"));
    button.addEventListener("click", () => {
      change({ order: orders[turn === 0 ? 1 : 0] });
      document.querySelector(`[data-order="${key}"]`).focus();
    });
    cell.append(button);
    return cell;
  }

  function cell(name, value, plain, ...children) {
    const attributes = { role: "cell", "data-name": name, class: plain ? "plain" : "" };
    if (value !== undefined && value !== null) attributes["data-value"] = value;
    return make("td", attributes, ...children);
  }

  function row(one, all, format, span, shape) {
    const open = state.open === one.code, title = metric().title;
    const button = make("button", { type: "button", class: "slice", "aria-expanded": String(open), "data-code": one.code }, one.label);
    button.addEventListener("click", () => { change({ open: open ? null : one.code }); focusSlice(one.code); });
    const interval = one.low === null ? "–" : `${fixed(one.low, format)} to ${fixed(one.high, format)}`;
    const gap = one.estimate === null || all.estimate === null ? null : one.estimate - all.estimate;
    const note = worse(one, all) ? make("span", { class: "chip fail" }, "worse") : small(one) ? make("span", { class: "chip skipped" }, "few") : null;
    const made = make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, button),
      cell("rows", one.n, false, count(one.n)), data.cluster ? cell("clusters", one.clusters, false, count(one.clusters)) : "",
      cell(title, one.estimate, false, fixed(one.estimate, format)), cell("interval", one.low, false, interval),
      cell("difference from all", gap, false, gap === null ? "–" : `${gap > 0 ? "+" : ""}${fixed(gap, format)}`),
      cell("note", null, true, note ?? "–"),
      cell("picture", null, true, one.estimate === null ? "–" : whisker(one, all, span)),
      cell(`distribution, ${state.spread}`, null, true, bars(shape.of(one.rows), shape.whole, 130, 24)));
    made.querySelectorAll("td").forEach((each) => { if (each.textContent === "–" && !each.querySelector("svg")) each.classList.add("none"); });
    return made;
  }

  function detail(one, shape) {
    const p = prediction().values, part = shape.of(one.rows), mean = (values) => one.rows.reduce((sum, i) => sum + values[i], 0) / one.n;
    const facts = [["rows", `${count(one.n)} (${((100 * one.n) / data.rows).toFixed(1)} % of all)`], ["mean actual", say(mean(data.y))],
      ["mean predicted", say(mean(p))], ["below the axis' low end", share(one, shape, -1)], ["above its high end", share(one, shape, 1)]];
    const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    const figure = make("figure", {}, make("figcaption", {}, `${state.spread} in ${one.label} (bars) and in all rows (outline); heights are square roots of shares`),
      bars(part, shape.whole, 420, 110), make("div", { class: "ends" }, make("span", {}, say(shape.low)), make("span", {}, say(shape.high))));
    return make("tr", { role: "row", class: "detail" }, make("td", { role: "cell", colspan: 9, class: "plain" }, make("div", {}, figure, list)));
  }

  function share(one, shape, side) {
    const values = spreadValues();
    const outside = one.rows.reduce((sum, i) => sum + ((side < 0 ? values[i] < shape.low : values[i] > shape.high) ? 1 : 0), 0);
    return `${((100 * outside) / one.n).toFixed(1)} %`;
  }

  function table(shown, all) {
    const format = decimals([...shown, all].flatMap((one) => [one.estimate, one.low, one.high]));
    const span = reach(shown, all), shape = histogram();
    at("head").replaceChildren(heading("slice", "slice", true), heading("rows", "rows"), data.cluster ? heading("clusters", "clusters") : "", heading("metric", metric().title),
      heading("interval", "interval"), heading("gap", "difference from all"), heading("note", "note", true), heading("picture", "picture", true), heading("spread", `distribution, ${state.spread}`, true));
    const rows = shown.slice(0, state.all ? Infinity : SHOWN).flatMap((one) => {
      const made = row(one, all, format, span, shape);
      return one.code === state.open ? [made, detail(one, shape)] : [made];
    });
    at("body").replaceChildren(...rows);
    const said = all.low === null ? "" : ` (${fixed(all.low, format)} to ${fixed(all.high, format)})`;
    at("whole").textContent = `All ${count(data.rows)} rows: ${metric().title} ${fixed(all.estimate, format)}${said}. `
      + `Pictures reach from ${fixed(span[0], format)} to ${fixed(span[1], format)}; the dashed line is all rows.`;
    at("whole").dataset.value = all.estimate;
    at("more").hidden = state.all || shown.length <= SHOWN;
    at("more").textContent = `Show all ${count(shown.length)} slices`;
  }

  /* The map: a table whose cells are shaded by the distance from all rows. */
  function map(shown, all, { cuts, width }) {
    const format = decimals([...shown, all].map((one) => one.estimate)), byCode = new Map(shown.map((one) => [one.code, one]));
    const place = [[], []];
    for (const one of shown) { place[0][Math.floor(one.code / width)] = true; place[1][one.code % width] = true; }
    const [downs, acrosses] = place.map((used) => Object.keys(used).map(Number));
    const far = Math.max(1e-12, ...shown.filter((one) => !small(one) && one.estimate !== null).map((one) => Math.abs(one.estimate - all.estimate)));
    const head = make("tr", {}, make("th", { scope: "col", class: "plain" }, `${state.first} \\ ${state.second}`), ...acrosses.map((b) => make("th", { scope: "col" }, cuts[1].labels[b])));
    const rows = downs.map((a) => make("tr", {}, make("th", { scope: "row" }, cuts[0].labels[a]), ...acrosses.map((b) => {
      const one = byCode.get(a * width + b);
      if (!one || one.estimate === null) return make("td", { class: "none" }, "–");
      const level = Math.min(4, Math.round((4 * Math.abs(one.estimate - all.estimate)) / far));
      const bad = metric().best === null ? one.estimate > all.estimate : distance(one.estimate) > distance(all.estimate);
      return make("td", { class: small(one) ? "few" : `${bad ? "bad" : "good"}${level}`, "data-value": one.estimate, title: `${one.label}: ${count(one.n)} rows` },
        fixed(one.estimate, format), make("small", {}, `${count(one.n)} rows`));
    })));
    at("map").replaceChildren(make("caption", {}, `${metric().title} by ${state.first} and ${state.second}; orange is worse than all rows, blue better, grey too few`),
      make("thead", {}, head), make("tbody", {}, ...rows));
  }

  /* What is chosen -------------------------------------------------------------------------------------------- */
  function filtered(found, all) {
    const wanted = state.text.trim().toLowerCase();
    return found.filter((one) => one.n >= state.least && one.label.toLowerCase().includes(wanted) && (!state.worse || worse(one, all)))
      .sort((a, b) => ORDERS[state.order](a, b) || a.code - b.code);
  }

  function draw() {
    const made = slices(), all = overall(), shown = filtered(made.found, all);
    const isMap = state.view === "map" && state.second !== "";
    at("tabled").hidden = isMap;
    at("mapped").hidden = !isMap;
    table(shown, all);
    if (isMap) map(shown, all, made);
    const columns = state.second ? `${state.first} × ${state.second}` : state.first;
    const marked = shown.filter((one) => worse(one, all)).length;
    at("said").textContent = `${count(made.found.length)} slices of ${columns}, ${count(shown.length)} match; ${count(marked)} worse than all rows by their own interval`;
    at("about").textContent = metric().description;
  }

  function sync() {
    for (const key of ["first", "second", "metric", "prediction", "rule", "bins", "spread", "order", "view", "least"]) at(key).value = state[key];
    const cuttable = [state.first, state.second].some((name) => data.columns.some((one) => one.name === name && one.lows));
    at("rule").disabled = !cuttable;
    at("bins").disabled = !cuttable || state.rule === "each";
    at("view").disabled = state.second === "";
    for (const option of at("second").options) option.disabled = option.value !== "" && option.value === state.first;
    const words = new URLSearchParams(KEPT.map((key) => [key, state[key]]));
    try { history.replaceState(null, "", `#${words}`); } catch { /* a sandboxed frame has no history: the page works without */ }
  }

  function change(more) {
    if ("first" in more || "second" in more || "rule" in more || "bins" in more) more = { open: null, all: false, ...more };
    Object.assign(state, more);
    if (state.first === state.second) state.second = "";
    sync();
    draw();
  }

  function focusSlice(code) {
    const found = document.querySelector(`button.slice[data-code="${code}"]`);
    if (found) found.focus();
  }

  /* Arrows move between slices, Home and End to the first and last, Escape closes, / goes to the filter. */
  function onKey(event) {
    const within = event.target.closest && event.target.closest("button.slice");
    if (event.key === "/" && !event.target.closest("input, select")) { at("text").focus(); event.preventDefault(); return; }
    if (event.key === "Escape" && state.open !== null) { const code = state.open; change({ open: null }); focusSlice(code); return; }
    if (!within) return;
    const buttons = [...document.querySelectorAll("button.slice")], here = buttons.indexOf(within);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    buttons[Math.min(buttons.length - 1, Math.max(0, to))].focus();
  }

  function fromAddress() {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const key of KEPT) {
      const value = words.get(key), input = at(key);
      if (value === null) continue;
      if (input.tagName === "SELECT") { if ([...input.options].some((one) => one.value === value)) state[key] = value; }
      else state[key] = bounded(input, value);
    }
  }

  function bounded(input, value) {
    const number = Math.round(Number(value));
    if (!Number.isFinite(number)) return Number(input.min);
    return Math.max(Number(input.min), input.max ? Math.min(Number(input.max), number) : number);
  }

  function start() {
    prepare();
    const names = data.columns.map((one) => [one.name, one.name]);
    data.metrics = data.metrics.filter((one) => Slices.knows(one.name));
    options("first", names, names[0][0]);
    options("second", [["", "nothing else"], ...names], "");
    options("metric", data.metrics.map((one) => [one.name, one.title]), data.metrics[0].name);
    options("prediction", data.predictions.map((one) => [one.name, one.name]), data.predictions[0].name);
    Object.assign(state, { first: names[0][0], metric: data.metrics[0].name, prediction: data.predictions[0].name });
    at("finer").open = window.innerWidth > 620;
    at("predictions").hidden = data.predictions.length < 2;
    fromAddress();
    if (state.first === state.second) state.second = "";
    for (const key of ["first", "second", "metric", "prediction", "rule", "spread", "order", "view"]) {
      at(key).addEventListener("change", () => change({ [key]: at(key).value }));
    }
    for (const key of ["bins", "least"]) at(key).addEventListener("input", () => change({ [key]: bounded(at(key), at(key).value || at(key).min) }));
    at("text").addEventListener("input", () => change({ text: at("text").value }));
    at("worse").addEventListener("change", () => change({ worse: at("worse").checked }));
    at("more").addEventListener("click", () => change({ all: true }));
    document.addEventListener("keydown", onKey);
    at("choices").addEventListener("submit", (event) => event.preventDefault());
    sync();
    draw();
    at("explorer").hidden = false;
  }

  start();
})();
