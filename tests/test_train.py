"""Tests of complete runs: bit-identical resuming, logs, samples, results."""

import json
import os
import pathlib
import shutil
import signal
import threading

import jax
import numpy as np
import pytest
import tiny
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
  EventAccumulator,
)

from cyclegan_jax import load_model
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags
from cyclegan_jax.config.run import build_evaluation, build_run
from cyclegan_jax.inference import saved
from cyclegan_jax.training import stopping, trainer
from cyclegan_jax.training.checkpoint import Checkpoints
from cyclegan_jax.training.device_queue import SickTraining
from cyclegan_jax.training.trainer import train
from cyclegan_jax.training.workdir import Workdir


def make_run(pictures, **overrides):
  # Without identity losses, compiling takes a third less time.
  overrides = {'loss__identity_a': 0.0, 'loss__identity_b': 0.0} | overrides
  config, _ = flags.parse(
    tiny.command('folder', 'x', pictures, **overrides), ''
  )
  return build_run(config)


def quietly(run, workdir, **options):
  return train(run, workdir, say=lambda line: None, **options)


RICH = {
  'train__ema_decay': 0.9,
  'train__batch_size': 2,
  'generator__dropout': 0.5,
  'schedule__constant': 4,
  'schedule__decay': 4,
  'log__checkpoint_every': 3,
}


@pytest.mark.parametrize('method', tiny.EVERY_METHOD)
def test_a_stopped_and_resumed_run_is_bit_identical(
  method, pairs, tmp_path, monkeypatch
):
  """Compares parameters, optimizers, pool, key, average, log and data order."""
  tiny.stand_in(monkeypatch, method)
  pictures = pairs
  whole = quietly(make_run(pictures, method=method, **RICH), tmp_path / 'whole')
  for stop in (2, 5, None):
    run = make_run(pictures, method=method, **RICH)
    parts = quietly(run, tmp_path / 'parts', stop_at=stop)
    assert parts.step == (stop or 8)
  tiny.assert_same(jax.device_get(parts.state), jax.device_get(whole.state))
  lines = [
    (tmp_path / x / 'metrics.jsonl').read_text() for x in ('whole', 'parts')
  ]
  assert lines[0] == lines[1]
  assert [json.loads(x)['step'] for x in lines[0].splitlines()] == list(
    range(1, 9)
  )
  assert parts.rows == whole.rows


@pytest.mark.slow
def test_a_run_without_an_image_pool_is_resumed(pictures, tmp_path):
  for stop in (2, None):
    run = make_run(pictures, pool_size=0, log__checkpoint_every=1)
    result = quietly(run, tmp_path, stop_at=stop)
  assert result.step == 4 and not result.state.pool


@pytest.mark.slow
def test_a_run_of_several_steps_per_call_resumes_bit_identically(
  pictures, tmp_path
):
  options = {
    'train__steps_per_call': 2,
    'schedule__constant': 4,
    'schedule__decay': 3,
    'log__every': 2,
    'log__checkpoint_every': 2,
  }
  whole = quietly(make_run(pictures, **options), tmp_path / 'whole')
  for stop in (4, None):
    parts = quietly(
      make_run(pictures, **options), tmp_path / 'parts', stop_at=stop
    )
  tiny.assert_same(jax.device_get(parts.state), jax.device_get(whole.state))
  lines = (tmp_path / 'parts' / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(x)['step'] for x in lines] == [2, 4, 6, 7]


@pytest.mark.parametrize(
  'options,named',
  [
    ({'train__steps_per_call': 2}, 'log.every=1'),
    (
      {'train__steps_per_call': 3, 'log__every': 3, 'log__sample_every': 4},
      'log.sample_every=4',
    ),
    (
      {'train__accumulate': 2, 'train__batch_size': 3},
      'train.accumulate=2',
    ),
  ],
)
def test_unsuitable_steps_per_call_and_batch_parts_are_refused(
  options, named, pictures, tmp_path
):
  with pytest.raises(UserError, match=named):
    quietly(make_run(pictures, **options), tmp_path)


def test_runs_of_equal_seeds_are_equal_and_others_differ(pictures, tmp_path):
  states = [
    jax.device_get(
      quietly(make_run(pictures, seed=seed), tmp_path / str(i)).state
    )
    for i, seed in enumerate((1, 1, 2))
  ]
  tiny.assert_same(states[0], states[1])
  kernels = [s.params['gen']['a2b']['last']['kernel'] for s in states]
  assert np.abs(kernels[0] - kernels[2]).max() > 0


