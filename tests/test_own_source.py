"""Tests of sources of pictures that a recipe card defines.

One of the tested recipe cards is the example of docs/other_data.md.
"""

import functools
import io
import json
import re
import sqlite3
import textwrap

import numpy as np
import pytest
import tiny
from test_structure import ROOT

from cyclegan_jax import (
  check_data,
  evaluate,
  experiments,
  load_model,
  main,
  report,
)
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, identity, program
from cyclegan_jax.config.run import build_data
from cyclegan_jax.config.unused import check_used
from cyclegan_jax.data import own_source
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source
from cyclegan_jax.defaults import DEFAULTS, get_config

CARD = """
  import pathlib

  from cyclegan_jax import defaults
  from cyclegan_jax.data.fetched import Fetched
  from cyclegan_jax.data.picture import Picture
  from cyclegan_jax.data.source import Source

  pathlib.Path(__file__).with_suffix('.ran').touch()


  def mine(root, name, paired):
    def pictures(folder):
      paths = sorted((pathlib.Path(root) / folder).iterdir())
      return [Picture(p.stem, Fetched(p.name, p.read_bytes)) for p in paths]

    return Source(
      train={'a': pictures('trainA'), 'b': pictures('trainB')},
      test={'a': pictures('testA'), 'b': pictures('testB')},
      paired=paired == 'yes',
    )


  def get_config():
    config = defaults.get_config()
    config.data.source = mine
    return config
"""


@pytest.fixture(autouse=True)
def other_process(monkeypatch):
  """Removes the functions that recipe cards of other tests registered."""
  monkeypatch.setattr(own_source, 'FUNCTIONS', {})


