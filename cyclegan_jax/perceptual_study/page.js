const study = JSON.parse(byId('data').textContent);
const address = new URLSearchParams(location.search);
const total = study.practice + study.trials;
const ASKED = {
  cyclegan: 'say which one was real: the first or the second',
  pix2pix: 'say which one was made by a computer: the first or the second',
};
const GAP = 16; // pixels between the pictures
const AROUND = 150; // pixels of the window height that pictures cannot use

let session = null; // result of newSession
let pairs = null; // result of pairsOf
let current = null; // the trial on the screen
let kept = true; // false if the browser could not keep the answers

function showScreen(name) {
  for (const section of document.querySelectorAll('section')) {
    section.hidden = section.id !== name;
  }
  document.documentElement.dataset.screen = name;
  scrollTo(0, 0);
}

function setPhase(name) {
  byId('trial').dataset.phase = name;
}

const phase = () => byId('trial').dataset.phase;

function keep() {
  kept = store.save(study, sessionName(session.participant), session);
  store.save(study, 'last', session.participant);
}

// Start screen

function showStart() {
  const { milliseconds: ms, practice, trials } = study;
  const each = ms.before + ms.first + ms.between + ms.second + 2500;
  const minutes = Math.ceil((total * each + practice * ms.feedback) / 60e3);
  const seconds = (x) => (x === 1000 ? 'one second' : `${x / 1000} seconds`);
  const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
  const first = practice
    ? `You first practise with ${plural(practice, 'question')} and are told ` +
      `if you were right. Then come ${plural(trials, 'question')}.`
    : `There are ${plural(trials, 'question')}.`;
  byId('instructions').append(
    make('p', {}, 'You see two pictures, one after the other. One is real; ' +
      'the other was made by a computer.'),
    make('ol', {},
      make('li', {}, `Each picture is shown for ${seconds(ms.first)}. ` +
        'Look at both.'),
      make('li', {}, `Then ${ASKED[study.protocol]}. Press a button, or the ` +
        'left or right arrow key.'),
      make('li', {}, 'Take as long as you like to answer. You can rest at ' +
        'any question.')),
    make('p', {}, `${first} It takes about ${plural(minutes, 'minute')}.`),
    note('Taking part is voluntary: to stop, close the page. It records the ' +
      'name or number below, your answers, how long each answer took, how ' +
      'long the pictures were shown, and the size of this window. It sends ' +
      'nothing: at the end you save a file and pass it on yourself.'));
  const given = address.get('participant')?.trim();
  const field = byId('participant');
  field.value = given || store.load(study, 'last') || '';
  field.readOnly = Boolean(given);
  field.addEventListener('input', sayFound);
  sayFound();
  byId('form').addEventListener('submit', (e) => {
    e.preventDefault();
    const participant = field.value.trim();
    if (participant) begin(participant);
  });
  showScreen('start');
}

function sayFound() {
  const found = load(byId('participant').value.trim());
  const done = found?.answers.length;
  byId('found').textContent = done
    ? `${done} of ${total} questions are answered already.`
    : '';
  byId('begin').textContent = done ? 'Continue' : 'Start';
}

function load(participant) {
  return participant ? store.load(study, sessionName(participant)) : null;
}

function begin(participant) {
  session = load(participant) ||
    newSession(study, participant, address.get('group') || '');
  pairs = pairsOf(study, session.participant, session.group);
  if (session.open) session.spares += 1; // reloaded: the pair was seen already
  keep();
  next(session.open ? 1 : 0);
}

// Trials

function next(restarts = 0) {
  const index = session.answers.length;
  const done = index - study.practice;
  if (index === total) return showEnd();
  if (restarts) return startTrial(restarts);
  if (done === 0 && study.practice) {
    return showRest('The practice is over', 'From now on you are not told ' +
      `if you were right. ${study.trials} questions follow.`);
  }
  if (study.trials >= 20 && done === Math.floor(study.trials / 2)) {
    return showRest('You are halfway through', 'Rest a little, if you like.');
  }
  startTrial();
}

function showRest(title, text) {
  byId('rest-title').textContent = title;
  byId('rest-text').textContent = text;
  showScreen('rest');
  byId('continue').focus();
}

// Places the pictures side by side or one above the other, whichever makes them
// larger in this window. Returns their longest side in pixels.
function fit() {
  const stage = byId('stage');
  const width = stage.clientWidth;
  const height = innerHeight - AROUND;
  const beside = Math.min((width - GAP) / 2, height);
  const stacked = Math.min(width, (height - GAP) / 2);
  const isStacked = Math.min(stacked, study.size) > beside;
  const room = Math.max(beside, stacked);
  const shown = Math.max(64, Math.min(study.size, Math.floor(room)));
  stage.classList.toggle('stacked', isStacked);
  stage.style.setProperty('--shown', `${shown}px`);
  return shown;
}

