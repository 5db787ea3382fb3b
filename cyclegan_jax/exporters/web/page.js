const content = JSON.parse(byId('data').textContent);

const state = {
  file: null, // the picture to translate
  shown: null, // {name, direction} of the translation on the page
  ready: false,
  busy: false,
  again: false, // true if the picture or an option changed while busy
  speed: 0, // seconds per pixel
  done: 0, // number of translations
};

const say = (text) => byId('status').replaceChildren(text);
const times = (width, height) => `${width} x ${height} px`;
const inSeconds = (x) => `${x < 10 ? x.toFixed(x < 1 ? 2 : 1) : x.toFixed()} s`;

function showProblem(text) {
  byId('problem').hidden = false;
  byId('problem').replaceChildren(text);
}

function hideProblem() {
  byId('problem').hidden = true;
}

function setBusy(busy) {
  state.busy = busy;
  byId('compare').setAttribute('aria-busy', busy);
  document.documentElement.dataset.busy = busy;
}

function take(file) {
  if (!file) return showProblem('This is not a file: drop or paste a picture.');
  state.file = file;
  return translate();
}

function save() {
  if (!state.shown) return;
  const { name, direction } = state.shown;
  const stem = name.replace(/\.[^.]*$/, '') || 'picture';
  byId('after').toBlob((blob) => {
    const href = URL.createObjectURL(blob);
    make('a', { href, download: `${stem}_${direction}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60e3);
  }, 'image/png');
}

function turn() {
  const select = byId('direction');
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  return translate();
}

const KEYS = {
  o: () => byId('file').click(),
  c: openCamera,
  d: turn,
  s: save,
  '+': () => zoomBy(1),
  '=': () => zoomBy(1),
  '-': () => zoomBy(-1),
  ArrowLeft: () => moveSplit(-5),
  ArrowRight: () => moveSplit(5),
};

function pressed(e) {
  const act = KEYS[e.key.length > 1 ? e.key : e.key.toLowerCase()];
  if (!act || e.altKey || e.ctrlKey || e.metaKey) return;
  if (byId('viewfinder').open || e.target.matches('select')) return;
  const scrolls = e.target.matches('#window:not(.fit)');
  if (e.key.startsWith('Arrow') && scrolls) return;
  e.preventDefault();
  act();
}

function listen() {
  const file = byId('file');
  for (const id of ['drop', 'open']) {
    byId(id).addEventListener('click', () => file.click());
  }
  for (const input of [file, byId('shot')]) {
    input.addEventListener('change', () => {
      if (input.files.length) take(input.files[0]);
      input.value = ''; // so that the same file can be chosen again
    });
  }
  const over = (on) => byId('drop').classList.toggle('over', on);
  addEventListener('dragover', (e) => { e.preventDefault(); over(true); });
  addEventListener('dragleave', () => over(false));
  addEventListener('drop', (e) => {
    e.preventDefault();
    over(false);
    take(e.dataTransfer.files[0]);
  });
  addEventListener('paste', (e) => take(e.clipboardData.files[0]));
  byId('direction').addEventListener('change', translate);
  byId('limit').addEventListener('change', translate);
  byId('save').addEventListener('click', save);
  document.addEventListener('keydown', pressed);
}

function show() {
  const ways = Object.entries(content.directions);
  byId('name').append(content.name);
  byId('direction').append(...ways.map(([value, { label }]) =>
    make('option', { value }, label)));
  byId('ways').hidden = ways.length < 2;
  byId('facts').append(...content.facts.map(([what, value]) =>
    make('div', {}, make('dt', {}, what), make('dd', {}, value))));
}

// Measures the speed of the GPU, or of the CPU if the GPU fails, and chooses a
// size of pictures.
async function settle() {
  const [direction, { channels }] = Object.entries(content.directions)[0];
  for (;;) {
    try {
      state.speed = await measuredSpeed(direction, channels);
      break;
    } catch (e) {
      if (!e.ofGpu) throw e;
    }
  }
  byId('place').replaceChildren(placeOfRuns());
  chooseLimit();
}

async function start() {
  show();
  const lack = lacks();
  if (lack) {
    say('This page does not run in this browser.');
    return showProblem(`This browser has no ${lack}: use a newer browser.`);
  }
  prepareView();
  prepareCamera();
  offerLimits();
  listen();
  try {
    await settle();
  } catch (e) {
    say('This page does not run in this browser.');
    return showProblem(isOfMemory(e)
      ? 'There is not enough memory for the model: close other pages.'
      : `The model does not start: ${e.message}`);
  }
  state.ready = true;
  say(`Ready after ${inSeconds(performance.now() / 1000)}`);
  document.documentElement.dataset.ready = 'yes';
  return translate();
}

start();
