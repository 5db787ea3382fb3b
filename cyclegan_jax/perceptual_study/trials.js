// Number of the algorithm that a participant judges, from 0. Whole numbers
// take turns, so that the groups are of one size; other names are hashed.
function groupOf(study, participant, asked) {
  const groups = study.algorithms.length;
  if (/^\d+$/.test(asked) && asked >= 1 && asked <= groups) return asked - 1;
  if (/^\d+$/.test(participant)) {
    return Number(BigInt(participant) % BigInt(groups));
  }
  return hash(`${study.seed} ${participant}`) % groups;
}

function algorithmName(study, group) {
  const bytes = atob(study.algorithms[group].code);
  return new TextDecoder().decode(
    Uint8Array.from(bytes, (x) => x.charCodeAt(0)));
}

// A function of k that returns the k-th pair of a session: the real and the
// fake picture, and the side of the real one. No picture comes twice as long as
// there are enough; in pairs of different places no place comes both as a real
// and as a fake picture as long as there are enough.
function pairsOf(study, participant, group) {
  const { reals, pairing } = study;
  const { fakes } = study.algorithms[group];
  const key = `${study.seed} ${participant}`;
  const random = numbers(key);
  const realOrder = shuffled(reals.length, random);
  const fakeOrder =
    pairing === 'any' ? shuffled(fakes.length, random) : realOrder;
  const shift = pairing === 'different'
    ? Math.min(study.practice + study.trials, Math.floor(reals.length / 2))
    : 0;
  return (k) => ({
    real: reals[realOrder[k % realOrder.length]],
    fake: fakes[fakeOrder[(k + shift) % fakeOrder.length]],
    realSide: numbers(`${key} ${k}`)() < 0.5 ? 'left' : 'right',
  });
}

// Number of the pair that a trial shows. The first pairs are those of the
// trials that count; those of the practice and spare ones are behind.
function pairNumber(study, index, spare) {
  if (spare) return study.practice + study.trials + spare - 1;
  return (index + study.trials) % (study.practice + study.trials);
}
