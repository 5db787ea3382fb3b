const EDGE = { left: 58, right: 16, top: 10, bottom: 26 };

// Round numbers between `low` and `high`, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((x) => x * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

// Tick values of a logarithmic axis; `low` and `high` are powers of ten.
function powers(low, high) {
  const found = [];
  for (let i = Math.ceil(low); i <= high; i++) found.push(10 ** i);
  if (found.length > 1) {
    const every = Math.ceil(found.length / 6);
    return found.filter((_, i) => i % every === 0);
  }
  return ticks(10 ** low, 10 ** high, 4).filter((x) => x > 0);
}

// Map from values to pixels, and the values of the horizontal grid lines.
function valueScale(values, log, height) {
  const map = log ? Math.log10 : (x) => x;
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value == null || (log && value <= 0)) continue;
    low = Math.min(low, map(value));
    high = Math.max(high, map(value));
  }
  if (low > high) [low, high] = [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  low -= room;
  high += room;
  const inner = height - EDGE.top - EDGE.bottom;
  return {
    ticks: log ? powers(low, high) : ticks(low, high, 5),
    at: (value) =>
      value == null || (log && value <= 0)
        ? null
        : EDGE.top + (inner * (high - map(value))) / (high - low),
  };
}

// Points in unbroken pieces; a missing value (null) starts a new piece.
function pieces(xs, ys) {
  const found = [];
  let open = null;
  ys.forEach((y, i) => {
    if (y == null) open = null;
    else if (open) open.push([xs[i], y]);
    else found.push((open = [[xs[i], y]]));
  });
  return found;
}

const path = (points) =>
  points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join('L');

function termShapes(term, xs, at) {
  const shapes = [];
  if (term.low) {
    const highs = pieces(xs, term.high.map(at));
    const lows = pieces(xs, term.low.map(at));
    if (highs.length === lows.length) {
      highs.forEach((top, i) => {
        if (top.length < 2) return;
        const d = `M${path(top)}L${path(lows[i].reverse())}Z`;
        shapes.push(draw('path', { class: 'band', d }));
      });
    }
  }
  for (const points of pieces(xs, term.mean.map(at))) {
    const [x, y] = points[0];
    shapes.push(
      points.length > 1
        ? draw('path', { class: 'curve', d: `M${path(points)}` })
        : draw('circle', { class: 'dot', cx: x, cy: y, r: 2.5 }),
    );
  }
  return shapes;
}

function summary(group, curves) {
  const last = curves.last.at(-1);
  const ends = group.terms.map((t) => `${t.name} ${short(t.mean.at(-1))}`);
  return `${group.title} to step ${last}, at the end: ${ends.join(', ')}.`;
}

