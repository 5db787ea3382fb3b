// Returns the state of a new session: the participant, the number of the
// algorithm to judge, the window, and the answers so far.
function newSession(study, participant, asked) {
  return {
    participant,
    group: groupOf(study, participant, asked),
    window: {
      width: innerWidth,
      height: innerHeight,
      ratio: devicePixelRatio,
      dark: matchMedia('(prefers-color-scheme: dark)').matches,
    },
    spares: 0, // number of pairs shown in place of interrupted ones
    open: false, // true while a trial has begun and is not answered
    answers: [],
  };
}

// Values that the browser keeps for this study. Some browsers keep nothing for
// local files and throw an error instead.
const store = {
  key: (study, name) => `cyclegan_jax.study ${study.id} ${name}`,
  load(study, name) {
    try {
      return JSON.parse(localStorage.getItem(store.key(study, name)));
    } catch {
      return null;
    }
  },
  save(study, name, value) {
    try {
      localStorage.setItem(store.key(study, name), JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
};

const sessionName = (participant) => `session ${participant}`;

// Returns the text of the file of answers, which `study score` reads.
function answersText(study, session) {
  return JSON.stringify({
    format: 'cyclegan_jax.study',
    version: 1,
    study: study.id,
    protocol: study.protocol,
    direction: study.direction,
    pairing: study.pairing,
    seed: study.seed,
    practice: study.practice,
    trials: study.trials,
    size: study.size,
    algorithm: algorithmName(study, session.group),
    participant: session.participant,
    window: session.window,
    answers: session.answers,
  }, null, 1);
}

function answersFile(session) {
  const name = session.participant.replace(/[^\p{L}\p{N}_.-]/gu, '_');
  return `answers_${name}.json`;
}

function download(name, text) {
  const address = URL.createObjectURL(
    new Blob([text], { type: 'application/json' }));
  const link = make('a', { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60e3);
}

async function copied(area) {
  try {
    await navigator.clipboard.writeText(area.value);
    return true;
  } catch {
    area.closest('details').open = true;
    area.select();
    return document.execCommand('copy');
  }
}
