const SMALL = 160; // pictures up to this side length are shown unsmoothed
const LEGIBLE = 860; // width in pixels at which the titles of a grid are legible

const zoom = { list: [], at: 0 };

function zoomTo(list, at) {
  zoom.list = list;
  zoom.at = (at + list.length) % list.length;
  const { picture, title } = list[zoom.at];
  const longest = Math.max(picture.width, picture.height);
  const dialog = byId('zoom');
  if (!dialog.open) dialog.showModal();
  const frame = byId('zoom-picture').parentNode;
  const room = Math.min(frame.clientWidth - 16, innerHeight - 100);
  const times = longest <= 512 ? Math.max(1, Math.floor(room / longest)) : 1;
  fill(byId('zoom-picture'), {
    src: picture.src,
    alt: title,
    width: picture.width * times,
    height: picture.height * times,
    class: times > 1 ? 'small' : '',
  }, []);
  byId('zoom-title').textContent = title;
}

function prepareZoom() {
  const dialog = byId('zoom');
  const go = (by) => zoomTo(zoom.list, zoom.at + by);
  byId('zoom-before').addEventListener('click', () => go(-1));
  byId('zoom-after').addEventListener('click', () => go(1));
  byId('zoom-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (e) => {
    if (e.target === dialog) dialog.close();
  });
  dialog.addEventListener('keydown', (e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by) return;
    e.preventDefault();
    go(by);
  });
}

// A button that shows a picture and opens it in full size.
function pictureButton(picture, title, open) {
  const small = Math.max(picture.width, picture.height) <= SMALL;
  const image = make('img', {
    src: picture.src,
    alt: title,
    width: picture.width,
    height: picture.height,
    class: small && 'small',
  });
  const hint = 'Show in full size';
  const attributes = { type: 'button', class: 'picture', title: hint };
  return make('button', { ...attributes, onclick: open }, image);
}

function showSamples(section, samples) {
  section.append(note(samples.note));
  const { grids } = samples;
  if (!grids.length) return;
  const titles = grids.map((picture) => ({
    picture,
    title: `Sample grid of step ${picture.step}`,
  }));
  const slider = make('input', {
    type: 'range',
    min: 0,
    max: grids.length - 1,
    value: grids.length - 1,
    'aria-label': 'Step of the sample grid',
    oninput: show,
  });
  const button = pictureButton(grids.at(-1), titles.at(-1).title, () =>
    zoomTo(titles, Number(slider.value)));
  const step = make('output');
  const press = (text, onclick, label) =>
    make('button', { type: 'button', 'aria-label': label, onclick }, text);
  const play = press('Play', toggle);
  let timer = null;

  function show() {
    const at = Number(slider.value);
    const { src, width, height } = grids[at];
    fill(button.firstChild, { src, width, height, alt: titles[at].title }, []);
    button.style.minWidth = `${Math.min(LEGIBLE, width)}px`;
    step.value = `step ${grids[at].step.toLocaleString('en')}`;
    slider.setAttribute('aria-valuetext', step.value);
  }
  function move(by) {
    slider.value = (Number(slider.value) + by + grids.length) % grids.length;
    show();
  }
  function toggle() {
    if (timer) {
      clearInterval(timer);
      timer = null;
    } else {
      move(1);
      timer = setInterval(() => move(1), 800);
    }
    play.textContent = timer ? 'Stop' : 'Play';
  }
  section.append(
    make('div', { class: 'controls' },
      play,
      press('\u2190', () => move(-1), 'Previous step'),
      press('\u2192', () => move(1), 'Next step'),
      slider, step),
    make('div', { class: 'scroll' }, button));
  show();
}

const TITLES = { a2b: 'From A to B', b2a: 'From B to A' };
const reconstructs = (columns) => columns.some((x) => x.startsWith('back'));

function rowFigure(row, columns, open) {
  const pictures = row.pictures.map((picture, i) =>
    make('div', {},
      pictureButton(picture, `${row.name}: ${columns[i]}`, () => open(row, i)),
      make('small', {}, columns[i])));
  const number = (x) => (x == null ? 'not finite' : x.toFixed(3));
  const figures = [`${row.pictures[0].size} pixels`];
  if (reconstructs(columns)) {
    figures[0] += `, reconstruction L1 ${number(row.l1)}`;
  }
  if (row.truth) {
    const values = Object.entries(row.truth);
    const texts = values.map(([name, x]) => `${name} ${number(x)}`);
    figures.push(`against ${columns.at(-1)}: ${texts.join(', ')}`);
  }
  return make('figure', { class: 'row' },
    make('div', { class: 'pictures' }, ...pictures),
    make('figcaption', {}, row.name,
      row.mark && make('b', { class: row.mark }, `${row.mark} reconstruction`),
      ...figures.map((text) => make('span', {}, text))));
}

function showDirection(direction) {
  const error = (row) => row.l1 ?? Infinity;
  const orders = {
    'in the order of the dataset': (rows) => rows,
    'worst reconstruction first': (rows) =>
      [...rows].sort((x, y) => error(y) - error(x) || 0),
    'best reconstruction first': (rows) =>
      [...rows].sort((x, y) => error(x) - error(y) || 0),
  };
  const { columns } = direction;
  const body = make('div', { class: 'rows' });
  const choice = make('select',
    { 'aria-label': `Order of ${direction.name}`, onchange: show },
    ...Object.keys(orders).map((name) => make('option', {}, name)));

  function show() {
    const rows = orders[choice.value](direction.rows);
    const list = rows.flatMap((row) =>
      row.pictures.map((picture, i) => ({
        picture,
        title: `${row.name}: ${columns[i]}, ${picture.size} pixels`,
      })));
    const open = (row, i) =>
      zoomTo(list, rows.indexOf(row) * columns.length + i);
    body.replaceChildren(...rows.map((row) => rowFigure(row, columns, open)));
  }
  show();
  return make('div', { class: 'direction' },
    make('div', { class: 'head' },
      make('h3', {}, `${TITLES[direction.name] || ''} (${direction.name})`),
      reconstructs(columns) ? choice : null),
    note(direction.note),
    body);
}

function showGallery(section, gallery) {
  section.append(note(gallery.note), ...gallery.directions.map(showDirection));
}
