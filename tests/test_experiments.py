"""Tests of `experiments`: suites, tables and child processes."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import experiments
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.config.method import build_method
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.run import check_values
from cyclegan_jax.defaults import OPTIONS
from cyclegan_jax.paper import (
  child_process,
  devices,
  figures,
  jobs,
  results,
  runs,
  suite_run,
  suites,
  tables,
)
from cyclegan_jax.training import workdir

FACTS = suites.Facts(True, True, True, True)
NONE = suites.Facts(False, False, False, False)
# Stand-in for the programs, which writes files like theirs. SLOW in a command
# makes training wait for a signal, FAIL makes it fail. Best weights are 0.125
# better than the last weights.
PROGRAMS = textwrap.dedent("""
  import json, os, pathlib, signal, sys, time
  name, flags = sys.argv[1], sys.argv[2:]
  values = dict(f.lstrip('-').partition('=')[::2] for f in flags)
  folder = pathlib.Path(values.get('workdir') or values['output'])
  print(name.rpartition('.')[2], 'began', flush=True)
  if 'FAIL' in flags and 'seed1' in str(folder):
    sys.exit('something\\nerror: no such thing')
  if name == 'cyclegan_jax.main':
    (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
    if 'SLOW' in flags and not (folder / 'checkpoints' / '1').exists():
      def save(*_):
        (folder / 'checkpoints' / '1').touch()
        print('saved', flush=True)
        sys.exit(143)
      signal.signal(signal.SIGTERM, save)
      (folder / 'ready').touch()
      time.sleep(60)
    if best := values.get('config.evaluate.best'):
      place = folder / 'best_at_2'
      place.mkdir(exist_ok=True)
      kept = {'step': 2, 'best': best, 'value': 0.125, 'rows': []}
      (place / 'evaluation.json').write_text(json.dumps(kept))
      (folder / 'best').write_text('link to best_at_2')  # as in a bucket
  elif name == 'cyclegan_jax.evaluate':
    seed = int(folder.parent.name.removeprefix('seed'))
    model = pathlib.Path(values['model'])
    assert model.exists()
    l1 = 0.25 + 0.5 * seed - 0.125 * (model.name == 'best')
    rows = [{'direction': d, 'candidate': c, 'L1': l1}
            for d in ('a2b', 'b2a') for c in ('translated', 'true pair')]
    folder.write_text(json.dumps({'step': 4, 'rows': rows}))
  else:
    folder.mkdir(parents=True, exist_ok=True)
""")


def options(card='satellite2map', **changes):
  argv = ['main', f'--config={tiny.CONFIGS / card}.py']
  config, _ = flags.parse_flags(argv, '', {})
  return flatten(config.to_dict()) | changes


def experiment(tmp_path, *words, facts=FACTS, **changes):
  script = tmp_path / 'programs.py'
  tmp_path.mkdir(exist_ok=True)
  script.write_text(PROGRAMS)
  values = {
    'options': options(),
    'given': ['--config=card.py', *words],
    'facts': lambda options: facts,
    'pretrained': True,
    'workdir': tmp_path / 'work',
    'seeds': 2,
    'python': (sys.executable, str(script)),
  }
  return runs.Experiment(**values | changes)


def best_by(tmp_path, metric, every=1, **changes):
  """Returns an experiment whose config keeps the best weights by a metric."""
  asked = {'evaluate.every': every, 'evaluate.best': metric}
  words = [f'--config.{key}={value}' for key, value in asked.items()]
  return experiment(tmp_path, *words, options=options(**asked), **changes)


def rows(suite, facts=FACTS, pretrained=True, **changes):
  return suites.rows(suite, options(**changes), facts, pretrained)


@pytest.mark.parametrize('card', ['satellite2map', 'cityscapes', 'facades'])
def test_every_row_changes_known_options_to_valid_values(card):
  before = options(card)
  for suite in suites.SUITES:
    kept, left_out = suites.rows(suite, before, FACTS, True)
    assert kept and not left_out
    for row in kept:
      config, _ = flags.parse_flags(
        ['main', f'--config={tiny.CONFIGS / card}.py']
        + runs._flags(suites.overrides(row, before) | dict(row.test)),
        '',
        {},
      )
      for key, value in suites.overrides(row, before).items():
        assert isinstance(value, type(OPTIONS[key].default)), key
      check_values(config)
      build_method(config)


def test_rows_with_equal_options_share_a_run():
  by_name = {row.name: row.run for row in rows('models')[0]}
  assert by_name['CycleGAN'] == 'cyclegan'
  assert [r.run for r in rows('losses')[0]][-6:] == [
    'no-identity',
    'cycle-identity',
    'gan-identity',
    'forward-identity',
    'backward-identity',
    'cyclegan',
  ]
  none = {'loss.identity_a': 0.0, 'loss.identity_b': 0.0}
  plain = rows('losses', **none)[0][-1]
  assert (plain.name, plain.run) == ('CycleGAN', 'cyclegan')
  assert len(rows('losses', **none)[0]) == 5
  assert rows('reconstruction')[0][0].run == 'cyclegan'


def test_shifted_pictures_are_a_test_of_the_plain_run(tmp_path):
  an_experiment = experiment(tmp_path, seeds=1)
  found = rows('limits')[0]
  assert len(found) == 8
  by_name = {job.name: job for job in runs.all_jobs(an_experiment, found)}
  assert len(by_name) == 6
  steps = {step.what: step for step in by_name['cyclegan seed 0'].steps}
  assert set(steps) == {
    'training',
    'evaluation',
    'evaluation-shifted',
    'pictures',
    'pictures-shifted',
  }
  assert '--config.data.name=shifted' in steps['evaluation-shifted'].command
  assert '--config.data.name=shifted' not in steps['training'].command


def test_the_papers_pix2pix_halves_down_to_one_pixel():
  for card, levels in (('satellite2map', 6), ('cityscapes', 7), ('maps', 8)):
    before = options(card)
    (row,) = (r for r in suites.SUITES['models'] if r.run == 'pix2pix-paper')
    changed = suites.overrides(row, before)
    assert changed['generator.depth'] == levels
    assert changed['loss.adversarial_loss'] == 'vanilla'


def test_impossible_rows_are_left_out_with_a_line():
  kept, lines = rows('models', NONE, pretrained=False)
  left_out = [
    row
    for row in suites.SUITES['models']
    if row.paired or row.run in suites._PRETRAINED
  ]
  assert [row.run for row in kept] == [
    row.run for row in suites.SUITES['models'] if row not in left_out
  ]
  assert len(lines) == len(left_out) == 3
  assert 'true pairs' in lines[-1] and 'pip install' in lines[0]
  kept, lines = rows('models', **{'data.channels_b': 1})
  assert 'simgan' not in [row.run for row in kept] and len(lines) == 2


def test_impossible_metrics_are_left_out_with_a_line(tmp_path):
  (row,) = rows('reconstruction')[0]
  nothing = experiment(tmp_path, facts=NONE, pretrained=False)
  names, lines = runs.metrics(nothing, row)
  assert names == '' and len(lines) == 6
  names, lines = runs.metrics(experiment(tmp_path), row)
  assert names == runs.DEFAULT_METRICS and not lines


def test_metrics_of_rgb_are_left_out_for_other_channels(tmp_path):
  bands = {'data.channels_a': 5}
  (row,) = rows('reconstruction', **bands)[0]
  five = experiment(
    tmp_path, options=options(**bands), metrics='l1,fcn,palette'
  )
  names, lines = runs.metrics(five, row)
  assert names == 'l1,palette' and lines == [
    'fcn, because the pictures of A are neither gray nor RGB'
  ]
  assert runs.segmenter_job(five) is None
  kept, lines = rows('models', **bands, **{'data.channels_b': 5})
  assert 'feature' not in [row.run for row in kept]
  assert len(lines) == 1 and 'VGG-16' in lines[0]


def test_changed_shown_channels_repeat_evaluation_only(tmp_path):
  (row,) = rows('reconstruction')[0]

  def settings(**changes):
    changed = experiment(tmp_path, options=options(**changes))
    return [step.settings for step in runs.all_jobs(changed, [row])[0].steps]

  train, *tests = settings()
  train_2, *tests_2 = settings(**{'data.show_a': '3,2,1'})
  assert train == train_2 and len(tests) == 2
  assert not any(x == y for x, y in zip(tests, tests_2))


def test_without_a_segmenter_palette_replaces_fcn(tmp_path):
  (row,) = rows('reconstruction')[0]
  unlabelled = experiment(
    tmp_path, facts=FACTS._replace(train_labels=False), metrics='l1,fcn'
  )
  names, lines = runs.metrics(unlabelled, row)
  assert names == 'l1,palette' and 'no --segmenter' in lines[0]
  given = unlabelled._replace(segmenter='fcn.onnx')
  assert runs.metrics(given, row) == ('l1,fcn', [])
  command = runs.all_jobs(given, [row])[0].steps[1].command
  assert '--segmenter=fcn.onnx' in command
  cityscapes = experiment(
    tmp_path,
    facts=NONE._replace(pairs=True),
    metrics='fcn',
    segmenter='fcn.onnx',
    palette='cityscapes',
  )
  assert runs.metrics(cityscapes, row) == ('fcn', [])
  command = runs.all_jobs(cityscapes, [row])[0].steps[1].command
  assert '--palette=cityscapes' in command


def test_the_limits_suite_needs_the_built_in_dataset():
  folder = options('folder')
  assert suites.suites('all', options())[0] == list(suites.SUITES)
  names, lines = suites.suites('all', folder)
  assert 'limits' not in names and len(lines) == 1
  with pytest.raises(UserError, match='built-in'):
    suites.suites('limits', folder)
  with pytest.raises(UserError, match='choose from all, models'):
    suites.suites('model', folder)


def test_options_of_the_user_precede_options_of_rows(tmp_path):
  words = ['--config', 'card.py', '--config.seed=4', '--noconfig.data.flip']
  argv = ['experiments', '--suite=all', *words, '--jobs', '2', '--seeds=1']
  assert experiments.given(argv) == words
  an_experiment = experiment(
    tmp_path, given=words, options=options(seed=4), seeds=1
  )
  job = runs.all_jobs(an_experiment, rows('losses')[0][:1])[0]
  command = job.steps[0].command
  assert command[2:7] == ['cyclegan_jax.main', *words]
  assert command[7] == '--config.loss.identity_a=0.0'
  assert command[-3] == '--config.seed=4' and job.folder.name == 'seed4'


def run(an_experiment, suite='reconstruction', count=1, part=(0, 1)):
  said = []
  an_experiment.workdir.mkdir(exist_ok=True)
  code = suite_run.run(
    an_experiment, suite, count, ['x', '--s'], said.append, part
  )
  return code, said


def log(an_experiment, seed, name='cyclegan'):
  path = an_experiment.workdir / 'runs' / name / f'seed{seed}' / 'log.txt'
  return path.read_text().split('\n')[:-1]


def test_a_finished_suite_only_rewrites_its_tables(tmp_path):
  an_experiment = experiment(tmp_path)
  code, said = run(an_experiment)
  assert code == 0
  assert said[-2].startswith('done: cyclegan seed 1')
  assert '2 of 2 done' in said[-2]
  assert log(an_experiment, 0) == [
    'main began',
    'evaluate began',
    'pictures began',
  ]
  assert log(an_experiment, 1) == ['main began', 'evaluate began']
  path = an_experiment.workdir / 'tables.md'
  text = path.read_bytes()
  path.unlink()
  code, said = run(an_experiment)
  assert code == 0 and len(said) == 1
  assert path.read_bytes() == text
  assert len(log(an_experiment, 0)) == 3


def table_of_models(an_experiment):
  """Returns the table of the models suite with the results so far."""
  kept, lines = suite_run._rows(an_experiment, ['models'])
  asked = results.Asked(an_experiment, kept['models'], lines['models'], '')
  return tables.markdown({'models': asked}, {})


def test_best_and_last_weights_are_evaluated(tmp_path):
  an_experiment = best_by(tmp_path, 'l1 b2a')
  job, _ = runs.all_jobs(an_experiment, rows('reconstruction')[0])
  assert f'--model={job.folder}/best' in job.steps[-1].command
  assert run(an_experiment)[0] == 0
  assert log(an_experiment, 1) == ['main began'] + ['evaluate began'] * 2
  text = table_of_models(an_experiment)
  assert '| CycleGAN, last | 0.500 +- 0.354 | 2 of 2 |' in text
  assert '| CycleGAN, best by l1 b2a | 0.375 +- 0.354 | 2 of 2 |' in text
  assert 'left out of models: best' not in text
  run(an_experiment)
  assert len(log(an_experiment, 1)) == 3


@pytest.mark.parametrize('before', ['', 'lpips'])
def test_a_run_finished_without_these_best_weights_is_named(tmp_path, before):
  run(best_by(tmp_path, before) if before else experiment(tmp_path))
  lines = len(log(experiment(tmp_path), 1))
  asked = best_by(tmp_path, 'l1')
  code, said = run(asked)
  assert code == 0 and len(log(asked, 1)) == lines
  assert 'best weights by l1 of cyclegan seed 0; cyclegan seed 1' in said[0]
  text = table_of_models(asked)
  assert '| CycleGAN, best by l1 | missing | 0 of 2 |' in text
  assert f'- {said[0].replace("reconstruction", "models")}' in text


def test_several_processes_share_the_runs(tmp_path):
  an_experiment = experiment(tmp_path, seeds=3)
  code, said = run(an_experiment, part=(0, 2))  # also trains the segmenter
  assert code == 0 and 'other processes have not finished' in said[-1]
  assert len(suite_run.commands(an_experiment, 'reconstruction', (0, 2))) == 0
  assert len(suite_run.commands(an_experiment, 'reconstruction', (1, 2))) == 2
  said = []
  code = suite_run.help_out(
    an_experiment, 'reconstruction', 1, (1, 2), said.append
  )
  assert code == 0 and said[-1].startswith('process 1 has finished its runs')
  assert not suite_run.commands(an_experiment, 'reconstruction')
  code, said = run(an_experiment, part=(0, 2))
  assert code == 0 and 'not finished' not in said[-1]
  assert all(len(log(an_experiment, seed)) >= 2 for seed in range(3))


@pytest.mark.parametrize(
  'flags', [['--process-id=1'], ['--num-processes=0'], ['--process-id=-1']]
)
def test_an_invalid_process_id_or_count_is_refused(flags, capsys):
  argv = ['x', f'--config={tiny.CONFIGS / "satellite2map.py"}', *flags]
  assert program.run(experiments.main, [*argv, '--suite=models']) == 2
  assert flags[0].partition('=')[0] in capsys.readouterr().err


def test_other_metrics_repeat_evaluation_only(tmp_path):
  run(experiment(tmp_path))
  again = experiment(tmp_path, metrics='l1')
  run(again)
  assert log(again, 1)[2:] == ['evaluate began']
  longer = experiment(
    tmp_path, metrics='l1', options=options(**{'schedule.decay': 9})
  )
  run(longer)
  assert log(longer, 1)[3:] == ['main began', 'evaluate began']


def test_irrelevant_and_new_options_keep_a_run_finished(tmp_path):
  run(experiment(tmp_path))
  again = experiment(tmp_path, options=options(**{'log.every': 7}))
  run(again)
  assert len(log(again, 1)) == 2
  for path in again.workdir.rglob('done.json'):
    done = json.loads(path.read_text())
    for settings in done.values():
      settings.pop('loss.l1', None)
    path.write_text(json.dumps(done))
  run(again)
  assert len(log(again, 1)) == 2
  # CycleGAN is the only run of the suite.
  for option, lines in (('loss.l1', 2), ('loss.cycle_a', 4)):
    other = experiment(tmp_path, options=options(**{option: 7.0}))
    run(other)
    assert len(log(other, 1)) == lines


def test_other_pictures_repeat_a_finished_run(tmp_path):
  def with_pictures(training, tests):
    facts = FACTS._replace(training=training, tests=tests)
    return experiment(tmp_path, facts=facts)

  run(with_pictures('x', 'y'))
  run(with_pictures('x', 'y'))
  first = with_pictures('x', 'z')
  assert len(log(first, 1)) == 2
  run(first)
  assert log(first, 1)[2:] == ['evaluate began']
  second = with_pictures('other', 'z')
  run(second)
  assert log(second, 1)[3:] == ['main began', 'evaluate began']
  for path in second.workdir.rglob(
    'done.json'
  ):  # as written by an earlier version
    done = json.loads(path.read_text())
    for settings in done.values():
      settings.pop(jobs.TRAINING), settings.pop(jobs.TESTS, None)
    path.write_text(json.dumps(done))
  run(second)
  assert len(log(second, 1)) == 5


def test_experiments_measure_training_pictures_only_if_asked(tmp_path):
  tiny.write_pictures(tmp_path, train=(2, 2))
  shutil.rmtree(tmp_path / 'testB')
  argv = ['x', f'--config={tiny.CONFIGS}/folder.py']
  argv += [f'--config.data.root={tmp_path}']
  for asked in (True, False):
    option = f'--config.evaluate.on_training_pictures={asked}'
    config, _ = flags.parse_flags([*argv, option], '', {})
    facts = suite_run._Facts(config)
    if asked:
      found = facts(flatten(config.to_dict()))
      assert not found.pairs and found.training and found.tests
    else:
      with pytest.raises(UserError, match='testB, so training pictures would'):
        facts(flatten(config.to_dict()))


def test_a_failed_run_is_marked_and_does_not_stop_the_others(tmp_path):
  failing = experiment(tmp_path, 'FAIL')
  code, said = run(failing, count=2)
  assert code == 1
  (line,) = (x for x in said if x.startswith('failed'))
  assert 'cyclegan seed 1, training' in line and 'no such thing' in line
  path = failing.workdir / 'tables.md'
  run(failing, 'models')
  text = path.read_text()
  assert '| CycleGAN | **0.250** | 1 of 2 |' in text
  (failing.workdir / 'runs/cyclegan/seed0/evaluation.json').unlink()
  (failing.workdir / 'runs/cyclegan/seed0/done.json').unlink()
  gone = failing._replace(given=['--config=card.py'], seeds=1)
  asked = results.Asked(gone, rows('models')[0], [], '')
  assert '| CycleGAN | missing |' in tables.markdown({'models': asked}, {})


def test_an_error_of_a_child_is_repeated_in_one_line(tmp_path):
  words = [sys.executable, '-c', 'print("x"); print("error: no"); exit(2)']
  job = jobs.Job('j', tmp_path, [jobs.Step('s', words, {}, tmp_path)])
  said = []
  outcome = jobs.run([job], [({}, [])], {}, said.append)
  assert outcome.code() == 2 and said[-1] == 'failed: j, s: no'


DRIVER = textwrap.dedent("""
  import json, pathlib, sys
  from cyclegan_jax.paper import jobs
  command, folder = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
  all_jobs = [
    jobs.Job(f'seed{i}', folder / f'seed{i}', [jobs.Step(
      'training',
      [*command, f'--workdir={folder}/seed{i}'],
      {},
      folder / f'seed{i}' / 'checkpoints',
    )])
    for i in range(3)
  ]
  def say(line):
    print(line, flush=True)
  sys.exit(jobs.run(all_jobs, [({}, [])] * 2, {}, say).code())
""")


def drive(tmp_path):
  """Starts a process that runs three jobs, two at a time."""
  script = tmp_path / 'programs.py'
  script.write_text(PROGRAMS)
  command = [sys.executable, str(script), 'cyclegan_jax.main', 'SLOW']
  return subprocess.Popen(
    [sys.executable, '-c', DRIVER, json.dumps(command), str(tmp_path)],
    stdout=subprocess.PIPE,
    text=True,
  )


def wait(condition, seconds=20):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)


@pytest.mark.skipif(sys.platform != 'linux', reason='the kernel has to tell')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_program_resumes_its_jobs(tmp_path, number):
  process = drive(tmp_path)
  ready = [tmp_path / f'seed{i}/ready' for i in range(3)]
  wait(lambda: ready[0].exists() and ready[1].exists())
  process.send_signal(number)
  said, _ = process.communicate(timeout=20)
  killed = number == signal.SIGKILL
  assert process.returncode == (-number if killed else 128 + number)
  assert killed or 'stopping' in said
  saved = [tmp_path / f'seed{i}/checkpoints/1' for i in range(3)]
  wait(lambda: saved[0].exists() and saved[1].exists())
  assert not ready[2].exists()  # no third job was started
  saved[2].parent.mkdir(parents=True)
  saved[2].touch()
  process = drive(tmp_path)
  said, _ = process.communicate(timeout=20)
  assert process.returncode == 0 and '3 of 3 done' in said


def test_a_child_waits_for_the_lock_of_its_predecessor(tmp_path):
  words = [sys.executable, '-c', 'print("began")']
  with workdir.open_workdir(tmp_path):
    process = subprocess.Popen(
      child_process.command(words, tmp_path / 'lock', []),
      stdout=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
      process.wait(0.5)
  assert process.communicate(timeout=20)[0] == b'began\n'


@pytest.mark.skipif(sys.platform != 'linux', reason='Linux has affinities')
def test_children_share_the_cores(tmp_path, monkeypatch):
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 4, 5})
  monkeypatch.setattr(devices, '_devices', lambda: [])
  assert devices.places(2, 9) == [({}, [0, 4]), ({}, [1, 5])]
  assert len(devices.places(8, 3)) == 3
  assert [c for _, c in devices.places(5, 9)] == [[0], [1], [4], [5], [0]]
  assert devices.places(1, 9) == [({}, [])]
  monkeypatch.undo()
  words = [sys.executable, '-c', 'import os; print(os.sched_getaffinity(0))']
  core = max(os.sched_getaffinity(0))
  command = child_process.command(words, tmp_path / 'lock', [core])
  assert numbers(subprocess.check_output(command, text=True)) == {core}


def numbers(text):
  return {int(x) for x in text.strip().strip('{}').split(',')}


def test_each_child_gets_an_accelerator(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,7')
  got = [variables for variables, _ in devices.places(2, 9)]
  assert got == [{'CUDA_VISIBLE_DEVICES': x} for x in '27']
  with pytest.raises(UserError, match='there are 2 accelerators'):
    devices.places(3, 9)


def write_evaluation(an_experiment, row, seed, best='', **columns):
  """Writes evaluation files; `best` names the metric of best weights."""
  folder = an_experiment.folder(row, seed)
  names = {'translated': 0.0, 'copy the input': 0.5, 'true pair': None}
  content = [
    {'direction': 'a2b', 'candidate': name}
    | ({} if more is None else {k: x + more for k, x in columns.items()})
    | {'pixel accuracy': 0.75, 'class accuracy': 0.5, 'class IoU': 0.25}
    for name, more in names.items()
  ]
  folder.mkdir(parents=True, exist_ok=True)
  name = row.best_evaluation if best else row.evaluation
  (folder / f'{name}.json').write_text(
    json.dumps({'step': None if best else 40, 'rows': content})
  )
  if best:
    kept = {'step': 20, 'best': best, 'value': 0.5, 'rows': []}
    (folder / 'best').mkdir(exist_ok=True)
    (folder / 'best/evaluation.json').write_text(json.dumps(kept))
  (folder / 'environment.json').write_text(
    json.dumps({'git_commit': 'abc', 'packages': {'cyclegan_jax': '0.1.0'}})
  )


HEAD = """\
|  | L1 | KD (VGG) | pixel accuracy | class accuracy | class IoU | seeds | \
the paper on Cityscapes |
| --- | --- | --- | --- | --- | --- | --- | --- |
| copy the input | 0.900 | 0.8000 | 0.750 | 0.500 | 0.250 |  |  |
"""
SCORES = '**0.750 +- 0.000** | **0.500 +- 0.000** | **0.250 +- 0.000** | 2 of 2'
TRAINED = {
  'SimGAN': f'| SimGAN | 0.400 +- 0.000 | 0.3000 +- 0.0000 | {SCORES} |  |',
  'CycleGAN': (
    f'| CycleGAN | **0.300 +- 0.141** | **0.2000 +- 0.1414** | {SCORES} | '
    '0.58 / 0.22 / 0.16 |'
  ),
  'pix2pix': (
    '| pix2pix* | 0.100 | 0.0000 | 0.750 | 0.500 | 0.250 | 1 of 2 | '
    '0.85 / 0.40 / 0.32 |'
  ),
}
BEST = {
  'SimGAN': (
    '| SimGAN, last | 0.400 +- 0.000 | 0.3000 +- 0.0000 | '
    f'{SCORES} |  |\n'
    '| SimGAN, best by lpips b2a | **0.100 +- 0.000** | **0.0000 +- 0.0000** | '
    f'{SCORES} |  |'
  ),
  'CycleGAN': (
    '| CycleGAN, last | **0.300 +- 0.141** | **0.2000 +- 0.1414** | '
    f'{SCORES} | 0.58 / 0.22 / 0.16 |\n'
    '| CycleGAN, best by lpips b2a | 0.200 +- 0.141 | 0.1000 +- 0.1414 | '
    f'{SCORES} |  |'
  ),
  'pix2pix': (
    '| pix2pix, last* | 0.100 | 0.0000 | 0.750 | 0.500 | 0.250 | 1 of 2 | '
    '0.85 / 0.40 / 0.32 |\n'
    '| pix2pix, best by lpips b2a* | missing | missing | missing | missing | '
    'missing | 0 of 2 |  |'
  ),
}


def golden(trained):
  """Returns the table of models; rows without results are missing."""
  missing = ' | missing' * 5 + ' | 0 of 2 |  |'
  lines = [
    trained.get(row.name, f'| {row.name}{"*" * row.paired}{missing}')
    for row in suites.SUITES['models']
  ]
  truth = '| ground truth |  |  | 0.750 | 0.500 | 0.250 |  |  |'
  return HEAD + '\n'.join([*lines, truth]) + '\n\n'


def made_results(tmp_path, best=''):
  an_experiment = best_by(tmp_path, best, 5) if best else experiment(tmp_path)
  by_run = {row.run: row for row in rows('models')[0]}

  def write(run, seed, l1, best=''):
    kernel = {f'KD (VGG){x}': l1 - 0.1 for x in ('', ' low', ' high')}
    row = by_run[run]
    write_evaluation(an_experiment, row, seed, best, L1=l1, **kernel)

  write('cyclegan', 0, 0.2)
  write('cyclegan', 1, 0.4)
  write('simgan', 0, 0.4)
  write('simgan', 1, 0.4)
  write('pix2pix-paper', 0, 0.1)
  if best:
    write('cyclegan', 0, 0.1, best)
    write('cyclegan', 1, 0.3, best)
    write('simgan', 0, 0.1, best)
    write('simgan', 1, 0.1, best)
  asked = results.Asked(an_experiment, list(by_run.values()), [], 'the command')
  return {'models': asked}


def test_a_table_has_the_form_of_the_paper(tmp_path):
  text = tables.markdown(made_results(tmp_path), {'models': [('A', 'a.png')]})
  assert golden(TRAINED) in text
  assert '- steps: 40\n- seeds: 0, 1\n- config: `--config=card.py`\n' in text
  assert '- code: cyclegan_jax 0.1.0 at abc\n- command: `the command`' in text
  assert '![A](a.png)' in text
  assert 'trained at 128 px' in text and str(tmp_path) not in text


def test_best_weights_have_a_line_below_last_weights(tmp_path):
  made = made_results(tmp_path, 'lpips b2a')
  text = tables.markdown(made, {})
  assert golden(BEST) in text
  assert 'evaluate.every=5' in text and 'so its numbers are optimistic' in text
  assert '- steps: 40\n' in text
  names = dict.fromkeys(
    row['row']
    for row in csv.DictReader(tables.long_form(made).splitlines())
    if row['metric'] == 'L1'
  )
  kinds = 'last', 'best by lpips b2a'
  assert list(names) == [
    'copy the input',
    *(f'{row}, {kind}' for row in ('SimGAN', 'CycleGAN') for kind in kinds),
    'pix2pix, last',
  ]


def test_without_evaluate_best_tables_show_last_weights_only(tmp_path):
  kept = made_results(tmp_path / 'kept', 'lpips b2a')['models']
  plain = made_results(tmp_path / 'plain')['models']
  for form in (lambda x: tables.markdown(x, {}), tables.long_form):
    asked = kept.experiment._replace(
      options=plain.experiment.options, given=plain.experiment.given
    )
    text = form({'models': kept._replace(experiment=asked)})
    assert text == form({'models': plain}) != form({'models': kept})


def test_best_weights_by_another_metric_are_not_shown(tmp_path):
  kept = made_results(tmp_path, 'lpips b2a')['models']
  asked = best_by(tmp_path, 'l1')
  text = tables.markdown({'models': kept._replace(experiment=asked)}, {})
  assert text.count(', best by l1') == len(TRAINED) and 'lpips b2a' not in text
  assert '| SimGAN, best by l1 | missing | missing |' in text


def test_the_long_form_has_every_number(tmp_path):
  text = tables.long_form(made_results(tmp_path))
  found = list(csv.DictReader(text.splitlines()))
  (row,) = (
    r for r in found if (r['row'], r['metric']) == ('CycleGAN', 'KD (VGG) low')
  )
  assert row == {
    'suite': 'models',
    'row': 'CycleGAN',
    'seed count': '2',
    'direction': 'a2b',
    'metric': 'KD (VGG) low',
    'mean': '0.2',
    'deviation': '0.141421',
    'values': '0.1 0.3',
  }


def test_the_best_value_is_bold_except_in_the_limits_suite(tmp_path):
  an_experiment = experiment(tmp_path, seeds=1)
  by_run = {row.run: row for row in rows('models')[0]}
  write_evaluation(an_experiment, by_run['cyclegan'], 0, PSNR=20.0, FID=9.0)
  write_evaluation(an_experiment, by_run['simgan'], 0, PSNR=10.0, FID=8.0)
  asked = results.Asked(an_experiment, list(by_run.values()), [], '')
  text = tables.markdown({'models': asked}, {})
  assert '**20.000**' in text and '**8.000**' in text
  assert '**10.000**' not in text and '**9.000**' not in text
  limits = asked._replace(rows=rows('limits')[0])
  assert '**' not in tables.markdown({'limits': limits}, {}).split('Sec.')[1]


def test_figures_have_one_column_per_row_of_the_suite(tmp_path, rng):
  an_experiment = experiment(tmp_path)
  found = {row.run: row for row in rows('models')[0]}
  for name in ('simgan', 'cyclegan'):
    folder = an_experiment.folder(found[name], 0) / 'pictures'
    folder.mkdir(parents=True)
    for kind in ('a', 'b', 'a2b', 'b2a', 'a2b2a', 'b2a2b'):
      for i in range(3):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{kind}_{i}.png')
  asked = {
    suite: results.Asked(an_experiment, rows(suite)[0], [], '')
    for suite in ('models', 'reconstruction', 'limits')
  }
  figures.write(asked, tmp_path)
  width = {
    path.stem: tiny.pixels(path).shape[1] // 130
    for path in (tmp_path / 'figures').iterdir()
  }
  assert width['models_a2b'] == 3 and width['reconstruction_b2a'] == 2
  there = figures.there(asked, tmp_path)
  assert len(there['models']) == len(there['reconstruction']) == 2
  picture = tiny.pixels(tmp_path / 'figures/models_a2b.png')
  header = len(picture) - (3 * 130 - 2)
  assert header > 0 and picture[:header].min() < 128  # letters
  column = picture[header:, 130:258]
  first = tiny.pixels(
    an_experiment.folder(found['simgan'], 0) / 'pictures/a2b_0.png'
  )
  np.testing.assert_array_equal(column[:128:8, ::8], first)


def call(tmp_path, *words, card='folder'):
  """Calls the real program with a small config; returns its exit code."""
  return program.run(
    experiments.main, tiny.command(card, tmp_path / 'work') + list(words)
  )


@pytest.mark.parametrize(
  'words, line',
  [
    ([], 'no --suite'),
    (['--suite=x'], "--suite='x': choose from"),
    (['--suite=models', '--seeds=0'], '--seeds=0 must be at least 1'),
    (['--suite=models', '--config.directions=a2b'], 'both directions'),
    (['--suite=limits'], 'built-in'),
    (['--suite=models', '--config.evaluate.best=l1'], 'evaluate.every=EPOCHS'),
  ],
)
def test_user_errors_are_one_line(tmp_path, pictures, capsys, words, line):
  root = [f'--config.data.root={pictures}']
  assert call(tmp_path, *root, *words) == 2
  error = capsys.readouterr().err
  assert line in error and error.count('\n') == 1


def test_a_dry_run_prints_commands_and_a_second_program_is_refused(
  tmp_path, pictures, capsys
):
  words = [f'--config.data.root={pictures}', '--suite=losses', '--seeds=1']
  assert call(tmp_path, *words, '--dry-run') == 0
  lines = capsys.readouterr().out.splitlines()
  assert sum('cyclegan_jax.main' in line for line in lines) == len(
    suites.SUITES['losses']
  )
  assert not (tmp_path / 'work').exists()
  with workdir.open_workdir(tmp_path / 'work'):
    assert call(tmp_path, *words) == 2
  assert 'is in use by process' in capsys.readouterr().err


@pytest.mark.slow
def test_a_suite_runs_from_end_to_end(tmp_path, pictures, capsys):
  words = [f'--config.data.root={pictures}', '--suite=reconstruction']
  words += ['--seeds=2', '--jobs=2', '--metrics=l1,psnr']
  words += ['--config.evaluate.every=1', '--config.evaluate.best=l1 b2a']
  assert call(tmp_path, *words) == 0, capsys.readouterr()
  work = pathlib.Path(tmp_path / 'work')
  text = (work / 'tables.md').read_text()
  for name in ('last', 'best by l1 b2a'):
    lines = [x for x in text.splitlines() if f'| CycleGAN, {name} |' in x]
    assert len(lines) == 2  # directions
    assert all('2 of 2' in line and '+-' in line for line in lines)
  assert '- steps: 4\n' in text
  assert tiny.pixels(work / 'figures/reconstruction_a2b.png').size
  before = text, (work / 'tables.csv').read_text()
  capsys.readouterr()
  assert call(tmp_path, *words) == 0
  assert 'start' not in capsys.readouterr().out
  assert before == (
    (work / 'tables.md').read_text(),
    (work / 'tables.csv').read_text(),
  )
