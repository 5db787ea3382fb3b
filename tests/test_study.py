"""Tests of the study with people: its page in a browser, and its statistics."""

import base64
import collections
import io
import itertools
import json
import re
import statistics

import jax
import numpy as np
import pytest
import tiny
from browser import needs_browser, opened
from PIL import Image

from cyclegan_jax import study
from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.inference import saved
from cyclegan_jax.perceptual_study import answers, make, pictures, score
from cyclegan_jax.perceptual_study.design import MILLISECONDS, Design

FRAME = 20  # milliseconds, a little more than a frame
LOOK = 50  # milliseconds between two observations of a page


def data_uri(value):
  png = images.png(np.full((4, 4, 3), value, np.uint8))
  return 'data:image/png;base64,' + base64.b64encode(png).decode()


def numbered(kind, count, value):
  return [
    {'name': f'{kind}{i}.png', 'src': data_uri(value)} for i in range(count)
  ]


def values(count=8, algorithms=('ours', 'th\xe9irs'), **changes):
  """Returns the content of a page; real pictures are white, fake ones black."""
  return {
    'id': 'abc',
    'protocol': 'cyclegan',
    'direction': 'a2b',
    'practice': 1,
    'trials': 3,
    'seed': 0,
    'size': 256,
    'pairing': 'different',
    'milliseconds': MILLISECONDS,
    'reals': numbered('r', count, 255),
    'algorithms': [
      {
        'code': base64.b64encode(name.encode()).decode(),
        'fakes': numbered('f', count, 0),
      }
      for name in algorithms
    ],
  } | changes


@pytest.fixture
def written(tmp_path):
  """Returns a function that writes a page of changed `values`."""

  def write(**changes):
    path = tmp_path / 'study.html'
    make.write(path, values(**changes))
    return path

  return write


class Person:
  """A simulated participant at a page whose clock is controlled."""

  def __init__(self, page, name='2'):
    self.page = page
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.fill('#participant', name)
    page.check('#consent')
    page.click('#begin')

  def wait(self, milliseconds):
    self.page.clock.run_for(milliseconds)

  @property
  def phase(self):
    return self.page.get_attribute('#trial', 'data-phase')

  def begin(self):
    """Waits for the pictures of a trial, which load in real time."""
    while self.phase == 'loading':
      self.wait(FRAME)
    assert self.phase == 'before'

  def look(self, until='question'):
    """Returns {phase: duration in milliseconds} and {phase: colours}."""
    self.begin()
    lasted, seen = collections.Counter(), {}
    while self.phase != until:
      lasted[self.phase] += LOOK
      seen[self.phase] = {side: self.sees(side) for side in ('left', 'right')}
      self.wait(LOOK)
    return lasted, seen

  def sees(self, side):
    """Returns 'real' or 'fake', or None if the picture is hidden."""
    image = self.page.locator(f'#{side} img')
    src = image.get_attribute('src') if image.is_visible() else None
    return {data_uri(255): 'real', data_uri(0): 'fake', None: None}[src]

  def pass_by(self):
    """Waits for the question of a trial; returns the side of the real one."""
    self.begin()
    self.wait(MILLISECONDS['before'] + 2 * FRAME)
    first = self.sees('left')
    self.wait(MILLISECONDS['first'] + MILLISECONDS['between'])
    while self.phase != 'question':
      self.wait(LOOK)
    return 'left' if first == 'real' else 'right'

  def screen(self):
    return self.page.get_attribute('html', 'data-screen')

  def save(self, folder):
    with self.page.expect_download() as download:
      self.page.click('#save')
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def shares(path, capsys):
  assert program.run(study.main, ['study', 'score', str(path)]) == 0
  return capsys.readouterr().out


