"""Runs, models and pictures in a bucket: gs://BUCKET/NAME."""

import functools
import json
import os
import pathlib
import socket

import numpy as np
import pytest
import tiny

from cyclegan_jax import (
  cli,
  evaluate,
  evaluation,
  files,
  main,
  model,
  picture_files,
  report,
  train,
  translate,
)
from cyclegan_jax.data import decode, sources
from cyclegan_jax.errors import UserError
from cyclegan_jax.log import Log


def one_line(program, argv, capsys, *words):
  """The program ends with exit code 2 and one line that has the words."""
  code = cli.run(program.main, argv)
  err = capsys.readouterr().err
  assert code == 2
  assert err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def upload(folder, to):
  files.copy_below(folder, to)
  return to


def test_local_paths_are_as_before(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert files.place('~/x') == tmp_path / 'x'
  assert isinstance(files.place('x'), pathlib.Path)
  assert files.absolute(files.place('x')) == pathlib.Path('x').absolute()
  assert not files.remote('runs/gs')


def test_other_addresses_are_refused():
  with pytest.raises(UserError, match='s3://a/b.*only gs://'):
    files.place('s3://a/b')


def test_without_the_package_it_says_what_to_install(monkeypatch):
  monkeypatch.setattr(files, '_installed', lambda module: False)
  with pytest.raises(UserError, match=r'gs://a/b needs .*\[gcs\]'):
    files.place('gs://a/b')


def test_files(bucket):
  folder = bucket / 'files'
  for name in ('b.txt', 'deep/down/a.bin', 'a.txt'):
    files.write(folder / name, name)
  files.write(folder / 'a.txt', b'again')
  assert (folder / 'a.txt').read_text() == 'again'
  there = [str(path) for path in files.below(folder)]
  assert there == [
    f'gs://bucket/files/{name}'
    for name in ('a.txt', 'b.txt', 'deep/down/a.bin')
  ]
  files.remove(folder)
  files.remove(folder)
  assert not files.below(folder)


def test_a_link_takes_the_place_of_another(bucket):
  files.write(bucket / 'links' / 'at_1' / 'x', 'one')
  link = bucket / 'links' / 'best'
  assert files.resolved(link) == link
  for name in ('at_1', 'at_2'):
    files.link(link, link.with_name(name))
    assert files.resolved(link) == link.with_name(name)


def test_the_best_is_kept(bucket):
  kept = []

  def save(folder, params):
    files.write(folder / 'weights', str(params))
    kept.append(folder)

  best = bucket / 'tracked' / 'best'
  tracker = evaluation.Tracker(
    None, ('a2b',), [], ('l1', 'L1', ['a2b'], 1), best, save
  )
  for step, value in ((1, 0.5), (2, 0.7), (3, 0.25)):
    row = {'direction': 'a2b', 'L1': value}
    tracker._keep(step, [row], params=value)
  assert evaluation.best_so_far(best)['step'] == 3
  assert (files.resolved(best) / 'weights').read_text() == '0.25'
  assert len(kept) == 2 and not files.below(kept[0])


def test_a_log_has_each_step_once(bucket):
  folder = bucket / 'log'
  first = Log(folder, 0)
  for step in (1, 2, 3):
    first.numbers(step, {'loss': np.float32(step)}, {})
    if step == 2:
      first.flush()
  assert len((folder / 'metrics.jsonl').read_text().splitlines()) == 2
  first.close()
  second = Log(folder, 1)
  second.numbers(2, {'loss': np.float32(5)}, {})
  second.sample(2, np.zeros((8, 8, 3), np.uint8))
  second.close()
  texts = (folder / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(x) for x in texts] == [
    {'step': 1, 'loss': 1.0},
    {'step': 2, 'loss': 5.0},
  ]
  assert events(folder / 'tensorboard') == [(1, 'loss'), (2, 'loss'), (2, '')]
  assert (folder / 'samples' / 'step_0000002.png').exists()


def events(board):
  """(step, tag) of the scalars that TensorBoard finds, '' for pictures."""
  import tensorflow as tf
  from tensorboard.compat.proto import event_pb2

  found = []
  for path in sorted(board.glob('*tfevents*')):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      event = event_pb2.Event.FromString(record)
      for value in event.summary.value:
        tag = '' if 'samples' in value.tag else value.tag
        found.append((event.step, tag))
  return found


def test_pictures(bucket, pictures):
  root = upload(pictures, bucket / 'pictures')
  here, there = sources.folder(str(pictures)), sources.folder(str(root))
  assert there.paired == here.paired
  for domain in 'ab':
    pairs = list(zip(here.train[domain], there.train[domain], strict=True))
    assert all(p.name.endswith(q.data.name) for p, q in pairs)
    same = [decode.load(p, 3, lambda *size: size) for p in pairs[0]]
    np.testing.assert_array_equal(*same)


def test_pictures_to_translate(bucket, pictures):
  root, output = bucket / 'to_translate', bucket / 'translated'
  upload(pictures / 'testA', root / 'x')
  for source in (root, f'{root}/x/*.png'):
    jobs = picture_files.find(str(source), output, 'png')
    assert [job.picture.name for job in jobs] == [
      f'{root}/x/{i}.png' for i in range(2)
    ]
  assert jobs[0].output == output / '0.png'
  with pytest.raises(UserError, match='is the folder of the pictures'):
    picture_files.find(str(root), root, 'png')


def test_a_bucket_that_is_not_there(bucket, pictures, tmp_path, capsys):
  for argv in (
    tiny.command('folder', 'gs://nowhere/run', pictures),
    tiny.command('folder', 'gs://bucket/none', 'gs://nowhere/pictures'),
  ):
    one_line(main, argv, capsys, 'gs://nowhere/')
  argv = ['report', '--workdir=gs://nowhere/run']
  one_line(report, argv, capsys, 'gs://nowhere/run')
  made = tiny.save_model(tmp_path / 'model')
  argv = ['translate', f'--model={made}', '--direction=a2b']
  argv += [f'--input={pictures / "testA"}', '--output=gs://nowhere/made']
  one_line(translate, argv, capsys, 'gs://nowhere/made')


def test_no_permission(bucket, pictures, capsys):
  argv = tiny.command('folder', 'gs://forbidden/run', pictures)
  one_line(main, argv, capsys, 'gs://forbidden/run (--workdir)', '403')
  argv = tiny.command('folder', bucket / 'none', 'gs://forbidden/set')
  one_line(main, argv, capsys, 'gs://forbidden/set')


def test_no_network(bucket, pictures, capsys, monkeypatch):
  try:
    socket.gethostbyname('www.googleapis.com')
    pytest.skip('there is one')
  except OSError:
    monkeypatch.delenv('https_proxy')
  argv = tiny.command('folder', 'gs://bucket/run', pictures)
  one_line(main, argv, capsys, 'gs://bucket/run (--workdir)')


@pytest.mark.parametrize(
  'call',
  [
    lambda: files.local('gs://bucket/x.onnx', '--output'),
    lambda: sources.satellite2map('gs://bucket/set'),
  ],
)
def test_what_is_for_this_machine_alone(call):
  with pytest.raises(UserError, match='gs://bucket/.* must be on this machine'):
    call()


@pytest.mark.slow
def test_a_run_in_a_bucket_is_one_on_a_disk(
  bucket, pictures, tmp_path, monkeypatch, capsys
):
  root = upload(pictures, bucket / 'set')
  options = {'log__checkpoint_every': 1, 'log__keep': 1, 'seed': 3}
  here, there = tmp_path / 'run', bucket / 'run'
  argv = tiny.command('folder', there, root, log__sample_every=4, **options)
  assert not cli.run(
    main.main,
    tiny.command('folder', here, pictures, log__sample_every=4, **options),
  )
  with monkeypatch.context() as patch:
    patch.setattr(train, 'train', functools.partial(train.train, stop_at=2))
    assert cli.run(main.main, argv) == 130
  assert not cli.run(main.main, [*argv, '--profile=2:1'])
  assert 'from step 2' in capsys.readouterr().out
  assert not os.path.exists('gs:')
  for name in ('metrics.jsonl', 'parameters.txt', 'test_metrics.md'):
    assert (there / name).read_text() == (here / name).read_text()
  one, other = (model.load(str(folder)) for folder in (here, there))
  assert one.step == other.step == 4
  tiny.assert_same(one.params, other.params)
  assert [p.name for p in (there / 'checkpoints').iterdir()] == ['4']
  assert files.below(there / 'tensorboard' / 'plugins')
  read_it(here, there, root, tmp_path, capsys)


def read_it(here, there, root, tmp_path, capsys):
  """The programs read the run in the bucket, and find what it is here."""
  for place in (tmp_path, there.parent):
    flags = [f'--model={there}', '--direction=a2b', f'--input={root}/testA']
    argv = ['translate', *flags, f'--output={place / "made"}']
    assert not cli.run(translate.main, argv)
  for path in files.below(tmp_path / 'made'):
    made = there.parent / 'made' / path.name
    assert made.read_bytes() == path.read_bytes()
  assert not cli.run(report.main, ['report', f'--workdir={there}'])
  assert (there / 'report' / 'index.html').exists()
  for run in (here, there):
    argv = ['evaluate', f'--model={run}', '--metrics=l1']
    assert not cli.run(evaluate.main, argv)
  rows = [
    json.loads((run / 'evaluation.json').read_text())['rows']
    for run in (here, there)
  ]
  assert rows[0] == rows[1]
