function table(heads, rows, rowClass = () => null) {
  const cell = (value, i) =>
    typeof value === 'number'
      ? make('td', { class: 'number' }, value.toFixed(3))
      : make('td', { 'data-head': heads[i] }, value ?? '');
  const number = (i) => rows.some((row) => typeof row[i] === 'number');
  return make('div', { class: 'scroll', tabindex: 0 },
    make('table', {},
      make('thead', {}, make('tr', {},
        ...heads.map((head, i) =>
          make('th', { scope: 'col', class: number(i) && 'number' }, head)))),
      make('tbody', {},
        ...rows.map((row) =>
          make('tr', { class: rowClass(row) }, ...row.map(cell))))));
}

function showTests(section, tests) {
  if (tests.note) return section.append(note(tests.note));
  if (tests.heads.some((head) => ['L1', 'PSNR', 'SSIM', 'Dice'].includes(head))) {
    section.append(note('Means over the true pairs, images in [-1, 1]. L1: ' +
      'lower is better. PSNR, SSIM, Dice, pixel accuracy: higher is better.'));
  }
  if (tests.best) section.append(note(tests.best));
  section.append(
    table(tests.heads, tests.rows,
      (row) => row.some((x) => /^translated(,|$)/.test(x)) && 'strong'));
}

function showConfig(section, config) {
  const code = (text) => make('code', {}, text);
  const changed = config.changed.map(([key, value, standard, meaning]) =>
    [code(key), code(value), code(standard), meaning]);
  const same = config.same.map(([key, value, , meaning]) =>
    [code(key), code(value), meaning]);
  section.append(
    note(`Options with values other than the defaults: ${changed.length}.`));
  if (changed.length) {
    const heads = ['Option', 'Value', 'Default', 'Meaning'];
    section.append(table(heads, changed));
  }
  section.append(make('details', {},
    make('summary', {}, `${same.length} options at their defaults`),
    table(['Option', 'Value', 'Meaning'], same)));
}

const content = JSON.parse(byId('data').textContent);
byId('name').append(content.name);
byId('facts').append(...content.facts.map(([what, value]) =>
  make('div', {}, make('dt', {}, what), make('dd', {}, value))));
prepareZoom();
showGallery(byId('gallery'), content.gallery);
showSamples(byId('samples'), content.samples);
showTests(byId('tests'), content.tests);
showCurves(byId('curves'), content.curves);
showConfig(byId('config'), content.config);
document.documentElement.dataset.ready = 'yes';
