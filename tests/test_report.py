"""Tests of the report page of a run: contents, missing parts, escaping.

Tests that draw the page in a browser need Chromium.
"""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny
from browser import BROWSER, needs_browser
from PIL import Image

from cyclegan_jax import main, report
from cyclegan_jax.common import images
from cyclegan_jax.config import program
from cyclegan_jax.report_page import curves, gallery, grids

VOID = {'meta', 'img', 'input', 'br', 'link', 'hr'}
SVG = 'http://www.w3.org/2000/svg'
NASTY = '<img src=x onerror=alert(1)>&amp;"\'<script>'


class Page(HTMLParser):
  """Parsed page, as seen by a browser without scripts."""

  def __init__(self, path):
    super().__init__()
    self.tags, self.open, self.texts = [], [], {}
    self.feed(path.read_text())
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    tag, attrs = self.tags[-1] if self.tags else ('', {})
    self.texts.setdefault(attrs.get('id') or tag, data)

  def count(self, name):
    """Returns the number of elements of a CSS class."""
    classes = [attrs.get('class') or '' for _, attrs in self.tags]
    return sum(name in x.split() for x in classes)

  @property
  def content(self):
    return json.loads(self.texts['data'])


def line(step, **terms):
  return json.dumps({'step': step} | terms) + '\n'


@pytest.fixture(scope='module')
def finished(pictures, tmp_path_factory):
  """Run folder of 4 steps with true pairs in the test set."""
  workdir = tmp_path_factory.mktemp('runs') / 'finished'
  argv = tiny.command('folder', workdir, pictures, log__sample_every=1)
  assert program.run(main.main, argv) == 0
  return workdir


@pytest.fixture(scope='module')
def page(finished):
  return Page(report.write(finished))


@pytest.fixture
def folder(tmp_path):
  """Run folder with only a config."""
  path = tmp_path / 'run'
  path.mkdir()
  (path / 'config.json').write_text('{"seed": 3}')
  return path


def pixels(picture):
  code = picture['src'].removeprefix('data:image/webp;base64,')
  with Image.open(io.BytesIO(base64.b64decode(code))) as image:
    assert image.size == (picture['width'], picture['height'])
    return np.asarray(image)


def test_the_program_writes_the_page_only(finished, tmp_path, capsys):
  output = tmp_path / 'deep' / 'page.html'
  argv = ['report', f'--workdir={finished}', f'--output={output}']
  before = {p: p.stat().st_mtime_ns for p in finished.rglob('*')}
  assert program.run(report.main, argv) == 0
  assert capsys.readouterr().out.startswith(f'report: {output} (')
  assert Page(output).texts['title'] == 'finished: report'
  assert {p: p.stat().st_mtime_ns for p in finished.rglob('*')} == before


def test_the_page_loads_nothing(finished, page):
  text = (finished / 'report' / 'index.html').read_text('ascii')
  found = set(re.findall(r'\w+://[^\'" ]*', text))
  assert found == {SVG, 'hf://USER/NAME'}  # from the description of init_from
  for tag, attrs in page.tags:
    assert tag not in ('link', 'iframe', 'base', 'object')
    assert not attrs.get('href', '#').startswith(('http', '/'))
    assert tag != 'script' or 'src' not in attrs
    assert not any(name.startswith('on') for name in attrs)
  policy = next(a['content'] for _, a in page.tags if 'http-equiv' in a)
  assert policy.startswith("default-src 'none'; img-src data:;")
  assert 'unsafe' not in policy


