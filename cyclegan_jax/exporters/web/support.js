// A WebAssembly module with a SIMD instruction.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1,
  8, 0, 65, 0, 253, 15, 253, 98, 11,
);

// Returns the first feature that the page needs and this browser lacks, or ''.
function lacks() {
  const parts = {
    'WebAssembly': () => typeof WebAssembly === 'object',
    'WebAssembly SIMD': () => WebAssembly.validate(SIMD),
    'DecompressionStream': () => typeof DecompressionStream === 'function',
    'web workers': () => typeof Worker === 'function',
    'createImageBitmap': () => typeof createImageBitmap === 'function',
  };
  return Object.keys(parts).find((name) => !parts[name]()) || '';
}

// Returns the bytes of memory that a translation may take on this device.
function memoryBudget() {
  const coarse = matchMedia('(pointer: coarse)').matches;
  const gigabytes = navigator.deviceMemory || (coarse ? 3 : 8);
  return (gigabytes * 2 ** 30) / 8;
}

function isOfMemory(error) {
  return /memory|alloc|out of bounds/i.test(error.message);
}
