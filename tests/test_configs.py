"""Tests that every recipe card loads and, made small, trains for a step."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import cards, flags
from cyclegan_jax.config.run import build_run
from cyclegan_jax.training import step as train_step

CARDS = sorted(path.stem for path in tiny.CONFIGS.glob('*.py'))
TFDS = {
  'summer2winter',
  'horse2zebra',
  'apple2orange',
  'monet2photo',
  'cezanne2photo',
  'ukiyoe2photo',
  'vangogh2photo',
  'maps',
  'facades',
  'iphone2dslr_flower',
}


@functools.cache
def step_once(text):
  """Returns the losses after one step of a config; equal configs run once."""
  run = build_run(ConfigDict(json.loads(text)))
  state = tiny.create(run.method, run.optimizers, like=run.data.example_batch())
  batch = next(run.data.batches(run.seed, run.batch_size))
  step = train_step.make_step(run.method, run.optimizers)
  _, metrics = jax.jit(step)(state, batch)
  return metrics


@pytest.mark.parametrize('card', CARDS)
def test_a_recipe_card_trains_for_a_step(card, pairs):
  config, _ = flags.parse(tiny.command(card, 'x'), '')
  config.data.update(source='folder', root=str(pairs), name='')
  config.data.preprocess = 'resize_and_crop'
  for key in ('channels_a', 'channels_b'):  # the pictures of `pairs` are RGB
    config.data[key] = 1 if config.data[key] == 1 else 3
  metrics = step_once(json.dumps(config.to_dict(), sort_keys=True))
  assert all(np.isfinite(float(x)) for x in metrics.values())


def test_all_ten_tfds_datasets_have_a_recipe_card():
  names = {}
  for card in CARDS:
    config, _ = flags.parse(['main', f'--config={tiny.CONFIGS / card}.py'], '')
    if config.data.source == 'tfds' and config.method == 'cyclegan':
      names[card] = config.data.name
  assert set(names) == TFDS
  assert names.pop('summer2winter') == 'cycle_gan/summer2winter_yosemite'
  assert all(name == f'cycle_gan/{card}' for card, name in names.items())


@pytest.mark.parametrize('card', CARDS)
def test_recipe_cards_are_short_and_name_their_command(card):
  text = (tiny.CONFIGS / f'{card}.py').read_text()
  assert len(text.splitlines()) <= 30
  assert f'--config=configs/{card}.py' in text


@pytest.mark.parametrize(
  'words',
  [
    ['--config=satellite2map'],
    ['--config', 'satellite2map'],
    ['-config=satellite2map.py'],
    ['--config=configs/satellite2map.py'],
  ],
)
def test_a_recipe_card_is_found_by_name_from_any_folder(
  words, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'satellite2map').mkdir()  # a folder is no card
  config, folder = flags.parse(['main', *words, '--config.seed=3'], '')
  assert (config.data.source, config.seed) == ('builtin', 3)
  assert str(folder) == 'runs/satellite2map'


def test_a_file_of_the_user_precedes_a_recipe_card(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  text = (tiny.CONFIGS / 'folder.py').read_text()
  (tmp_path / 'maps.py').write_text(text)
  assert str(cards.find('maps.py')) == 'maps.py'
  assert cards.find('maps') == tiny.CONFIGS / 'maps.py'
  (tmp_path / 'maps').write_text(text)
  assert cards.find('maps') == tiny.CONFIGS / 'maps.py'
  assert str(cards.find('./maps')) == 'maps'
  (tmp_path / 'mine').write_text(text)
  assert str(cards.find('mine')) == 'mine'


@pytest.mark.parametrize('given', ['satelite2map', 'nowhere/x.py', 'x.py'])
def test_an_unknown_recipe_card_lists_the_names(given, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError) as error:
    flags.parse(['main', f'--config={given}'], '')
  what = 'file' if given.endswith('.py') else 'recipe card'
  assert str(error.value) == (
    f'no {what} {given} (--config): choose from {", ".join(CARDS)}'
  )


def test_recipe_cards_of_an_installed_package_are_found(tmp_path, monkeypatch):
  package = tmp_path / 'cyclegan_jax'
  monkeypatch.setattr(cards, '_PACKAGE', package)
  (package / 'configs').mkdir(parents=True)
  (tmp_path / 'configs').mkdir()  # somebody else's
  (tmp_path / 'configs' / 'other.py').touch()
  (package / 'configs' / 'card.py').touch()
  monkeypatch.chdir(tmp_path)
  assert cards.names() == ['card']
  assert cards.find('card') == package / 'configs' / 'card.py'
  assert str(cards.find('configs/other.py')) == 'configs/other.py'


def test_help_lists_the_recipe_cards(capsys):
  with pytest.raises(SystemExit):
    flags.parse(['main', '--help'], 'Does.')
  assert ', '.join(CARDS) in capsys.readouterr().out
