"""Every recipe card is loaded, made small and run for a step."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from cyclegan_jax.config import flags
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
  """Losses after one step of a config; equal configs are run once."""
  run = build_run(ConfigDict(json.loads(text)))
  state = tiny.create(run.method, run.optimizers, like=run.data.example_batch())
  batch = next(run.data.batches(run.seed, run.batch_size))
  step = train_step.make_step(run.method, run.optimizers)
  _, metrics = jax.jit(step)(state, batch)
  return metrics


@pytest.mark.parametrize('card', CARDS)
def test_card(card, pairs):
  config, _ = flags.parse(tiny.command(card, 'x'), '')
  config.data.update(source='folder', root=str(pairs), name='')
  config.data.preprocess = 'resize_and_crop'
  metrics = step_once(json.dumps(config.to_dict(), sort_keys=True))
  assert all(np.isfinite(float(x)) for x in metrics.values())


def test_all_ten_tfds_sets_have_a_card():
  names = {}
  for card in CARDS:
    config, _ = flags.parse(['main', f'--config={tiny.CONFIGS / card}.py'], '')
    if config.data.source == 'tfds':
      names[card] = config.data.name
  assert set(names) == TFDS
  assert names.pop('summer2winter') == 'cycle_gan/summer2winter_yosemite'
  assert all(name == f'cycle_gan/{card}' for card, name in names.items())


@pytest.mark.parametrize('card', CARDS)
def test_cards_are_short_and_say_how_to_run_them(card):
  text = (tiny.CONFIGS / f'{card}.py').read_text()
  assert len(text.splitlines()) <= 30
  assert f'--config=configs/{card}.py' in text