def test_a_run_can_be_resumed_on_another_number_of_devices(pictures, tmp_path):
  options = {'train__batch_size': 4, 'optim__name': 'sgd', 'optim__lr': 1e-3}
  one, four = (
    make_run(pictures, parallel__devices=n, **options) for n in (1, 4)
  )
  whole = quietly(one, tmp_path / 'whole')
  quietly(four, tmp_path / 'moved', stop_at=2)
  moved = quietly(one, tmp_path / 'moved')
  moved, whole = (jax.device_get(result.state) for result in (moved, whole))
  # Images of the pool have ten times the rounding error of the weights: 2.8e-5
  # on some CPUs.
  tiny.assert_close(moved.pool, whole.pool, 1e-4)
  tiny.assert_close(moved.replace(pool=None), whole.replace(pool=None), 1e-5)


def test_a_run_writes_logs_samples_and_a_table(pictures, tmp_path):
  run = make_run(
    pictures,
    log__sample_every=2,
    log__every=2,
    log__checkpoint_every=1,
    log__keep=2,
    loss__identity_a=5.0,
    loss__identity_b=5.0,
  )
  said = []
  result = train(run, tmp_path, say=said.append)
  assert result.step == 4 and result.signal is None
  work = Workdir(tmp_path)
  assert work.last_sample().name == 'step_0000004.png'
  assert len(list(work.samples.iterdir())) == 2
  # 2 rows: a a2b a2b2a identity, b b2a b2a2b identity; 16 px enlarged to 128.
  height, width, _ = tiny.pixels(work.last_sample()).shape
  assert width == 8 * 130 - 2
  assert 20 < height - (2 * 130 - 2) < 60  # the step and the titles
  board = EventAccumulator(str(work.tensorboard)).Reload()
  tensors = board.Tags()['tensors']
  assert 'input_wait' in tensors
  assert {'adv_a2b', 'lr_gen', 'images_per_second', 'samples'} <= set(tensors)
  assert [event.step for event in board.Tensors('samples')] == [2, 4]
  assert 'gen/a2b/block_0/conv_1/kernel' in work.parameters.read_text()
  assert sorted(int(p.name) for p in work.checkpoints.iterdir()) == [3, 4]
  lines = [
    json.loads(x) for x in (tmp_path / 'metrics.jsonl').read_text().splitlines()
  ]
  assert [x['step'] for x in lines] == [2, 4]
  assert set(lines[0]) == {
    'step',
    'loss_gen',
    'loss_disc',
    'adv_a2b',
    'adv_b2a',
    'cycle_a',
    'cycle_b',
    'identity_a',
    'identity_b',
    'disc_a',
    'nonfinite_steps',
    'disc_b',
    'score_real_a',
    'score_fake_a',
    'score_real_b',
    'score_fake_b',
    'lr_gen',
    'lr_disc',
  }
  assert lines[0]['lr_gen'] == pytest.approx(2e-4)
  assert lines[1]['lr_gen'] == pytest.approx(2e-4 / 3)
  candidates = [(r['direction'], r['candidate']) for r in result.rows]
  assert candidates == [
    (d, c)
    for d in ('a2b', 'b2a')
    for c in ('translated', 'copy the input', 'another picture')
  ]
  assert json.loads(work.test_json.read_text()) == result.rows
  assert any('step 2/4 (50%)' in line and 'ETA' in line for line in said)
  assert any('gen/a2b: ' in line and 'parameters' in line for line in said)


def test_the_first_sample_column_is_the_input(pictures, tmp_path):
  run = make_run(pictures, data__flip=False, log__sample_every=4)
  quietly(run, tmp_path)
  shown = tiny.pixels(Workdir(tmp_path).last_sample())
  with Image.open(pictures / 'testA' / '0.png') as image:
    image = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
  rows = shown[-(2 * 130 - 2) :]  # below the titles
  np.testing.assert_array_equal(rows[:128:8, :128:8], image)


def test_a_finished_run_does_not_train_again(pictures, tmp_path):
  first = quietly(make_run(pictures), tmp_path)
  before = (tmp_path / 'metrics.jsonl').read_text()
  again = quietly(make_run(pictures), tmp_path)
  tiny.assert_same(jax.device_get(again.state), jax.device_get(first.state))
  assert again.rows == first.rows
  assert (tmp_path / 'metrics.jsonl').read_text() == before


@pytest.mark.parametrize(
  'number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
)
def test_a_signal_saves_and_stops(number, pictures, tmp_path):
  run = make_run(pictures, schedule__constant=100000)
  before = signal.getsignal(number)
  lines = []

  def say(line):
    lines.append(line)
    if line.startswith('step 3/'):
      threading.Timer(0, os.kill, (os.getpid(), number)).start()

  result = train(run, tmp_path, say=say)
  assert result.signal == number and 3 <= result.step < 100000
  assert signal.getsignal(number) is before
  assert Checkpoints(tmp_path / 'checkpoints').latest_step() == result.step
  work = Workdir(tmp_path)
  assert trainer.report(result, work, 100002) == 128 + number


