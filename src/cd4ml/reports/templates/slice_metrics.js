"use strict";
/* The arithmetic of the slice explorer: metrics of slices and their clustered intervals. The estimates are those of
   cd4ml.domain.metrics. The intervals are jackknife intervals over clusters with Student's t (clusters - 1 degrees of
   freedom), which need no random numbers: a slice has the same interval whenever it is looked at. */
const Slices = (() => {
  const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
  const GROUPS = 60; // for statistics that are no sums: clusters are left out in so many groups
  const CALIBRATION_BINS = 15;
  const EPSILON = 2 ** -52;

  function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
    return new KINDS[packed.kind](bytes.buffer);
  }

  const ratio = (above, below) => (below !== 0 ? above / below : NaN);
  const logError = (y, p) => Math.log1p(Math.max(p, 0)) - Math.log1p(y);
  const clipped = (p) => Math.min(Math.max(p, EPSILON), 1 - EPSILON);
  const TERMS = {
    rows: () => 1,
    weight: (y, p, called, w) => w,
    error: (y, p) => p - y,
    absolute: (y, p) => Math.abs(p - y),
    square: (y, p) => (p - y) ** 2,
    logSquare: (y, p) => logError(y, p) ** 2,
    weightedLogSquare: (y, p, called, w) => w * logError(y, p) ** 2,
    actual: (y) => y,
    actualSize: (y) => Math.abs(y),
    predicted: (y, p) => p,
    centred: (y, p, called, w, mean) => y - mean,
    centredSquare: (y, p, called, w, mean) => (y - mean) ** 2,
    tp: (y, p, called) => (called && y > 0.5 ? 1 : 0),
    fp: (y, p, called) => (called && y <= 0.5 ? 1 : 0),
    fn: (y, p, called) => (!called && y > 0.5 ? 1 : 0),
    tn: (y, p, called) => (!called && y <= 0.5 ? 1 : 0),
    surprise: (y, p) => (y > 0.5 ? -Math.log(clipped(p)) : -Math.log1p(-clipped(p))),
  };
  const r2 = (square, centred, centredSquare, rows) => {
    const spread = centredSquare - centred ** 2 / rows;
    return spread > 1e-12 * centredSquare ? 1 - square / spread : NaN;
  };
  const f1 = (tp, fp, fn) => (tp + fn > 0 ? ratio(2 * tp, 2 * tp + fp + fn) : NaN);
  const half = (tp, fp, fn, tn) => (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2;
  const share = (part, ...others) => ratio(part, others.reduce((sum, one) => sum + one, part));
  // name: terms, formula of their sums, least and greatest value
  const SUMS = {
    nwrmsle: [["weightedLogSquare", "weight"], (a, b) => Math.sqrt(ratio(a, b)), 0, Infinity],
    rmsle: [["logSquare", "rows"], (a, b) => Math.sqrt(ratio(a, b)), 0, Infinity],
    rmse: [["square", "rows"], (a, b) => Math.sqrt(ratio(a, b)), 0, Infinity],
    mae: [["absolute", "rows"], ratio, 0, Infinity],
    wape: [["absolute", "actualSize"], ratio, 0, Infinity],
    bias: [["error", "rows"], ratio, -Infinity, Infinity],
    relative_bias: [["predicted", "actual"], (a, b) => ratio(a, b) - 1, -Infinity, Infinity],
    r2: [["square", "centred", "centredSquare", "rows"], r2, -Infinity, 1],
    accuracy: [["tp", "tn", "rows"], (tp, tn, n) => ratio(tp + tn, n), 0, 1],
    balanced_accuracy: [["tp", "fp", "fn", "tn"], half, 0, 1],
    precision: [["tp", "fp"], (tp, fp) => (tp + fp > 0 ? tp / (tp + fp) : 0), 0, 1],
    recall: [["tp", "fn"], share, 0, 1],
    f1: [["tp", "fp", "fn"], f1, 0, 1],
    log_loss: [["surprise", "rows"], ratio, 0, Infinity],
    brier: [["square", "rows"], ratio, 0, 1],
    selection_rate: [["tp", "fp", "rows"], (tp, fp, n) => ratio(tp + fp, n), 0, 1],
    false_positive_rate: [["fp", "tn"], share, 0, 1],
    false_negative_rate: [["fn", "tp"], share, 0, 1],
    mean_actual: [["actual", "rows"], ratio, -Infinity, Infinity],
    mean_predicted: [["predicted", "rows"], ratio, -Infinity, Infinity],
  };

  /* Two-sided quantile of Student's t. Source: Hill, 1970, Algorithm 396, Communications of the ACM 13(10). */
  function tQuantile(tails, z, n) {
    if (n === 1) return 1 / Math.tan((tails * Math.PI) / 2);
    if (n === 2) return Math.sqrt(2 / (tails * (2 - tails)) - 2);
    const a = 1 / (n - 0.5), b = 48 / (a * a);
    let c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
    const d = ((94.5 / (b + c) - 3) / b + 1) * Math.sqrt((a * Math.PI) / 2) * n;
    let y = (d * tails) ** (2 / n);
    if (y > 0.05 + a) {
      const x = -z;
      y = x * x;
      if (n < 5) c += 0.3 * (n - 4.5) * (x + 0.6);
      c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b;
      y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
      y = Math.expm1(a * y * y);
    } else {
      const inner = 1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4);
      y = ((inner * y - 1) * (n + 1)) / (n + 2) + 1 / y;
    }
    return Math.sqrt(n * y);
  }

  /* Rows by slice, in the given order within each; rows of a negative code belong to none. */
  function group(codes, count, order) {
    const starts = new Uint32Array(count + 1);
    for (const code of codes) if (code >= 0) starts[code + 1] += 1;
    for (let s = 0; s < count; s += 1) starts[s + 1] += starts[s];
    const next = starts.slice(), rows = new Uint32Array(starts[count]);
    for (let k = 0; k < codes.length; k += 1) {
      const row = order ? order[k] : k;
      if (codes[row] >= 0) { rows[next[codes[row]]] = row; next[codes[row]] += 1; }
    }
    return Array.from({ length: count }, (_, s) => rows.subarray(starts[s], starts[s + 1]));
  }

  function termValues(data, prediction, name) {
    const key = `${prediction.name}/${name}`;
    if (!data.cache.has(key)) {
      const term = TERMS[name], { y, weight, mean } = data, p = prediction.values, { called } = prediction;
      const found = new Float64Array(y.length);
      for (let i = 0; i < found.length; i += 1) {
        found[i] = term(y[i], p[i], called ? called[i] : 0, weight ? weight[i] : 1, mean);
      }
      data.cache.set(key, found);
    }
    return data.cache.get(key);
  }

  function intervalOf(data, estimate, left, count, low, high) {
    const known = left.filter(Number.isFinite);
    if (count < 2 || !Number.isFinite(estimate) || 2 * known.length < left.length || known.length < 2) return [null, null];
    const mean = known.reduce((sum, one) => sum + one, 0) / known.length;
    const square = known.reduce((sum, one) => sum + (one - mean) ** 2, 0) * ((known.length - 1) / known.length);
    return around(data, estimate, Math.sqrt(square), count, low, high);
  }

  function around(data, estimate, error, count, low, high) {
    const reach = tQuantile(1 - data.level, data.z, count - 1) * error;
    return [Math.max(low, estimate - reach), Math.min(high, estimate + reach)];
  }

  /* Sums per cluster, and the formula of all sums less one cluster's: the delete-one-cluster jackknife. Source:
     Tukey, 1958; Cameron, Miller, 2015, A Practitioner's Guide to Cluster-Robust Inference. */
  function bySums(data, prediction, name) {
    const [terms, formula, low, high] = SUMS[name];
    const values = terms.map((term) => termValues(data, prediction, term)), size = terms.length;
    const sums = new Float64Array(data.clusters * size), seen = new Uint8Array(data.clusters);
    const pick = new Float64Array(size);
    return (rows) => {
      const touched = [], totals = new Float64Array(size);
      for (const i of rows) {
        const c = data.cluster ? data.cluster[i] : i;
        if (!seen[c]) { seen[c] = 1; touched.push(c); }
        for (let t = 0; t < size; t += 1) { sums[c * size + t] += values[t][i]; totals[t] += values[t][i]; }
      }
      const estimate = formula(...totals), left = new Array(touched.length);
      touched.forEach((c, k) => {
        for (let t = 0; t < size; t += 1) { pick[t] = totals[t] - sums[c * size + t]; sums[c * size + t] = 0; }
        left[k] = formula(...pick);
        seen[c] = 0;
      });
      return [estimate, ...intervalOf(data, estimate, left, touched.length, low, high), touched.length];
    };
  }

  /* The clusters of some rows, numbered from 0. */
  function renumber(data, rows) {
    const found = new Map();
    const codes = Uint32Array.from(rows, (i) => {
      const c = data.cluster ? data.cluster[i] : i;
      if (!found.has(c)) found.set(c, found.size);
      return found.get(c);
    });
    return [codes, found.size];
  }

  /* Area under the ROC curve; its variance from the clusters' sums of placement values. Source: DeLong et al., 1988;
     Obuchowski, 1997, Nonparametric Analysis of Clustered ROC Curve Data. Rows come by rising prediction. */
  function rocArea(data, prediction) {
    const { y } = data, p = prediction.values;
    return (rows) => {
      const n = rows.length, placed = new Float64Array(n);
      const positives = rows.reduce((sum, i) => sum + (y[i] > 0.5 ? 1 : 0), 0), negatives = n - positives;
      const [codes, count] = renumber(data, rows);
      if (!positives || !negatives) return [NaN, null, null, count];
      let below = [0, 0], area = 0;
      for (let start = 0; start < n;) {
        let end = start, tied = [0, 0];
        while (end < n && p[rows[end]] === p[rows[start]]) { tied[y[rows[end]] > 0.5 ? 1 : 0] += 1; end += 1; }
        for (let k = start; k < end; k += 1) {
          if (y[rows[k]] > 0.5) { placed[k] = (below[0] + tied[0] / 2) / negatives; area += placed[k]; }
          else placed[k] = (positives - below[1] - tied[1] / 2) / positives;
        }
        below = [below[0] + tied[0], below[1] + tied[1]];
        start = end;
      }
      const estimate = area / positives, shifts = new Float64Array(count);
      for (let k = 0; k < n; k += 1) {
        shifts[codes[k]] += (placed[k] - estimate) / (y[rows[k]] > 0.5 ? positives : negatives);
      }
      if (count < 2) return [estimate, null, null, count];
      const square = shifts.reduce((sum, one) => sum + one * one, 0) * (count / (count - 1));
      return [estimate, ...around(data, estimate, Math.sqrt(square), count, 0, 1), count];
    };
  }

  /* Average precision of rows by rising prediction, those of one group left out. */
  function averagePrecision(data, prediction, rows, codes, without) {
    const { y } = data, p = prediction.values;
    let hits = 0, all = 0, sum = 0;
    for (let end = rows.length - 1; end >= 0;) {
      const score = p[rows[end]];
      let added = 0;
      for (; end >= 0 && p[rows[end]] === score; end -= 1) {
        if (codes[end] % GROUPS !== without) { all += 1; added += y[rows[end]] > 0.5 ? 1 : 0; }
      }
      hits += added;
      if (added) sum += added * (hits / all);
    }
    return hits ? sum / hits : NaN;
  }

  /* Gap of predicted and observed rates over bins of equal mass; equal predictions share a bin. */
  function calibrationError(data, prediction, rows, codes, without) {
    const { y } = data, p = prediction.values;
    const kept = rows.filter((_, k) => codes[k] % GROUPS !== without), n = kept.length;
    if (!n) return NaN;
    const edges = Array.from({ length: CALIBRATION_BINS - 1 }, (_, k) =>
      p[kept[Math.max(0, Math.ceil((n * (k + 1)) / CALIBRATION_BINS) - 1)]]);
    let sum = 0, gap = 0, edge = 0;
    for (const i of kept) {
      while (edge < edges.length && p[i] > edges[edge]) { sum += Math.abs(gap); gap = 0; edge += 1; }
      gap += y[i] - p[i];
    }
    return (sum + Math.abs(gap)) / n;
  }

  function byGroups(data, prediction, statistic) {
    return (rows) => {
      const [codes, count] = renumber(data, rows), groups = Math.min(count, GROUPS);
      const estimate = statistic(data, prediction, rows, codes, -1);
      const left = Array.from({ length: groups }, (_, g) => statistic(data, prediction, rows, codes, g));
      return [estimate, ...intervalOf(data, estimate, left, groups, 0, 1), count];
    };
  }

  const RANKED = {
    roc_auc: (data, prediction) => rocArea(data, prediction),
    pr_auc: (data, prediction) => byGroups(data, prediction, averagePrecision),
    calibration_error: (data, prediction) => byGroups(data, prediction, calibrationError),
  };

  function order(data, prediction) {
    const key = `${prediction.name}/order`;
    if (!data.cache.has(key)) {
      const p = prediction.values;
      data.cache.set(key, Uint32Array.from(p.keys()).sort((a, b) => p[a] - p[b] || a - b));
    }
    return data.cache.get(key);
  }

  /* The metric of each slice that has rows: [{code, n, clusters, estimate, low, high, rows}]. */
  function measure(data, prediction, metric, codes, count) {
    const ranked = metric in RANKED;
    const statistic = ranked ? RANKED[metric](data, prediction) : bySums(data, prediction, metric);
    const groups = group(codes, count, ranked ? order(data, prediction) : null);
    return groups.flatMap((rows, code) => {
      if (!rows.length) return [];
      const [estimate, low, high, clusters] = statistic(rows);
      return [{ code, n: rows.length, clusters, estimate: Number.isFinite(estimate) ? estimate : null, low, high, rows }];
    });
  }

  const knows = (metric) => metric in SUMS || metric in RANKED;
  return { group, knows, measure, tQuantile, unpack };
})();