// One chart. All charts share `cursor`; when it moves, it calls their look().
function chart(group, curves, cursor) {
  const color = (i) => `c${i % 8}${i % 2 ? ' odd' : ''}`;
  const shown = new Set(group.terms);
  const step = make('output', { 'aria-live': 'polite' });
  const svg = draw('svg', {
    tabindex: 0,
    role: 'img',
    'aria-label': summary(group, curves),
  });
  const plot = make('div', { class: 'plot' }, svg);
  const log = make('input', { type: 'checkbox', onchange: redraw });
  const values = group.terms.map(() => make('b'));
  const legend = group.terms.map((term, i) => {
    const label = make('label', {},
      make('input', { type: 'checkbox', checked: true, onchange: toggle }),
      draw('svg',
        { class: color(i), 'aria-hidden': 'true', viewBox: '0 0 24 8' },
        draw('path', { class: 'curve', d: 'M0,4L24,4' })),
      make('span', {},
        term.name, term.gaps ? ` (${term.gaps} not finite)` : null),
      values[i]);
    function toggle(e) {
      if (e.target.checked) shown.add(term);
      else shown.delete(term);
      label.classList.toggle('off', !e.target.checked);
      redraw();
    }
    return label;
  });
  let xs = [];
  let line = null;
  let drawn = 0;

  function redraw() {
    drawn = plot.clientWidth;
    const width = Math.max(240, drawn || 480);
    const height = width < 400 ? 200 : 260;
    const [first, last] = [curves.last[0], curves.last.at(-1)];
    const inner = width - EDGE.left - EDGE.right;
    const share = (s) => (last > first ? (s - first) / (last - first) : 0.5);
    const x = (s) => EDGE.left + inner * share(s);
    xs = curves.last.map(x);
    const all = [...shown].flatMap((t) => [t.mean, t.low || [], t.high || []]);
    const scale = valueScale(all.flat(), log.checked, height);
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('height', height);
    svg.replaceChildren();
    for (const tick of scale.ticks) {
      const y = scale.at(tick);
      const [x1, x2] = [EDGE.left, width - EDGE.right];
      const place = { x: x1 - 6, y: y + 4, 'text-anchor': 'end' };
      svg.append(
        draw('line', { class: 'grid', x1, x2, y1: y, y2: y }),
        draw('text', place, short(tick)));
    }
    const steps = last > first ? ticks(first, last, width / 80) : [last];
    for (const tick of steps) {
      const place = { x: x(tick), y: height - 6, 'text-anchor': 'middle' };
      svg.append(draw('text', place, tick.toLocaleString('en')));
    }
    group.terms.forEach((term, i) => {
      if (!shown.has(term)) return;
      const shapes = termShapes(term, xs, scale.at);
      svg.append(draw('g', { class: color(i) }, ...shapes));
    });
    const ends = { y1: EDGE.top, y2: height - EDGE.bottom };
    line = draw('line', { class: 'cursor', ...ends });
    svg.append(line);
    look();
  }

  function look() {
    const i = cursor.at ?? xs.length - 1;
    const [from, to] = [curves.first[i], curves.last[i]];
    step.value = from < to ? `steps ${from}\u2013${to}` : `step ${to}`;
    values.forEach((value, k) => {
      value.textContent = short(group.terms[k].mean[i]);
    });
    line.setAttribute('visibility', cursor.at == null ? 'hidden' : 'visible');
    line.setAttribute('x1', xs[i]);
    line.setAttribute('x2', xs[i]);
  }

  svg.addEventListener('pointermove', (e) => {
    const box = svg.getBoundingClientRect();
    const x = e.clientX - box.left;
    let near = xs.findIndex((place) => place >= x);
    if (near < 0) near = xs.length - 1;
    if (near && x - xs[near - 1] < xs[near] - x) near -= 1;
    cursor.move(near);
  });
  svg.addEventListener('pointerleave', () => cursor.move(null));
  svg.addEventListener('blur', () => cursor.move(null));
  svg.addEventListener('keydown', (e) => {
    const now = cursor.at ?? xs.length - 1;
    const to = {
      ArrowLeft: now - 1,
      ArrowRight: now + 1,
      Home: 0,
      End: xs.length - 1,
    }[e.key];
    if (to == null) return;
    e.preventDefault();
    cursor.move(Math.min(xs.length - 1, Math.max(0, to)));
  });
  cursor.looks.push(look);
  // Redraw when the width changes, after the layout is done.
  new ResizeObserver(() => {
    if (plot.clientWidth !== drawn) requestAnimationFrame(redraw);
  }).observe(plot);
  redraw();
  return make('figure', { class: 'chart', 'aria-label': group.title },
    make('div', { class: 'head' }, make('h3', {}, group.title), step,
      make('label', {}, log, ' log')),
    plot,
    make('div', { class: 'legend' }, ...legend));
}

function showCurves(section, curves) {
  section.append(note(curves.note));
  const cursor = {
    at: null,
    looks: [],
    move(at) {
      cursor.at = at;
      cursor.looks.forEach((look) => look());
    },
  };
  const charts = curves.groups.map((group) => chart(group, curves, cursor));
  section.append(make('div', { class: 'charts' }, ...charts));
}