def test_a_signal_repeated_at_once_counts_once(monkeypatch):
  now = [10.0]
  monkeypatch.setattr(stopping.time, 'monotonic', lambda: now[0])
  with stopping.StopSignals() as stop:
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
      signal.raise_signal(number)
      now[0] += 0.4
    assert stop.number == signal.SIGTERM
    now[0] += 0.4
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_a_bad_picture_stops_and_saves_the_run(tmp_path):
  tiny.write_pictures(tmp_path / 'data', train=(40, 40))
  broken = tmp_path / 'data' / 'trainA' / '7.png'
  broken.write_bytes(broken.read_bytes()[:500])
  run = make_run(tmp_path / 'data', schedule__constant=100)
  with pytest.raises(UserError, match='7.png: cannot be read'):
    quietly(run, tmp_path / 'run')
  steps = len((tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines())
  latest = Checkpoints(tmp_path / 'run' / 'checkpoints').latest_step()
  assert latest == steps > 0


@pytest.mark.parametrize(
  'options,what',
  [({}, 'step 2: '), ({'train__steps_per_call': 2}, 'one of steps 1 to 2: ')],
)
def test_nan_stops_the_run_and_keeps_the_last_good_state(
  options, what, pictures, tmp_path
):
  options |= {'log__checkpoint_every': 2 if options else 1}
  options |= {'log__every': 2} if 'train__steps_per_call' in options else {}
  run = make_run(pictures, optim__lr=3e38, **options)
  with pytest.raises(SickTraining) as error:
    quietly(run, tmp_path)
  message = str(error.value)
  assert message.startswith(f'{what}NaN or infinity in ')
  assert 'loss_gen' in message and 'optim.lr' in message
  names = run.data.names(0, 1, 1)
  assert names['a'][0] in message and names['b'][0] in message
  latest = Checkpoints(tmp_path / 'checkpoints').latest_step()
  assert latest == (None if 'train__steps_per_call' in options else 1)
  assert 'null' not in (tmp_path / 'metrics.jsonl').read_text()


@pytest.mark.slow
def test_nan_may_be_skipped_and_counted(pictures, tmp_path):
  options = {'optim__lr': 3e38, 'train__on_nonfinite': 'skip'}
  first = quietly(make_run(pictures, **options), tmp_path / '1', stop_at=1)
  said = []
  result = train(make_run(pictures, **options), tmp_path, say=said.append)
  assert result.step == 4 and result.state.nonfinite == 3
  for part in ('params', 'opt_state', 'pool'):
    tiny.assert_same(
      jax.device_get(getattr(result.state, part)),
      jax.device_get(getattr(first.state, part)),
    )
  warnings = [x for x in said if x.startswith('warning: step')]
  assert len(warnings) == 3 and 'NaN or infinity in ' in warnings[0]
  assert 'skipped, 3 steps so far' in warnings[-1]
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  counts = [json.loads(x)['nonfinite_steps'] for x in lines]
  assert counts == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_run_resumed_before_a_damaged_checkpoint_is_bit_identical(
  pictures, tmp_path
):
  options = RICH | {'log__checkpoint_every': 2}
  whole = quietly(make_run(pictures, **options), tmp_path / 'whole')
  quietly(make_run(pictures, **options), tmp_path / 'run', stop_at=6)
  newest = tmp_path / 'run' / 'checkpoints' / '6'
  for path in newest.rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:40])
  said = []
  result = train(
    make_run(pictures, **options), tmp_path / 'run', say=said.append
  )
  assert any('going back to step 4' in line for line in said)
  tiny.assert_same(jax.device_get(result.state), jax.device_get(whole.state))
  lines = [
    (tmp_path / x / 'metrics.jsonl').read_text() for x in ('whole', 'run')
  ]
  assert lines[0] == lines[1]


@pytest.mark.slow
def test_more_steps_evaluate_the_test_pictures_again(pictures, tmp_path):
  first = quietly(make_run(pictures), tmp_path)
  more = quietly(make_run(pictures, schedule__decay=6), tmp_path)
  assert more.step == 8 and more.rows != first.rows


def test_a_run_of_other_networks_is_refused(pictures, tmp_path):
  quietly(make_run(pictures), tmp_path, stop_at=1)
  with pytest.raises(UserError, match='other networks.*--workdir'):
    quietly(make_run(pictures, generator__width=6), tmp_path)


@pytest.mark.slow
def test_pmap_trains_like_shard_map(pictures, tmp_path):
  options = {
    'train__batch_size': 4,
    'parallel__devices': 4,
    'optim__name': 'sgd',
    'optim__lr': 1e-3,
  }
  for how in ('shard_map', 'pmap'):
    for stop in (2, None):  # includes saving and restoring
      run = make_run(pictures, parallel__map=how, **options)
      result = quietly(run, tmp_path / how, stop_at=stop)
    if how == 'shard_map':
      expected = jax.device_get(result.state)
  tiny.assert_close(jax.device_get(result.state), expected, 1e-6)