@needs_browser
def test_a_session_from_start_to_score(written, tmp_path, capsys):
  with opened(written(practice=1, trials=3)) as page:
    person = Person(page)
    lasted, seen = person.look()
    assert list(lasted) == ['before', 'first', 'between', 'second']
    for name, milliseconds in lasted.items():
      assert abs(milliseconds - MILLISECONDS[name]) <= LOOK + FRAME, name
    both = {seen['first']['left'], seen['second']['right']}
    assert both == {'real', 'fake'}
    hidden = [seen['before'], seen['between']]
    hidden += [{0: seen['first']['right'], 1: seen['second']['left']}]
    assert not any(x for names in hidden for x in names.values())
    # Nothing happens without an answer.
    person.wait(60_000)
    assert person.phase == 'question'
    # Practice trials show if the answer is right, for the documented time.
    real = 'left' if seen['first']['left'] == 'real' else 'right'
    page.click(f'#pick-{real}')
    person.wait(FRAME)
    assert page.text_content('#feedback') == '\u2713 Correct'
    person.wait(MILLISECONDS['feedback'] - 3 * FRAME)
    assert person.phase == 'feedback'
    person.wait(4 * FRAME)
    assert person.screen() == 'rest'
    page.click('#continue')
    # Two right answers, by key and by button, and a wrong answer.
    real = person.pass_by()
    page.keyboard.press(f'Arrow{real.title()}')
    assert person.phase == 'loading' and not page.text_content('#feedback')
    page.click(f'#pick-{person.pass_by()}')
    wrong = {'left': 'right', 'right': 'left'}[person.pass_by()]
    person.wait(500)
    page.keyboard.press(f'Arrow{wrong.title()}')
    assert person.screen() == 'end'
    path = person.save(tmp_path)
    page.click('#copy')
    page.wait_for_function("byId('handed').textContent === 'Copied.'")
  assert path.name == 'answers_2.json'
  content = json.loads(path.read_text())
  assert content['algorithm'] == 'ours' and content['window']['width'] == 1280
  rows = content['answers']
  assert [x['practice'] for x in rows] == [True, False, False, False]
  assert [x['correct'] for x in rows] == [True, True, True, False]
  assert all(abs(x - 1000) <= FRAME for r in rows for x in r['shown_ms'])
  assert abs(rows[3]['response_ms'] - 500) <= LOOK + FRAME
  for row in rows:
    picked = row[row['answer']]
    assert row['correct'] == (picked == 'real')
    assert {row['left'], row['right']} == {'real', 'fake'}
    assert row['real'][1:] != row['fake'][1:]
  assert re.search(r'ours *\| 1 *\| 3 *\| 33.3% ', shares(path, capsys))