@pytest.fixture
def card(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(textwrap.dedent(CARD))
  return path


def words(card, pictures, workdir=None, **overrides):
  """Returns a command line of a recipe card, with small networks."""
  argv = tiny.command('x', workdir, data__root=pictures, **overrides)
  argv[1] = f'--config={card}'
  return argv if workdir else [argv[0], argv[1], *argv[3:]]


def run(command, argv, capsys):
  code = program.run(command.main, argv)
  out, err = capsys.readouterr()
  assert code == 0 or err.startswith('error: ') and err.count('\n') == 1, err
  return code, out, err


def trained(card, pictures, folder, capsys, **overrides):
  argv = words(card, pictures, folder, **overrides)
  assert run(main, argv, capsys)[0] == 0
  return folder


def test_a_run_with_an_own_source_is_trained_and_used(
  card, pictures, tmp_path, capsys
):
  folder = trained(card, pictures, tmp_path / 'run', capsys, log__report=True)
  config = json.loads((folder / 'config.json').read_text())
  assert config['data']['source'] == f'{card}:mine'
  page = (folder / 'report' / 'index.html').read_text()
  assert 'No test pictures' not in page
  card.with_suffix('.ran').unlink()
  own_source.FUNCTIONS.clear()

  # Using the trained model does not execute the recipe card.
  image = np.zeros((16, 16, 3), np.uint8)
  assert load_model(folder).translate(image, 'a2b').shape == image.shape
  argv = ['evaluate', f'--model={folder}', '--metrics=l1']
  code, _, err = run(evaluate, argv, capsys)
  assert code == 2 and f'give --config={card}' in err
  other = [*argv, f'--config.data.source={card}:mine']
  assert run(evaluate, other, capsys)[0] == 2
  own = ['--config.data.source=folder', f'--config.data.root={pictures}']
  assert run(evaluate, [*argv, *own], capsys)[0] == 0
  run(report, ['report', f'--workdir={folder}'], capsys)
  page = (folder / 'report' / 'index.html').read_text()
  assert f'give --config={card}' in page.replace('&#x27;', "'")
  assert not card.with_suffix('.ran').exists()

  # A recipe card given with --config is executed.
  given = [*words(card, pictures), '--config.data.paired=yes']
  code, out, err = run(evaluate, [*given, f'--model={folder}'], capsys)
  assert code == 0 and 'PSNR' in out, err
  assert card.with_suffix('.ran').exists()


def test_a_run_is_resumed_with_a_moved_recipe_card(
  card, pictures, tmp_path, capsys
):
  config, _ = flags.parse_flags(words(card, pictures), '', {})
  source, folder = build_data(config).source, tmp_path / 'run'
  identity.begin(folder, config, source)
  (folder / 'checkpoints' / '1').mkdir(parents=True)
  moved = tmp_path / 'elsewhere' / card.name
  moved.parent.mkdir()
  card.rename(moved)
  config, _ = flags.parse_flags(words(moved, pictures), '', {})
  identity.begin(folder, config, source)
  moved.write_text(moved.read_text().replace('mine', 'other'))
  config, _ = flags.parse_flags(words(moved, pictures), '', {})
  with pytest.raises(UserError, match='data.source was .*mine.*is .*other'):
    identity.begin(folder, config, source)


def test_check_data_and_experiments_accept_an_own_source(
  card, pictures, tmp_path, capsys
):
  argv = words(card, pictures)
  output = f'--output={tmp_path / "check"}'
  code, out, _ = run(check_data, [*argv, output], capsys)
  assert code == 0 and re.search(r'trainB +7 +7', out)
  asked = '--suite=reconstruction', '--dry-run', f'--workdir={tmp_path}/suite'
  code, out, err = run(experiments, [*argv, *asked], capsys)
  assert code == 0, err
  for line in out.splitlines():
    assert f'--config={card}' in line and '--config.data.source' not in line


def test_the_recipe_card_of_the_documentation_works(tmp_path, rng):
  text = (ROOT.parent / 'docs' / 'other_data.md').read_text()
  (code,) = re.findall('^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  card, file = tmp_path / 'mri.py', tmp_path / 'slices.db'
  card.write_text(code)
  with sqlite3.connect(file) as store:
    store.execute('create table slices (key, part, kind, npy)')
    for key in range(8):
      content = io.BytesIO()
      np.save(content, np.full((20, 20), 1500 * (key // 2 % 2), np.int16))
      part = 'train' if key < 4 else 'test'
      row = key, part, f'T{1 + key % 2}', content.getvalue()
      store.execute('insert into slices values (?, ?, ?, ?)', row)
  config, _ = flags.parse_flags(words(card, file), '', {})
  data = build_data(config).checked(trains=True)
  assert [p.name for p in data.source.test['b']] == ['slice 5', 'slice 7']
  images = data.test_images('a')
  assert [image.shape for image in images] == [(16, 16, 1)] * 2
  assert [np.unique(image).tolist() for image in images] == [[-1], [1]]


def source_of(function, **options):
  config = get_config()
  config.data.source = function
  config.update_from_flattened_dict(options)
  return build_data(config).source


PICTURE = Picture('p', b'bytes')
LIST = {'a': [PICTURE], 'b': [PICTURE]}


@pytest.mark.parametrize(
  'returned, line',
  [
    (None, 'returned NoneType: return a cyclegan_jax.data.source.Source'),
    ({'train': LIST}, 'returned dict: return a'),
    (Source({}, LIST), 'returned train without lists of A and B'),
    (Source({'a': [PICTURE]}, LIST), 'returned train without lists of A and B'),
    (Source([PICTURE], LIST), 'returned train without lists of A and B'),
    (Source({'a': [PICTURE], 'b': []}, LIST), r"no pictures in train\['b'\]"),
    (Source({'a': [PICTURE], 'b': 3}, LIST), r"train\['b'\]=3: give a list"),
    (Source(LIST, None), 'test=None: give'),
    (Source(LIST | {'b': ['x.png']}, LIST), r"str in train\['b'\]\[0\]: give"),
    (
      Source(LIST, LIST | {'b': [Picture('p', 'x.png')]}),
      r"str in test\['b'\]\[0\].data: give a pathlib.Path, bytes",
    ),
    (
      Source(LIST, LIST | {'b': [PICTURE] * 2}, paired=True),
      'paired, but test of 1 and 2 pictures',
    ),
    (
      Source(LIST, LIST, train_pairs=LIST | {'a': [PICTURE] * 2}),
      'train_pairs of 2 and 1 pictures',
    ),
  ],
)
def test_an_invalid_result_of_the_function_is_one_line(returned, line):
  def mine(root, name, paired):
    return returned

  with pytest.raises(UserError, match=line) as error:
    source_of(mine)
  assert 'test_own_source.py:' in str(error.value) and '.mine' in str(
    error.value
  )
  assert '\n' not in str(error.value)


def test_an_error_of_the_function_is_one_line_with_its_place():
  def broken(root, name, paired):
    raise OSError('no route\nto host')

  def refuses(root, name, paired):
    raise UserError('in words of its own')

  line = broken.__code__.co_firstlineno + 1
  with pytest.raises(UserError, match=f'in line {line}: OSError: no route$'):
    source_of(broken)
  with pytest.raises(UserError, match='^in words of its own$'):
    source_of(refuses)
  with pytest.raises(UserError, match='fails: TypeError: .*argument'):
    source_of(lambda: None)


def test_training_pictures_replace_missing_test_pictures():
  train = LIST | {'a': (PICTURE, PICTURE)}
  found = source_of(lambda *_: Source(train, {'b': [PICTURE]}, paired=True))
  assert found.test == {'a': [PICTURE] * 2, 'b': [PICTURE]}
  assert set(found.stands_in) == {'a'} and not found.paired
  assert source_of(lambda *_: Source(LIST, LIST, paired=True)).paired


def test_the_function_gets_the_options_that_it_names():
  seen = {}

  def mine(root, name, paired, *, columns, more=1):
    seen.update(root=root, name=name, paired=paired, columns=columns, more=more)
    return Source(LIST, LIST)

  options = {'data.root': 'r', 'data.name': 'n', 'data.columns': 'x'}
  source_of(mine, **options)
  expected = {'root': 'r', 'name': 'n', 'paired': 'auto', 'columns': 'x'}
  assert seen == expected | {'more': 1}
  config = get_config()
  config.data.source = mine
  config.data.columns = 'x'
  check_used(config)
  config.data.source = functools.partial(lambda *_: Source(LIST, LIST))
  with pytest.raises(UserError, match="data.columns='x' is not used by"):
    check_used(config)


def test_the_config_keeps_the_types_of_options(card, pictures):
  config = get_config()
  for value in (3, print, Source):
    with pytest.raises(TypeError):
      config.data.source = value
    assert config.data.source == DEFAULTS['data.source']
  with pytest.raises(TypeError):
    config.data.name = lambda *_: None
  with pytest.raises(AttributeError):
    config.data.sources = 'folder'
  argv = [*words(card, pictures), '--config.data.source=folder']
  config, _ = flags.parse_flags(argv, '', {})
  assert config.data.source == 'folder'
  assert build_data(config).source.root == pictures
  config, _ = flags.parse_flags(argv[:-1], '', {})
  copy = config.copy_and_resolve_references()
  assert copy.data.source == f'{card}:mine' and copy == config
  assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
  config.update({'data': {'source': lambda *_: Source(LIST, LIST)}})
  assert len(build_data(config).source.train['a']) == 1