function startTrial(restarts = 0) {
  const index = session.answers.length;
  const pair = pairs(pairNumber(study, index, restarts && session.spares));
  const practice = index < study.practice;
  const fakeSide = pair.realSide === 'left' ? 'right' : 'left';
  const sides = { [pair.realSide]: 'real', [fakeSide]: 'fake' };
  const images = ['left', 'right'].map((side) => {
    const image = make('img', { src: pair[sides[side]].src, alt: '' });
    byId(side).replaceChildren(image);
    return image;
  });
  byId('count').textContent = practice
    ? `Practice ${index + 1} of ${study.practice}`
    : `Question ${index + 1 - study.practice} of ${study.trials}`;
  byId('progress').max = total;
  byId('progress').value = index;
  setPhase('loading');
  showScreen('trial');
  current = { index, practice, pair, sides, restarts, away: false, stop: null };
  current.shown = fit();
  const trial = current;
  Promise.all(images.map((image) => image.decode())).then(() => {
    if (trial !== current) return;
    session.open = true;
    keep();
    const names = ['before', 'first', 'between', 'second'];
    const phases = names.map((name) => ({ name, ms: study.milliseconds[name] }));
    trial.stop = play(phases, setPhase, ask);
  }, failed);
}

function ask(lasted) {
  current.lasted = lasted.map((ms) => Math.round(ms * 10) / 10);
  current.asked = performance.now();
  setPhase('question');
}

function answer(side) {
  if (phase() !== 'question' || byId('trial').hidden) return;
  const { index, practice, pair, sides, lasted } = current;
  const correct =
    sides[side] === (study.protocol === 'pix2pix' ? 'fake' : 'real');
  session.answers.push({
    index,
    practice,
    real: pair.real.name,
    fake: pair.fake.name,
    left: sides.left,
    right: sides.right,
    answer: side,
    correct,
    response_ms: Math.round(performance.now() - current.asked),
    shown_ms: [lasted[1], lasted[3]],
    blank_ms: [lasted[0], lasted[2]],
    shown_px: current.shown,
    restarts: current.restarts,
    away: current.away,
  });
  session.open = false;
  keep();
  if (!practice) return next();
  byId('feedback').textContent = correct ? '\u2713 Correct' : '\u2717 Wrong';
  const { feedback } = study.milliseconds;
  play([{ name: 'feedback', ms: feedback }], setPhase, () => {
    byId('feedback').textContent = '';
    next();
  });
}

// Stops a trial while the page is hidden. The trial is repeated with other
// pictures, because these may have been seen in part.
function hide() {
  if (!document.hidden || byId('trial').hidden) return;
  if (phase() === 'question') current.away = true;
  if (!['before', 'first', 'between', 'second'].includes(phase())) return;
  current.stop();
  session.spares += 1;
  keep();
  setPhase('stopped');
  showRest('The page was hidden', 'You will see two other pictures instead ' +
    'of the last ones.');
  current.again = true;
}

function resume() {
  startTrial(current?.again ? current.restarts + 1 : 0);
}

// End screen

function showEnd() {
  current = null;
  byId('text').value = answersText(study, session);
  byId('handed').textContent = '';
  showScreen('end');
  byId('save').focus();
}

byId('pick-left').addEventListener('click', () => answer('left'));
byId('pick-right').addEventListener('click', () => answer('right'));
byId('continue').addEventListener('click', resume);
byId('save').addEventListener('click', () => {
  download(answersFile(session), byId('text').value);
  byId('handed').textContent = `Saved as ${answersFile(session)}.`;
  kept = true;
});
byId('copy').addEventListener('click', async () => {
  const done = await copied(byId('text'));
  byId('handed').textContent = done
    ? 'Copied.'
    : 'This browser cannot copy: select and copy the text below.';
});
byId('another').addEventListener('click', () => {
  store.save(study, 'last', '');
  location.reload();
});
document.addEventListener('keydown', (e) => {
  const side = { ArrowLeft: 'left', ArrowRight: 'right' }[e.key];
  if (!side || e.repeat || e.altKey || e.ctrlKey || e.metaKey) return;
  if (byId('trial').hidden) return;
  e.preventDefault();
  answer(side);
});
document.addEventListener('visibilitychange', hide);
addEventListener('resize', () => {
  if (!byId('trial').hidden) current.shown = fit();
});
// If the browser keeps nothing, closing the page would lose the answers.
addEventListener('beforeunload', (e) => {
  if (session?.answers.length && !kept) e.preventDefault();
});
showStart();
document.documentElement.dataset.ready = 'yes';
