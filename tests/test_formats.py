"""Tests that runs and models of earlier versions are read and resumed."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tiny

import cyclegan_jax
from cyclegan_jax import main
from cyclegan_jax.config import program
from cyclegan_jax.config.options import flatten
from cyclegan_jax.defaults import DEFAULTS
from cyclegan_jax.inference import saved

FORMATS = pathlib.Path(__file__).parent / 'formats'
FOLDERS = ('run_1', 'model_1', 'model_2')


# model -> model with equal translations, from which it was made
SAME = {'model_2': 'model_1'}


def test_models_are_saved_in_the_newest_format(tmp_path):
  """A changed file format needs a new folder in tests/formats."""
  model = cyclegan_jax.load_model(FORMATS / 'model_1')
  config = json.loads((FORMATS / 'model_2' / saved.CONFIG).read_text())
  saved.save(tmp_path, config, model.params)
  names = {path.name for path in (FORMATS / 'model_2').iterdir()}
  assert {path.name for path in tmp_path.iterdir()} == names
  for name in names:
    there = FORMATS / 'model_2' / name
    assert (tmp_path / name).read_bytes() == there.read_bytes(), name


@pytest.mark.parametrize('name', FOLDERS)
def test_an_old_model_translates_as_before(name):
  loaded = cyclegan_jax.load_model(FORMATS / name)
  assert loaded.directions == ('a2b', 'b2a')
  with np.load(FORMATS / 'translations.npz') as stored:
    for direction in loaded.directions:
      fake = loaded.translate(stored['input'], direction)
      assert fake.dtype == np.uint8
      # Rounding on another CPU may change a pixel by one level.
      np.testing.assert_allclose(
        fake.astype(int),
        stored[f'{SAME.get(name, name)}_{direction}'],
        rtol=0,
        atol=1,
      )


@pytest.mark.parametrize('name', FOLDERS)
def test_an_old_config_gets_defaults_of_new_options(name):
  saved = json.loads((FORMATS / name / 'config.json').read_text())
  config = cyclegan_jax.load_model(FORMATS / name).config.to_dict()
  assert flatten(config) == DEFAULTS | flatten(saved)


def test_an_old_run_is_resumed_by_its_command(pictures, tmp_path, capsys):
  workdir = tmp_path / 'run'
  shutil.copytree(FORMATS / 'run_1', workdir)
  before = (workdir / 'metrics.jsonl').read_text()
  argv = tiny.command(
    'folder',
    workdir,
    pictures,
    generator__width=2,
    schedule__constant=4,  # two steps more
    train__ema_decay=0.9,
    log__checkpoint_every=2,
  )
  code = program.run(main.main, argv)
  out, err = capsys.readouterr()
  assert (code, err) == (0, '')
  assert f'continuing {workdir} from step 4' in out
  assert 'finished: all 6 steps' in out
  after = (workdir / 'metrics.jsonl').read_text()
  assert after.startswith(before)
  steps = [json.loads(line)['step'] for line in after.splitlines()]
  assert steps == [1, 2, 3, 4, 5, 6]
  assert cyclegan_jax.load_model(workdir).step == 6
