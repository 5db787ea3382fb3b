'use strict';

// Runs apart from the page, which stays alive while a picture is translated.
const OPTIONS = {
  executionProviders: ['wasm'],
  // Both keep memory that pictures of another size would need.
  enableCpuMemArena: false,
  enableMemPattern: false,
};
const sessions = {};
let ort = null;

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

const WORK = {
  async start({ module, wasm }) {
    const [code, binary] = await Promise.all([unpacked(module), unpacked(wasm)]);
    const type = 'text/javascript';
    ort = await import(URL.createObjectURL(new Blob([code], { type })));
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = binary;
    return {};
  },
  async load({ direction, program }) {
    const bytes = new Uint8Array(await unpacked(program));
    sessions[direction] = await ort.InferenceSession.create(bytes, OPTIONS);
    return {};
  },
  async run({ direction, pixels, shape }) {
    const start = performance.now();
    const images = new ort.Tensor('uint8', pixels, shape);
    const { translated } = await sessions[direction].run({ images });
    const seconds = (performance.now() - start) / 1000;
    return { pixels: translated.data, seconds };
  },
};

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, result: await WORK[data.kind](data) });
  } catch (e) {
    postMessage({ id: data.id, failed: String((e && e.message) || e) });
  }
};
