// The worker that runs the generators. Its answers come by number.
const engine = { worker: null, loaded: null, waiting: new Map(), asked: 0 };

function ask(kind, data) {
  const id = ++engine.asked;
  return new Promise((resolve, reject) => {
    engine.waiting.set(id, { resolve, reject });
    engine.worker.postMessage({ id, kind, ...data });
  });
}

function answer({ data }) {
  const { resolve, reject } = engine.waiting.get(data.id);
  engine.waiting.delete(data.id);
  if (data.failed === undefined) resolve(data.result);
  else reject(Error(data.failed));
}

function stopEngine(reason) {
  engine.worker?.terminate();
  engine.worker = null;
  for (const { reject } of engine.waiting.values()) reject(Error(reason));
  engine.waiting.clear();
}

async function startEngine() {
  const type = 'text/javascript';
  const code = new Blob([byId('worker').textContent], { type });
  engine.worker = new Worker(URL.createObjectURL(code));
  engine.worker.onmessage = answer;
  engine.worker.onerror = (e) => {
    e.preventDefault();
    stopEngine(e.message || 'the worker does not start');
  };
  engine.loaded = {};
  await ask('start', {
    module: byId('module').textContent,
    wasm: byId('wasm').textContent,
  });
}

// Translates pixels, uint8 [height, width, channels]. After an error, which
// may leave the runtime broken, the next call starts another worker.
async function run(direction, pixels, height, width) {
  try {
    if (!engine.worker) await startEngine();
    if (!engine.loaded[direction]) {
      const program = byId(`model-${direction}`).textContent;
      await ask('load', { direction, program });
      engine.loaded[direction] = true;
    }
    const shape = [1, height, width, pixels.length / (height * width)];
    return await ask('run', { direction, pixels, shape });
  } catch (e) {
    stopEngine('stopped');
    throw e;
  }
}

const SIDE = 64; // of the picture that the speed is measured with
const RUNS = 4; // browsers make code faster that has run

// Seconds per pixel.
async function measuredSpeed(direction, channels) {
  const pixels = new Uint8Array(SIDE * SIDE * channels);
  const found = [];
  while (found.length < RUNS && !(found.at(-1) > 0.5)) {
    found.push((await run(direction, pixels, SIDE, SIDE)).seconds);
  }
  return Math.min(...found) / SIDE ** 2;
}
