const LIMITS = [256, 512, 1024, 2048]; // pixels of the longest side
const PATIENCE = 15; // longest translation, in seconds, at the default size
const BUFFERS = 4; // layer outputs that are in memory at a time

// Labels the sizes with the time that each takes on this device.
function labelLimits() {
  for (const option of byId('limit').options) {
    const seconds = state.speed * option.value ** 2;
    option.textContent = `${option.value} px` +
      (seconds ? `, about ${inSeconds(seconds)}` : '');
  }
}

function offerLimits() {
  byId('limit').append(...LIMITS.map((value) => make('option', { value })));
  labelLimits();
}

// Chooses the largest size for which this device is fast enough and has memory.
function chooseLimit() {
  const budget = memoryBudget();
  const bytes = content.width * 4 * BUFFERS; // per pixel
  byId('limit').value = LIMITS.filter((x) =>
    x ** 2 * state.speed <= PATIENCE && x ** 2 * bytes <= budget &&
      x ** 2 * content.width * 4 <= engine.buffer,
  ).at(-1) || LIMITS[0];
  labelLimits();
}

// Chooses the next smaller size; returns false if there is no smaller size.
function lowerLimit(longest) {
  const limit = byId('limit');
  const lower = LIMITS.filter((x) => x < Math.min(longest, limit.value)).at(-1);
  if (lower) limit.value = lower;
  return Boolean(lower);
}

function counting(width, height) {
  const start = performance.now();
  const about = inSeconds(state.speed * width * height);
  const tick = () => {
    const passed = Math.round((performance.now() - start) / 1000);
    say(`Translating ${times(width, height)}: ${passed} s of about ${about}`);
  };
  tick();
  const timer = setInterval(tick, 1000);
  return () => clearInterval(timer);
}

// Translates a picture at the chosen size, or at a smaller size if memory is
// short. Returns null after showing a problem.
async function translated(bitmap, direction) {
  const before = make('canvas');
  for (;;) {
    const limit = Number(byId('limit').value);
    const [width, height] = fitted(bitmap.width, bitmap.height, limit);
    if (Math.min(width, height) < LEAST) {
      showProblem(`A picture of ${times(bitmap.width, bitmap.height)}, ` +
        `${width} x ${height} at this size, is too small: each side needs at ` +
        `least ${LEAST} px.`);
      return null;
    }
    const stop = counting(width, height);
    try {
      drawBitmap(before, bitmap, width, height);
      const { channels } = content.directions[direction];
      const pixels = pixelsOf(before, channels);
      const made = await run(direction, pixels, height, width);
      return { width, height, input: pixels, ...made };
    } catch (e) {
      const longest = Math.max(width, height);
      if (e.ofGpu && await settle().then(() => true, () => false)) continue;
      if (!isOfMemory(e)) showProblem(`The model failed: ${e.message}`);
      else if (lowerLimit(longest)) {
        showProblem(`There is not enough memory for ${times(width, height)}: ` +
          `trying ${byId('limit').value} px.`);
        continue;
      } else showProblem('There is not enough memory: close other pages.');
      return null;
    } finally {
      stop();
    }
  }
}

async function translateOnce() {
  const { file } = state;
  const direction = byId('direction').value;
  const { label } = content.directions[direction];
  hideProblem();
  say('Reading the picture');
  const bitmap = await decode(file).catch(() => null);
  if (!bitmap) {
    say('Ready');
    showProblem(`${file.name || 'This file'} cannot be read as a picture: ` +
      'the file is broken, too large, or in a format that this browser does ' +
      'not support.');
    return;
  }
  const found = await translated(bitmap, direction);
  const size = [bitmap.width, bitmap.height];
  bitmap.close();
  if (!found) return say('Ready');
  const { width, height, input, pixels, seconds } = found;
  drawPixels(byId('before'), input, width, height);
  drawPixels(byId('after'), pixels, width, height);
  const scaled = width < size[0] || height < size[1]
    ? ` The picture of ${times(...size)} was scaled to ${times(width, height)}.`
    : '';
  say(`Translated ${times(width, height)} in ${inSeconds(seconds)}.${scaled}`);
  byId('caption').replaceChildren(`${file.name}, ${label}`);
  state.speed = seconds / (width * height);
  labelLimits();
  state.shown = { name: file.name, direction };
  byId('save').disabled = false;
  showView();
  state.done += 1;
}

// Runs one translation at a time. Of the requests that arrive meanwhile, only
// the last is carried out.
async function translate() {
  if (!state.file || !state.ready) return;
  state.again = true;
  if (state.busy) return;
  setBusy(true);
  while (state.again) {
    state.again = false;
    await translateOnce();
  }
  setBusy(false);
  document.documentElement.dataset.done = state.done;
}