@needs_browser
def test_pix2pix_asks_for_the_fake_and_a_reload_resumes(written, tmp_path):
  path = written(protocol='pix2pix', practice=0, trials=2)
  with opened(path, width=390, height=844) as page:
    assert page.title() == 'Which picture was fake?'
    person = Person(page, '3')
    real = person.pass_by()
    page.click(f'#pick-{real}')  # a wrong answer
    person.begin()
    first = json.loads(page.evaluate('answersText(study, session)'))
    interrupted = page.evaluate('current.pair.real.name')
    page.reload()
    assert page.input_value('#participant') == '3'
    assert (
      page.text_content('#found') == '1 of 2 questions are answered already.'
    )
    page.check('#consent')
    page.click('#begin')
    real = person.pass_by()
    fake = {'left': 'right', 'right': 'left'}[real]
    page.click(f'#pick-{fake}')
    content = json.loads(person.save(tmp_path).read_text())
  assert content['answers'][0] == first['answers'][0]
  assert [x['correct'] for x in content['answers']] == [False, True]
  # The pair shown before the reload is not shown again.
  assert content['answers'][1]['real'] != interrupted
  assert [x['restarts'] for x in content['answers']] == [0, 1]
  assert content['answers'][0]['shown_px'] == 256  # stacked on a phone
  assert content['algorithm'] == 'th\xe9irs'


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {
    configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


@needs_browser
def test_a_page_hidden_during_a_trial_shows_another_pair(written, tmp_path):
  no_store = """Object.defineProperty(window, 'localStorage', {
    get() { throw new Error('refused'); } });"""
  with opened(written(practice=0, trials=1), scripts=[no_store]) as page:
    person = Person(page)
    person.begin()
    person.wait(1200)
    assert person.phase == 'first'
    seen = page.evaluate('[current.pair.real.name, current.pair.fake.name]')
    page.evaluate(HIDE, True)
    person.wait(5000)
    assert person.screen() == 'rest'
    page.evaluate(HIDE, False)
    page.click('#continue')
    person.pass_by()
    page.evaluate(HIDE, True)  # during the question, hiding is only recorded
    page.evaluate(HIDE, False)
    page.click('#pick-left')
    (row,) = json.loads(person.save(tmp_path).read_text())['answers']
  assert (row['restarts'], row['away']) == (1, True)
  assert not {row['real'], row['fake']} & set(seen)


LOG = """addEventListener('DOMContentLoaded', () => {
  window.log = [];
  new MutationObserver(() => log.push(
    [document.getElementById('trial').dataset.phase, performance.now()]
  )).observe(document.getElementById('trial'), {
    attributes: true, attributeFilter: ['data-phase'] });
});"""


@needs_browser
def test_the_display_times_are_right_by_a_real_clock(written):
  path = written(practice=0, trials=1)
  with opened(path, scripts=[LOG]) as page:
    page.fill('#participant', 'x')
    page.check('#consent')
    page.click('#begin')
    page.wait_for_selector('[data-phase=question]')
    log = dict(page.evaluate('log'))
    page.keyboard.press('ArrowLeft')
    (row,) = page.evaluate('session.answers')
  names = ['before', 'first', 'between', 'second', 'question']
  assert [x for x in log if x in names] == names
  for name, after in itertools.pairwise(names):
    # Frames of a busy machine are late.
    late = log[after] - log[name] - MILLISECONDS[name]
    assert -300 < late < 5000, name
  # The recorded times are the real times, even if late.
  for name, after, shown in zip(
    ('first', 'second'), ('between', 'question'), row['shown_ms']
  ):
    assert abs(log[after] - log[name] - shown) < 400


@needs_browser
def test_participants_get_groups_and_pairs(written):
  path = written(count=20, practice=2, trials=8, algorithms='abc')
  session = """([name, count]) => {
    const next = pairsOf(study, name, 0);
    return Array.from({ length: count }, (_, i) => next(pairNumber(study, i)));
  }"""
  with opened(path) as page:
    groups = page.evaluate(
      "Array.from({length: 75}, (_, i) => groupOf(study, String(i + 1), ''))"
    )
    assert collections.Counter(groups) == {0: 25, 1: 25, 2: 25}
    named = page.evaluate(
      "Array.from({length: 300}, (_, i) => groupOf(study, `p${i}`, ''))"
    )
    assert min(collections.Counter(named).values()) > 70
    assert page.evaluate("groupOf(study, '3', '2')") == 1
    assert page.evaluate("groupOf(study, '3', '4')") == 0  # no such group
    sides = collections.Counter()
    sessions = [page.evaluate(session, [str(i), 10]) for i in range(40)]
    for pairs in sessions:
      places = [x[kind]['name'][1:] for x in pairs for kind in ('real', 'fake')]
      assert (
        len(set(places)) == 20
      )  # no place twice, as there are enough places
      sides.update(x['realSide'] for x in pairs)
    assert min(sides.values()) > 150
    assert sessions[0] == page.evaluate(session, ['0', 10])
    assert sessions[0] != sessions[1]
    for changes, same in (
      ('{pairing: "same"}', True),
      ('{pairing: "any", reals: study.reals.slice(3)}', None),
    ):
      pairs = page.evaluate(f"""() => {{
        const other = {{...study, ...{changes}}};
        const next = pairsOf(other, '1', 1);
        return Array.from({{ length: 10 }}, (_, i) => next(i)); }}""")
      names = [
        [x[kind]['name'][1:] for x in pairs] for kind in ('real', 'fake')
      ]
      assert (names[0] == names[1]) == bool(same)
      assert len(set(names[0])) == len(set(names[1])) == 10


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """Folder with two models and true pairs of pictures."""
  root = tmp_path_factory.mktemp('study')
  tiny.write_pictures(root / 'data', test=6)
  options = {'data__source': 'folder', 'data__root': str(root / 'data')}
  ours = saved.load(tiny.save_model(root / 'ours', **options))
  params = jax.tree.map(np.negative, ours.params)
  saved.save(root / 'theirs', ours.config, params)
  return root


def page_of(models, *flags):
  return [
    'study',
    'make',
    f'--models=ours={models / "ours"},theirs={models / "theirs"}',
    '--direction=a2b',
    '--practice=2',
    '--trials=3',
    *flags,
  ]


def content_of(path):
  text = re.search(r'id="data">(.*?)</script>', path.read_text('ascii'))[1]
  return json.loads(text)


def pixels(picture):
  code = picture['src'].removeprefix('data:image/png;base64,')
  with Image.open(io.BytesIO(base64.b64decode(code))) as image:
    return np.asarray(image)


def test_the_page_contains_test_pictures_and_translations(
  models, tmp_path, capsys
):
  path = tmp_path / 'deep' / 'study.html'
  argv = page_of(models, f'--output={path}')
  assert program.run(study.main, argv) == 0, capsys.readouterr().err
  out = capsys.readouterr().out
  content = content_of(path)
  assert f'\nstudy {content["id"]}: {path} (' in out
  assert content['pairing'] == 'different'
  names = [base64.b64decode(x['code']).decode() for x in content['algorithms']]
  assert names == ['ours', 'theirs'] and 'theirs' not in path.read_text()
  lists = [content['reals'], *(x['fakes'] for x in content['algorithms'])]
  for found in lists:
    assert [x['name'] for x in found] == [f'{i}.png' for i in range(6)]
  size = (tiny.SIZE, tiny.SIZE)
  read = {}
  for domain in 'AB':
    with Image.open(models / 'data' / f'test{domain}' / '3.png') as image:
      read[domain] = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
  np.testing.assert_array_equal(pixels(content['reals'][3]), read['B'])
  for name, one in zip(names, content['algorithms']):
    image = images.from_pixels(read['A'])
    made = saved.load(models / name).translate(image, 'a2b')
    shown = pixels(one['fakes'][3]).astype(int)
    assert np.abs(shown - images.to_rgb(made)).max() <= 1
  # Equal seeds choose equal pictures; another seed is another study.
  other = tmp_path / 'other.html'
  program.run(study.main, page_of(models, f'--output={other}', '--seed=1'))
  again = content_of(other)
  assert again['reals'] == content['reals']
  assert again['algorithms'] == content['algorithms']
  assert again['id'] != content['id']


def test_pictures_are_chosen_and_reduced(models, tmp_path, capsys):
  card = f'--config={tiny.CONFIGS / "folder.py"}'
  path = tmp_path / 'study.html'
  data = [
    card,
    f'--config.data.root={models / "data"}',
    '--config.data.crop_size=40',
    '--config.data.load_size=40',
  ]
  flags = ['--pictures=4', '--size=20', '--same-place', f'--output={path}']
  assert program.run(study.main, page_of(models, *flags, *data)) == 0
  out = capsys.readouterr().out
  content = content_of(path)
  assert content['pairing'] == 'same' and 'shown again' in out
  assert [x['name'] for x in content['reals']] == [
    f'{i}.png' for i in (0, 2, 3, 5)
  ]
  for picture in (content['reals'][0], content['algorithms'][1]['fakes'][0]):
    assert pixels(picture).shape == (20, 20, 3)


def test_a_page_that_becomes_too_large_is_refused(
  models, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(pictures, 'LIMIT', 5000)
  argv = page_of(models, f'--output={tmp_path / "x.html"}')
  assert program.run(study.main, argv) == 2
  assert 'smaller --pictures' in capsys.readouterr().err
  assert not (tmp_path / 'x.html').exists()


@pytest.mark.parametrize(
  'flags,words',
  [
    (['--trials=7'], '--trials=7: 7 real and as many generated'),
    (['--trials=7'], 'there are only 6: give --trials=6'),
    (['--trials=0'], '--trials=0 must be at least 1'),
    (['--pictures=2'], 'there are only 2: give --trials=2'),
    (['--pictures=-1'], '--pictures=-1'),
    (['--protocol=pix3pix'], "did you mean 'pix2pix'"),
    (['--direction='], "--direction='': ours translates a2b and b2a"),
    (['--models=x'], "'x' is not NAME=PATH"),
    (['--models=x=a,x=b'], "'x' is given twice"),
    (['--models=x=~nosuchuser/a'], "no user 'nosuchuser'"),
    (['--models=x=/nowhere'], '/nowhere'),
    (['--config.data.paired=no', '--same-place'], 'are not true pairs'),
    (['--output='], 'no --output'),
    (['more'], "'more' is not a flag"),
  ],
)
def test_impossible_studies_are_one_line(
  flags, words, models, tmp_path, capsys
):
  argv = page_of(models, f'--output={tmp_path / "x.html"}', *flags)
  assert program.run(study.main, argv) == 2
  err = capsys.readouterr().err
  assert words in err and err.count('\n') == 1
  assert not list(tmp_path.iterdir())


def test_models_of_other_channels_are_refused(models, tmp_path, capsys):
  options = {'loss__identity_a': 0.0, 'loss__identity_b': 0.0}
  gray = tiny.save_model(tmp_path / 'gray', data__channels_b=1, **options)
  argv = ['study', 'make', '--direction=a2b', f'--output={tmp_path / "x"}']
  argv.append(f'--models=ours={models / "ours"},gray={gray}')
  assert program.run(study.main, argv) == 2
  assert 'gray has data.channels_b=1, but ours has 3' in capsys.readouterr().err


@pytest.mark.parametrize(
  'words,line',
  [
    ([], 'nothing to do: give make or score'),
    (['maek'], "did you mean 'make'"),
    (['score'], 'no answers'),
    (['score', 'x', '--seed=-1'], '--seed=-1'),
    (['score', 'x', '--models=y'], 'models'),
    (['score', '/nowhere'], '/nowhere does not exist'),
  ],
)
def test_invalid_commands_are_one_line(words, line, capsys):
  assert program.run(study.main, ['study', *words]) == 2
  err = capsys.readouterr().err
  assert line in err and err.count('\n') == 1


# Statistics.


def people(*fooled_and_trials):
  """Returns a boolean array per (number fooled, number of trials)."""
  return [np.arange(n) < k for k, n in fooled_and_trials]


def enumerated(those):
  """Returns {share: probability} of all resamples of people and trials."""
  found = collections.Counter()
  count = len(those)
  for drawn in itertools.product(those, repeat=count):
    spaces = [list(itertools.product(x.tolist(), repeat=len(x))) for x in drawn]
    total = np.prod([len(x) for x in spaces])
    trials = sum(map(len, drawn))
    for sample in itertools.product(*spaces):
      fooled = sum(map(sum, sample))
      found[fooled / trials] += 1 / total / count**count
  return found


def rng():
  return np.random.default_rng(0)


def test_resamples_of_one_person_are_binomial():
  drawn = score.bootstrap(people((10, 40)), rng())
  assert drawn.shape == (10_000,)
  assert drawn.mean() == pytest.approx(0.25, abs=0.003)
  sd = (0.25 * 0.75 / 40) ** 0.5
  assert drawn.std() == pytest.approx(sd, rel=0.03)


def test_resamples_of_unanimous_people_vary_by_person():
  shares = [1, 0, 0, 1, 0, 0, 0, 1]
  drawn = score.bootstrap(people(*((40 * x, 40) for x in shares)), rng())
  sd = statistics.pstdev(shares) / len(shares) ** 0.5
  assert drawn.std() == pytest.approx(sd, rel=0.03)


# People with different numbers of trials, and two groups that can be tied.
FIRST, SECOND = people((1, 2), (1, 1)), people((2, 3), (0, 1))


@pytest.mark.parametrize('those', [FIRST, SECOND])
def test_resamples_equal_the_enumeration(those):
  drawn = score.bootstrap(those, rng(), resamples=40_000)
  expected = enumerated(those)
  assert sum(expected.values()) == pytest.approx(1)
  assert set(drawn) == set(expected)
  for value, probability in expected.items():
    margin = 5 * (probability * (1 - probability) / 40_000) ** 0.5
    assert np.mean(drawn == value) == pytest.approx(probability, abs=margin)


def test_ties_count_half():
  x, y = np.array([0.1, 0.2, 0.2]), np.array([0.2, 0.2, 0.1])
  assert score.better(x, y) == score.better(x, x) == 0.5
  assert score.better(x, y - 1) == 1
  expected = sum(
    p * q * (1 if a > b else 0.5 if a == b else 0)
    for (a, p), (b, q) in itertools.product(
      enumerated(FIRST).items(), enumerated(SECOND).items()
    )
  )
  generator = rng()
  drawn = [score.bootstrap(x, generator, 40_000) for x in (FIRST, SECOND)]
  assert score.better(*drawn) == pytest.approx(expected, abs=0.0125)
  assert score.better(*drawn) + score.better(*drawn[::-1]) == pytest.approx(1)


def write_answers(path, fooled, **changes):
  """Writes a file of answers; `fooled` has one entry per trial."""
  rows = [
    {'index': 0, 'practice': True, 'correct': True, 'shown_ms': [1000, 1000]}
  ]
  for i, x in enumerate(fooled):
    row = {'index': i + 1, 'practice': False, 'correct': not x}
    rows.append(row | {'shown_ms': [1000.1, 999.9]})
  content = {
    'format': 'cyclegan_jax.study',
    'version': 1,
    'study': 'abc',
    'protocol': 'cyclegan',
    'practice': 1,
    'trials': len(fooled),
    'algorithm': 'ours',
    'participant': path.stem,
    'answers': rows,
  }
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content | changes))
  return path