def test_every_term_has_a_curve(finished, page):
  lines = (finished / 'metrics.jsonl').read_text().splitlines()
  logged = [json.loads(x) for x in lines]
  groups = page.content['curves']['groups']
  terms = {t['name']: t['mean'] for g in groups for t in g['terms']}
  flat = {name for name in logged[0] if not any(x[name] for x in logged)}
  assert set(terms) == set(logged[0]) - {'step'} - flat
  assert flat == {'nonfinite_steps'}
  note = page.content['curves']['note']
  assert note.endswith(' Left out: nonfinite_steps (always 0).')
  for name, values in terms.items():
    np.testing.assert_allclose(values, [x[name] for x in logged], rtol=1e-4)
  assert page.content['curves']['last'] == [1, 2, 3, 4]
  of = {t['name']: g['title'] for g in groups for t in g['terms']}
  assert of['cycle_a'] == of['adv_b2a'] == of['loss_gen'] == 'Generator terms'
  assert of['disc_a'] == of['loss_disc'] == 'Discriminator terms'
  assert of['score_real_a'] == 'Discriminator scores'
  assert of['lr_gen'] == 'Learning rates'
  assert 'Other terms' not in {g['title'] for g in groups}


def test_terms_without_data_have_no_curve():
  lines = [
    {'step': 1, 'zero': 0.0, 'nan': None, 'once': 0.0, 'late': None},
    {'step': 2, 'zero': -0.0, 'nan': None, 'once': 3.0, 'late': None},
    {'step': 3, 'zero': 0.0, 'nan': None, 'late': 0.0},
  ]
  shown = curves.curves(lines)
  (group,) = shown['groups']
  assert [term['name'] for term in group['terms']] == ['late', 'once']
  assert 'Left out: nan (never finite), zero (always 0).' in shown['note']
  assert 'Left out' not in curves.curves([{'step': 1, 'x': 1.0}])['note']


def test_the_page_begins_with_pictures(page):
  ids = [attrs['id'] for tag, attrs in page.tags if tag == 'section']
  assert ids == ['gallery', 'samples', 'tests', 'curves', 'config']
  links = [a['href'] for tag, a in page.tags if tag == 'a']
  assert links == [f'#{name}' for name in ids]


def test_the_page_lists_facts_and_changed_options(finished, page):
  facts = dict(page.content['facts'])
  assert facts['Step'] == '4 of 4, finished'
  environment = json.loads((finished / 'environment.json').read_text())
  assert facts.get('Git commit') == environment['git_commit']
  for device in environment['devices']:
    assert device in facts['Devices']
  rows = {row[0]: row[1:] for row in page.content['config']['changed']}
  assert rows['pool_size'][:2] == ['3', '50']
  same = [row[0] for row in page.content['config']['same']]
  assert 'optim.beta2' in same and not set(rows) & set(same)


def test_the_page_has_samples_and_figures(finished, page):
  shown = page.content['samples']['grids']
  assert [x['step'] for x in shown] == [1, 2, 3, 4]
  there = tiny.pixels(finished / 'samples' / 'step_0000003.png').astype(float)
  assert np.abs(pixels(shown[2]) - there).mean() < 8
  # Grids have titles; grids of earlier versions are explained in the note.
  assert 'From left' not in page.content['samples']['note']
  tests = page.content['tests']
  rows = json.loads((finished / 'test_metrics.json').read_text())
  assert [dict(zip(tests['heads'], r)) for r in tests['rows']] == [
    {head: row.get(head) for head in tests['heads']} for row in rows
  ]


