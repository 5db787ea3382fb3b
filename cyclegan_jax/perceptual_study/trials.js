// Returns the number of the algorithm that a participant judges, from 0.
// `asked` is a number from 1 that overrides the choice, or ''. Participants
// with numbers are assigned in turn, so that groups are equally large;
// participants with names are assigned by a hash.
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

// Returns a function of k that returns the k-th pair of a session: the real
// picture, the fake picture, and the side of the real picture. If there are
// enough pictures, no picture is used twice and, with pairing 'different', no
// true pair is used both for a real and for a fake picture.
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

// Returns the number of the pair that a trial shows. Scored trials show the
// first pairs, practice trials the next ones; spare pairs come last.
function pairNumber(study, index, spare) {
  if (spare) return study.practice + study.trials + spare - 1;
  return (index + study.trials) % (study.practice + study.trials);
}