@pytest.fixture
def folder(tmp_path):
  """Folder of answers of three people to two algorithms; some do not count."""
  path = tmp_path / 'answers'
  write_answers(path / 'answers_1.json', [1, 0, 0, 0])
  write_answers(path / 'answers_2.json', [1, 1, 0, 0])
  write_answers(path / 'answers_3.json', [0, 0, 0, 0], algorithm='theirs')
  write_answers(path / 'answers_4.json', [1, 1, 1, 1], participant='answers_2')
  write_answers(path / 'answers_5.json', [1, 1], trials=4)
  (path / 'score.json').write_text('{}')  # a file of another program
  return path


def test_scores_are_printed_and_written(folder, capsys):
  output = folder / 'score.json'
  argv = ['study', 'score', str(folder), f'--output={output}']
  assert program.run(study.main, argv) == 0
  out = capsys.readouterr().out
  found = json.loads(output.read_text())
  ours, theirs = found['algorithms']
  assert (ours['people'], ours['trials'], ours['fooled']) == (2, 8, 3)
  assert ours['share'] == 3 / 8 and theirs['share'] == theirs['sd'] == 0
  assert ours['mistimed'] == 0
  # Law of total variance: within people, and between their means.
  within = (0.25 * 0.75 + 0.5 * 0.5) / 2 / 4
  between = statistics.pvariance([0.25, 0.5])
  sd = ((within + between) / 2) ** 0.5
  assert ours['sd'] == pytest.approx(sd, rel=0.03)
  assert f'37.5% ± {100 * ours["sd"]:.1f}%' in out
  none = enumerated(people((1, 4), (2, 4)))[0.0]
  (p, q) = (x['p'] for x in found['better'])
  assert p == pytest.approx(1 - none / 2, abs=0.01)
  assert p + q == pytest.approx(1)
  assert re.search(rf'ours  *\|  *\| {p:.3f}', out)
  reasons = {x['file']: x['reason'] for x in found['excluded']}
  again = f'participant answers_2 also gave {folder / "answers_2.json"}'
  assert reasons == {
    str(folder / 'answers_4.json'): again,
    str(folder / 'answers_5.json'): 'incomplete: 2 of 4 answers',
  }
  for file, reason in reasons.items():
    assert f'excluded: {file}: {reason}\n' in out
  # The order of files and other algorithms do not change a number.
  sessions = [answers.read(x) for x in answers.find([str(folder)])]
  counted, excluded = answers.chosen(sessions)
  assert score.scores(counted[::-1], excluded)['algorithms'] == [ours, theirs]
  alone = score.scores([x for x in counted if x.algorithm == 'ours'], [])
  assert alone['algorithms'] == [ours]
  assert score.scores(counted, [], seed=1)['algorithms'][0] != ours