def test_grids_without_titles_are_explained(finished, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(finished, folder)
  path = folder / 'samples' / 'step_0000002.png'
  path.write_bytes(images.png(tiny.pixels(path)[-258:]))
  content = Page(report.write(folder)).content
  assert 'From left to right: a picture of A' in content['samples']['note']


def test_the_gallery_shows_translations_of_the_model(finished, page, pictures):
  from cyclegan_jax.inference import saved

  trained = saved.load(finished)
  there, _ = page.content['gallery']['directions']
  assert there['columns'] == ['real A', 'to B', 'back to A', 'true B']
  assert [row['name'] for row in there['rows']] == ['0.png', '1.png']
  row = there['rows'][0]
  size = (tiny.SIZE, tiny.SIZE)
  with Image.open(pictures / 'testA' / '0.png') as image:
    real = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
  fake = trained.translate(real / np.float32(127.5) - 1, 'a2b')
  back = trained.translate(fake, 'b2a')
  # Exactly equal: small pictures are compressed without loss.
  np.testing.assert_array_equal(pixels(row['pictures'][0]), real)
  for shown, image in zip(row['pictures'][1:3], (fake, back)):
    made = images.to_rgb(image).astype(int)
    assert np.abs(pixels(shown) - made).max() <= 1
  error = np.abs(back - (real / np.float32(127.5) - 1)).mean()
  assert row['l1'] == pytest.approx(error, rel=1e-3)
  order = sorted(there['rows'], key=lambda row: row['l1'])
  assert [row['mark'] for row in order] == ['best', 'worst']


def test_the_number_and_size_of_gallery_pictures_are_limited(
  finished, page, monkeypatch
):
  whole = page.content['gallery']['directions'][0]['rows']
  monkeypatch.setattr(gallery, '_SIZES', 0)
  monkeypatch.setattr(gallery, '_PIXELS', 2 * 14 * 4 * 10 * 10)
  shown = gallery.gallery(finished, 2)['directions'][0]
  # In tiles, and at most 2 * (2 + 6 + 6) * 4 pictures of 10 pixels.
  for row, other in zip(shown['rows'], whole):
    assert row['l1'] == pytest.approx(other['l1'], abs=1e-3)
    assert pixels(row['pictures'][1]).shape == (10, 10, 3)
    assert row['pictures'][1]['size'] == '16 x 16'
  monkeypatch.setattr(gallery, 'JUDGED', 1)
  (direction, _) = gallery.gallery(finished, 1)['directions']
  assert [row['name'] for row in direction['rows']] == ['0.png']
  assert direction['note'].startswith('1 of 2') and 'of 1.' in direction['note']


def test_zero_pictures_disable_the_gallery(finished, tmp_path):
  path = report.write(finished, tmp_path / 'page.html', pictures=0)
  shown = Page(path).content['gallery']
  assert not shown['directions'] and 'asked for' in shown['note']


def test_a_gray_model_of_one_direction_is_shown(tmp_path, monkeypatch):
  tiny.write_pictures(tmp_path / 'data', test=40)
  names = {i: f'{NASTY}{i}.png' for i in range(40)}
  for i, name in names.items():
    (tmp_path / 'data' / 'testA' / f'{i}.png').rename(
      tmp_path / 'data' / 'testA' / name
    )
  (tmp_path / 'data' / 'testA' / names[9]).write_text('no picture')
  options = {'data__source': 'folder', 'data__root': str(tmp_path / 'data')}
  folder = tiny.save_model(
    tmp_path / 'run',
    names=['a2b'],
    data__channels_b=1,
    loss__identity_a=0.0,
    loss__identity_b=0.0,
    **options,
  )
  page = Page(report.write(folder, pictures=5))
  (there,) = page.content['gallery']['directions']
  assert there['columns'] == ['real A', 'to B']
  assert len(there['rows']) == 4 and '4 of 40' in there['note']
  assert '1 cannot be used' in there['note']
  assert all(row['name'].startswith(NASTY) for row in there['rows'])
  gray = pixels(there['rows'][0]['pictures'][1])
  assert np.ptp(gray.astype(int), axis=-1).max() <= 1 and np.ptp(gray) > 1


def rows_of(errors):
  return [{'name': str(i), 'l1': x, 'mark': None} for i, x in enumerate(errors)]


def test_best_and_worst_are_chosen_from_all_pictures(monkeypatch):
  monkeypatch.setattr(gallery, 'MARKED', 2)
  shown = gallery._chosen(rows_of([5, 1, 5, 4, 9, 5, 3, np.inf, 5]), 3)
  assert {row['name']: row['mark'] for row in shown} == {
    '0': None,
    '1': 'best',
    '4': 'worst',
    '6': 'best',
    '7': 'worst',
    '8': None,
  }
  assert [x['mark'] for x in gallery._chosen(rows_of([2.0]), 3)] == [None]


def test_a_run_without_steps_is_shown(folder):
  content = Page(report.write(folder)).content
  assert dict(content['facts'])['Step'] == '0'
  for section in ('curves', 'samples', 'gallery', 'tests'):
    assert content[section]['note'].startswith('No ')
  assert content['config']['changed'] == [
    [
      'seed',
      '3',
      '0',
      'random seed of the initial parameters, data order, augmentation, '
      'dropout and image pool',
    ]
  ]


def test_a_killed_run_is_shown(folder):
  config = {'schedule': {'constant': 3, 'decay': 2, 'unit': 'epochs'}}
  (folder / 'config.json').write_text(
    json.dumps(config | {'train': {'batch_size': 4}})
  )
  counts = {'a': {'count': 10}, 'b': {'count': 7}}
  (folder / 'run.json').write_text(json.dumps({'pictures': counts}))
  path = folder / 'metrics.jsonl'
  path.write_text(line(2, x=1.0) + line(4, x=None) + '{"step": 6, "x"')
  content = Page(report.write(folder)).content
  # 5 epochs have 3 batches each.
  assert dict(content['facts'])['Step'] == '4 of 15, not finished'
  (term,) = content['curves']['groups'][0]['terms']
  assert (term['mean'], term['gaps']) == ([1.0, None], 1)


def test_many_logged_steps_are_averaged():
  lines = [{'step': i, 'x': float(i), 'y': None} for i in range(1, 1201)]
  lines[2]['x'], lines[-1]['y'] = None, 1.0
  shown = curves.curves(lines, points=500)
  assert (shown['first'][:2], shown['last'][:2]) == ([1, 4], [3, 6])
  assert len(shown['last']) == 400 and shown['last'][-1] == 1200
  x, y = shown['groups'][0]['terms']
  assert [x[key][:2] for key in ('low', 'mean', 'high')] == [
    [1.0, 4.0],
    [1.5, 5.0],
    [2.0, 6.0],
  ]
  assert (x['gaps'], y['gaps'], y['mean'][0]) == (1, 1199, None)
  assert '1,200' in shown['note'] and '400' in shown['note']


def test_many_and_large_grids_are_thinned(tmp_path, monkeypatch):
  monkeypatch.setattr(grids, '_SIDES', (100, 400))
  for step in range(100):
    picture = np.full((60, 200, 3), 2 * step, np.uint8)
    (tmp_path / f'step_{step:07d}.png').write_bytes(images.png(picture))
  (tmp_path / 'step_0000099.png').write_bytes(b'no picture')
  (tmp_path / 'other.png').write_bytes(b'no grid')
  shown = grids.grids(tmp_path, steps=5)
  steps = [x['step'] for x in shown['grids']]
  assert steps == [0, 25, 50, 74]
  for grid in shown['grids']:
    assert (grid['width'], grid['height']) == (100, 30)
    assert abs(int(pixels(grid)[10, 10, 0]) - 2 * grid['step']) < 5
  for words in ('4 of 100', '50% of their size', 'step_0000099.png'):
    assert words in shown['note']


def test_the_total_size_of_grids_is_limited(monkeypatch):
  assert grids._scale((1600, 1000), 10) == 1
  # 40 million pixels for 40 grids are one million per grid.
  assert grids._scale((1600, 2500), 40) == pytest.approx(0.5)


@pytest.mark.parametrize(
  'spoil, words',
  [
    (lambda f: shutil.rmtree(f), 'no folder'),
    (lambda f: (f / 'config.json').unlink(), 'no config.json'),
    (lambda f: (f / 'config.json').write_text('['), 'config.json'),
    (lambda f: (f / 'config.json').write_text('[]'), 'config.json'),
    (
      lambda f: (f / 'metrics.jsonl').write_text('{"st\n' + line(2, x=1.0)),
      'metrics.jsonl line 1',
    ),
    (
      lambda f: (f / 'metrics.jsonl').write_text(line(1, x='text')),
      'metrics.jsonl line 1',
    ),
    (lambda f: (f / 'report').touch(), '--output'),
  ],
)
def test_unreadable_and_unwritable_files_are_one_line(
  spoil, words, folder, capsys
):
  spoil(folder)
  argv = ['report', f'--workdir={folder}', '--pictures=0']
  assert program.run(report.main, argv) == 2
  err = capsys.readouterr().err
  assert words in err and err.count('\n') == 1 and str(folder) in err


@pytest.mark.parametrize(
  'argv, words',
  [
    ([], '--workdir'),
    (['--workdir=x', '--pictures=-1'], '--pictures'),
    (['--workdir=x', '--pictures=many'], 'pictures'),
    (['--workdir=x', 'y'], "'y'"),
  ],
)
def test_invalid_flags_are_one_line(argv, words, capsys):
  assert program.run(report.main, ['report', *argv]) == 2
  err = capsys.readouterr().err
  assert words in err and err.count('\n') == 1


def test_broken_optional_files_are_noted(folder):
  (folder / 'test_metrics.json').write_text('{')
  (folder / 'environment.json').write_text('[1]')
  (folder / 'run.json').write_text('{')
  content = Page(report.write(folder)).content
  assert 'test_metrics.json' in content['tests']['note']


def write_best(folder, **changes):
  """Writes figures of a run of 40 steps with best weights of step 20."""
  last = [
    {'direction': 'a2b', 'candidate': 'translated', 'L1': 0.5, 'PSNR': 9.0},
    {'direction': 'a2b', 'candidate': 'copy the input', 'L1': 0.7},
  ]
  (folder / 'test_metrics.json').write_text(json.dumps(last))
  lines = [
    line(20, **{'test/a2b/L1': 0.25, 'test/a2b/LPIPS': 0.125}),
    line(40, **{'test/a2b/L1': 0.5, 'test/a2b/LPIPS': 0.375}),
  ]
  (folder / 'metrics.jsonl').write_text(''.join(lines))
  rows = [
    {'direction': 'a2b', 'candidate': 'translated', 'L1': 0.25, 'LPIPS': 0.125}
  ]
  kept = {'step': 20, 'best': 'lpips b2a', 'value': 0.125, 'rows': rows}
  (folder / 'best').mkdir()
  (folder / 'best/evaluation.json').write_text(json.dumps(kept | changes))


def test_best_weights_have_a_line_below_last_weights(folder):
  write_best(folder)
  tests = Page(report.write(folder)).content['tests']
  assert tests['heads'] == ['direction', 'candidate', 'L1', 'PSNR', 'LPIPS']
  last, best = 'translated, last', 'translated, best by lpips b2a'
  assert tests['rows'] == [
    ['a2b', last, 0.5, 9.0, 0.375],
    ['a2b', best, 0.25, None, 0.125],
    ['a2b', 'copy the input', 0.7, None, None],
  ]
  assert '(0.1250) are of step 20, the last ones of step 40' in tests['best']
  # Steps after the last evaluation belong to the other figures.
  with (folder / 'metrics.jsonl').open('a') as file:
    file.write(line(50, loss_gen=1.0))
  tests = Page(report.write(folder)).content['tests']
  assert tests['rows'][0] == ['a2b', last, 0.5, 9.0, None]
  assert 'last ones' not in tests['best']
  # Without true pairs only the figures of training exist.
  (folder / 'test_metrics.json').unlink()
  tests = Page(report.write(folder)).content['tests']
  assert tests['rows'] == [
    ['a2b', last, 0.5, 0.375],
    ['a2b', best, 0.25, 0.125],
  ]
  (folder / 'metrics.jsonl').unlink()
  tests = Page(report.write(folder)).content['tests']
  assert tests['rows'] == [['a2b', best, 0.25, 0.125]]


@pytest.mark.parametrize('spoilt', [{'rows': [1]}, {'step': None}])
def test_unreadable_best_weights_are_left_out(folder, spoilt):
  write_best(folder, **spoilt)
  tests = Page(report.write(folder)).content['tests']
  assert [row[1] for row in tests['rows']] == ['translated', 'copy the input']
  assert 'best' not in tests


@needs_browser
def test_a_browser_draws_the_line_of_best_weights(folder, tmp_path):
  write_best(folder)
  page = drawn(report.write(folder), tmp_path, 1280)
  assert page.count('strong') == 2


def test_a_missing_dataset_is_noted(tmp_path):
  folder = tiny.save_model(
    tmp_path / 'run', data__source='folder', data__root=str(tmp_path / 'gone')
  )
  shown = Page(report.write(folder)).content['gallery']
  assert not shown['directions'] and 'gone' in shown['note']


def nasty_run(tmp_path):
  """Run folder whose name, options and terms contain markup."""
  folder = tmp_path / f'{NASTY} \udcff'
  folder.mkdir()
  tests = [{'direction': NASTY, 'L1': float('nan')}]
  (folder / 'test_metrics.json').write_text(json.dumps(tests))
  config = {'data': {'name': f'</script><!--<script>{NASTY}'}, NASTY: NASTY}
  (folder / 'config.json').write_text(json.dumps(config))
  rng = np.random.default_rng(0)
  lines = [
    line(i, lr_gen=1e-4, loss_gen=None if 9 < i < 500 else rng.normal())
    for i in range(1, 2000)
  ]
  text = ''.join(lines) + line(2000, **{f'</script>{NASTY}': 1.0})
  (folder / 'metrics.jsonl').write_text(text)
  return folder


def test_names_are_escaped(tmp_path):
  folder = nasty_run(tmp_path)
  page = Page(report.write(folder))
  assert 'img' not in {tag for tag, a in page.tags if 'id' not in a}
  assert sum(tag == 'script' for tag, _ in page.tags) == 2
  assert page.content['name'] == f'{NASTY} ?'
  rows = {row[0]: row[1] for row in page.content['config']['changed']}
  assert rows == {'data.name': f'</script><!--<script>{NASTY}', NASTY: NASTY}


def drawn(path, tmp_path, width):
  """Returns the page as Chromium draws it."""
  result = subprocess.run(
    [
      BROWSER,
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      f'--user-data-dir={tmp_path / "browser"}',
      f'--window-size={width},900',
      '--virtual-time-budget=3000',
      '--dump-dom',
      path.absolute().as_uri(),
    ],
    capture_output=True,
    timeout=60,
    check=True,
  )
  dom = tmp_path / 'drawn.html'
  dom.write_bytes(result.stdout)
  page = Page(dom)
  state = next(attrs for tag, attrs in page.tags if tag == 'html')
  # Scripts, pictures and the policy report errors in this attribute.
  assert 'data-error' not in state, state
  assert state['data-ready'] == 'yes'
  return page


@needs_browser
def test_a_browser_draws_the_page(finished, page, tmp_path):
  path = finished / 'report' / 'index.html'
  shown = drawn(path, tmp_path, 1280).count
  groups = page.content['curves']['groups']
  assert shown('chart') == len(groups)
  # Each term has a curve in the plot and one in the legend.
  assert shown('curve') == 2 * sum(len(g['terms']) for g in groups)
  rows = [x['rows'] for x in page.content['gallery']['directions']]
  assert shown('row') == sum(map(len, rows))
  # Four columns per row, and the sample grid.
  assert shown('picture') == 1 + 4 * shown('row')
  assert shown('best') == shown('worst') == 2
  assert shown('strong') == 2


@needs_browser
def test_a_browser_draws_malicious_names_as_text(tmp_path):
  path = report.write(nasty_run(tmp_path), tmp_path / 'page.html')
  page = drawn(path, tmp_path, 390)
  assert not any('onerror' in attrs for _, attrs in page.tags)
  assert sum(tag == 'script' for tag, _ in page.tags) == 2
  # loss_gen has one band before and one after its gap; lr_gen has one band.
  assert page.count('band') == 3


@needs_browser
def test_the_page_reports_failing_scripts(finished, tmp_path):
  text = (finished / 'report' / 'index.html').read_text()
  path = tmp_path / 'broken.html'
  path.write_text(text.replace('"facts": [[', '"facts": [3, ['))
  with pytest.raises(AssertionError, match='iterable'):
    drawn(path, tmp_path, 390)
  path.write_text(text.replace('data:image/webp;base64,', 'data:,'))
  with pytest.raises(AssertionError, match='a picture cannot be loaded'):
    drawn(path, tmp_path, 390)