def test_a_run_translates_gray_to_colour(tmp_path):
  tiny.write_pictures(tmp_path / 'data')
  run = make_run(
    tmp_path / 'data',
    data__channels_a=1,
    log__sample_every=4,
  )
  result = quietly(run, tmp_path / 'run')
  assert result.state.pool['a'].images.shape[-1] == 1
  assert {r['candidate'] for r in result.rows} == {
    'translated',
    'copy the input',
    'another picture',
  }
  assert pathlib.Path(Workdir(tmp_path / 'run').last_sample()).exists()


def measured(pictures, workdir, **overrides):
  """Run that evaluates every epoch of 2 steps and keeps the best weights."""
  options = RICH | {
    'train__batch_size': 1,
    'evaluate__every': 1,
    'evaluate__metrics': 'l1,ssim',
    'evaluate__best': 'l1 a2b',
    'optim__lr': 0.02,  # so that the metric does not improve all the time
  }
  argv = tiny.command('folder', workdir, pictures, **(options | overrides))
  config, workdir = flags.parse(argv, '')
  run = build_run(config)
  return run._replace(
    evaluate=build_evaluation(
      config,
      run,
      workdir,
      lambda folder, params: saved.save(folder, config, params),
    )
  )


@pytest.mark.slow
def test_the_best_weights_of_a_resumed_run_are_bit_identical(tmp_path):
  pictures = tmp_path / 'data'
  tiny.write_pictures(pictures, train=(2, 2), test=3)
  said = []
  train(
    measured(pictures, tmp_path / 'whole'), tmp_path / 'whole', say=said.append
  )
  for stop in (5, None):
    run = measured(pictures, tmp_path / 'parts')
    quietly(run, tmp_path / 'parts', stop_at=stop)
    if stop:  # so the run is resumed from step 3 and evaluates step 4 again
      shutil.rmtree(tmp_path / 'parts' / 'checkpoints' / '5')
  whole, parts = (
    {
      path.name: path.read_bytes()
      for path in [*(tmp_path / x / 'best').iterdir()]
      + [tmp_path / x / 'metrics.jsonl']
      if path.name != 'config.json'  # contains the folder of pictures
    }
    for x in ('whole', 'parts')
  )
  assert whole == parts and saved.WEIGHTS in whole
  lines = [json.loads(x) for x in whole['metrics.jsonl'].splitlines()]
  found = {x['step']: x['test/a2b/L1'] for x in lines if 'test/a2b/L1' in x}
  assert list(found) == [2, 4, 6, 8]
  kept = json.loads(whole['evaluation.json'])
  assert kept['step'] == min(found, key=found.get) != 2
  assert kept['value'] == found[kept['step']]
  assert any('test/b2a/SSIM' in line for line in said)
  best = load_model(tmp_path / 'whole' / 'best')
  there = run.data.test_images('a'), run.data.test_images('b')
  distances = [
    np.abs(best.translate(a, 'a2b') - b).mean() for a, b in zip(*there)
  ]
  assert np.mean(distances) == pytest.approx(kept['value'], abs=1e-5)
  folders = [x.name for x in (tmp_path / 'whole').glob('best*')]
  assert sorted(folders) == ['best', f'best_at_{kept["step"]}']


def test_evaluate_every_must_be_divisible_by_steps_per_call(pictures, tmp_path):
  run = measured(
    pictures,
    tmp_path,
    train__steps_per_call=2,
    log__every=2,
    log__checkpoint_every=2,
  )
  with pytest.raises(UserError, match='evaluate.every, in steps,=7 is not'):
    quietly(run, tmp_path)


@pytest.mark.parametrize(
  'options, words',
  [
    ({'evaluate__metrics': 'l2x'}, "evaluate.metrics='l2x' is unknown"),
    ({'evaluate__metrics': 'kid'}, 'needs evaluate.inception=FILE'),
    ({'evaluate__metrics': 'fcn'}, 'needs label maps'),
    ({'evaluate__metrics': 'ssim'}, "evaluate.best='l1 a2b' is not measured"),
    ({'evaluate__every': 0}, "evaluate.best='l1 a2b' needs evaluate.every"),
    ({'evaluate__every': -1}, 'evaluate.every=-1 must be 0 or more'),
    ({'evaluate__metrics': 'kd_alex', 'evaluate__best': ''}, 'too small for'),
  ],
)
def test_impossible_metrics_are_refused_before_training(
  options, words, pictures, tmp_path
):
  with pytest.raises(UserError, match=words) as error:
    measured(pictures, tmp_path, **options)
  assert '\n' not in str(error.value)