def test_pictures_shown_too_long_are_noted(tmp_path, capsys):
  path = write_answers(tmp_path / 'answers_1.json', [1, 0])
  content = json.loads(path.read_text())
  content['answers'][1]['shown_ms'] = [1000, 1150.5]
  path.write_text(json.dumps(content))
  assert 'note: in 1 of 2 trials of ours' in shares(path, capsys)


@pytest.mark.parametrize(
  'changes,words',
  [
    ({'format': 'x'}, 'is not a file of answers'),
    ({'version': 2}, 'has version 2'),
    ({'answers': [{}]}, "KeyError: 'practice'"),
    ({'answers': 3}, 'damaged'),
    ({'participant': 3}, 'participant is not a text'),
    ({'trials': 1}, '2 answers for 1 trials'),
    ({'study': 'other'}, 'belongs to another study (other)'),
  ],
)
def test_inconsistent_answers_are_refused(changes, words, tmp_path, capsys):
  write_answers(tmp_path / 'answers_0.json', [1, 0])
  path = write_answers(tmp_path / 'answers_1.json', [1, 0], **changes)
  assert program.run(study.main, ['study', 'score', str(tmp_path)]) == 2
  err = capsys.readouterr().err
  assert words in err and str(path) in err and err.count('\n') == 1


@pytest.mark.parametrize('data', [b'', b'\xff', b'[1]', b'{"format": '])
def test_files_without_answers_are_refused(data, tmp_path, capsys):
  path = tmp_path / 'answers_1.json'
  path.write_bytes(data)
  assert program.run(study.main, ['study', 'score', str(path)]) == 2
  err = capsys.readouterr().err
  assert str(path) in err and err.count('\n') == 1


def test_answers_that_do_not_count_are_refused(tmp_path):
  path = write_answers(tmp_path / 'answers_1.json', [1], trials=2)
  with pytest.raises(UserError, match='incomplete: 1 of 2'):
    answers.chosen([answers.read(path)])
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(UserError, match='contains no answers'):
    answers.find([str(empty)])


def test_the_design_limits_the_number_of_trials():
  plan = Design(practice=10, trials=40)
  assert plan == Design()
  assert plan.shortage(50, 'different') == ''
  assert 'shown again' in plan.shortage(49, 'any')
  with pytest.raises(UserError, match='--trials=40'):
    plan.shortage(39, 'any')
  with pytest.raises(UserError, match='add test pictures'):
    plan._replace(trials=1).shortage(1, 'different')
