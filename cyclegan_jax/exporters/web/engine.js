// The worker that runs the generators. Each answer has the id of its request.
const engine = {
  worker: null,
  loaded: null,
  waiting: new Map(),
  asked: 0,
  gpu: false, // true if the model runs on the GPU
  buffer: Infinity, // largest size in bytes of a buffer on the GPU
  fault: '', // error of the GPU, which is then not used again
};

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
  const { gpu, buffer = Infinity } = await ask('start', {
    module: byId('module').textContent,
    wasm: byId('wasm').textContent,
    webgpu: content.webgpu && !engine.fault,
  });
  Object.assign(engine, { gpu, buffer });
}

// Text that says what the model runs on, and why a page for GPUs uses the CPU.
function placeOfRuns() {
  if (engine.gpu) return 'Runs on the GPU (WebGPU)';
  const reason = engine.fault
    ? `: the GPU failed (${engine.fault})`
    : isSecureContext
      ? ': this browser offers no GPU'
      : ': browsers offer a GPU only to pages of https and localhost';
  return `Runs on the CPU (WebAssembly)${content.webgpu ? reason : ''}`;
}

// Translates pixels, uint8 [height, width, channels]. An error may leave the
// runtime broken, so the next call starts a new worker. After an error of the
// GPU, marked by `ofGpu`, the next call runs on the CPU.
async function run(direction, pixels, height, width) {
  const channels = pixels.length / (height * width);
  try {
    if (!engine.worker) await startEngine();
    if (!engine.loaded[direction]) {
      const program = byId(`model-${direction}`).textContent;
      await ask('load', { direction, program, channels });
      engine.loaded[direction] = true;
    }
    const shape = [1, height, width, channels];
    return await ask('run', { direction, pixels, shape });
  } catch (e) {
    stopEngine('stopped');
    if (!engine.gpu) throw e;
    Object.assign(engine, { gpu: false, buffer: Infinity, fault: e.message });
    throw Object.assign(e, { ofGpu: true });
  }
}

// Sides of the images for which the speed is measured. A GPU needs a larger
// image for a meaningful result.
const SIDE = 64, SIDE_ON_GPU = 256;
const RUNS = 4; // browsers optimise code after its first runs

// Returns the time of a translation in seconds per pixel.
async function measuredSpeed(direction, channels) {
  const timed = async (side) => {
    const pixels = new Uint8Array(side * side * channels);
    return (await run(direction, pixels, side, side)).seconds / side ** 2;
  };
  const found = [await timed(SIDE)];
  const side = engine.gpu ? SIDE_ON_GPU : SIDE;
  while (found.length < RUNS && found.at(-1) * side ** 2 <= 0.5) {
    found.push(await timed(side));
  }
  return Math.min(...found);
}
