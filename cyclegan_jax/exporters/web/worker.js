'use strict';

// Runs in a worker, so that the page stays responsive during a translation.
const OPTIONS = {
  // Both keep memory that pictures of another size would need.
  enableCpuMemArena: false,
  enableMemPattern: false,
};
const sessions = {};
let ort = null;
let gpu = false; // true if the model runs on the GPU

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function unpacked(text) {
  const stream = new Blob([decoded(text)]).stream();
  const plain = stream.pipeThrough(new DecompressionStream('gzip'));
  return new Response(plain).arrayBuffer();
}

// Returns the GPU that the browser offers, or null. A GPU that is emulated by
// the CPU is not used, because it is slower than WebAssembly.
async function offered() {
  try {
    const adapter = await navigator.gpu.requestAdapter();
    return adapter.info?.isFallbackAdapter ? null : adapter;
  } catch {
    return null;
  }
}

function created(bytes, provider) {
  const options = { ...OPTIONS, executionProviders: [provider] };
  return ort.InferenceSession.create(bytes, options);
}

async function made(session, pixels, shape) {
  const images = new ort.Tensor('uint8', pixels, shape);
  const { translated } = await session.run({ images });
  return translated.data;
}

const TRIAL = [61, 67]; // height and width
const TOLERANCE = 8; // levels

// Throws an error if GPU and CPU translate differently: some drivers have bugs.
async function checkGpu(session, bytes, channels) {
  const shape = [1, ...TRIAL, channels];
  const pixels = new Uint8Array(TRIAL[0] * TRIAL[1] * channels);
  pixels.forEach((_, i) => { pixels[i] = (i * i) % 251; });
  const cpu = await created(bytes, 'wasm');
  const right = await made(cpu, pixels, shape);
  await cpu.release();
  const found = await made(session, pixels, shape);
  const error = right.reduce((x, y, i) =>
    Math.max(x, Math.abs(y - found[i])), 0);
  if (!(error <= TOLERANCE)) {
    throw Error(`its translations differ by ${error} of 255 levels`);
  }
}

const WORK = {
  // Returns whether the model will run on a GPU, and the largest size in bytes
  // of a buffer on that GPU.
  async start({ module, wasm, webgpu }) {
    const [code, binary] = await Promise.all([unpacked(module), unpacked(wasm)]);
    const type = 'text/javascript';
    ort = await import(URL.createObjectURL(new Blob([code], { type })));
    ort.env.logLevel = 'error';
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = binary;
    const adapter = webgpu && await offered();
    gpu = Boolean(adapter);
    return { gpu, buffer: adapter?.limits?.maxStorageBufferBindingSize };
  },
  async load({ direction, program, channels }) {
    const bytes = new Uint8Array(await unpacked(program));
    const session = await created(bytes, gpu ? 'webgpu' : 'wasm');
    if (gpu) await checkGpu(session, bytes, channels);
    sessions[direction] = session;
    return {};
  },
  async run({ direction, pixels, shape }) {
    const start = performance.now();
    const fakes = await made(sessions[direction], pixels, shape);
    const seconds = (performance.now() - start) / 1000;
    return { pixels: fakes, seconds };
  },
};

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, result: await WORK[data.kind](data) });
  } catch (e) {
    postMessage({ id: data.id, failed: String((e && e.message) || e) });
  }
};
