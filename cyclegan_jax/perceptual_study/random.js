// Returns 32 mixed bits: the finalizer of MurmurHash3.
function mixed(bits) {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

// Returns the hash of a text, from 0 to 2 ** 32 - 1: FNV-1a, mixed.
function hash(text) {
  let bits = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    bits = Math.imul(bits ^ byte, 0x01000193);
  }
  return mixed(bits);
}

// Returns a generator of random numbers in [0, 1), seeded by a text.
function numbers(text) {
  let state = hash(text);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    return mixed(state) / 2 ** 32;
  };
}

// Returns the numbers from 0 to count - 1 in random order.
function shuffled(count, random) {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
