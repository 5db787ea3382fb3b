"""Tests of `evaluate`: its rows, its files and one-line errors."""

import json
import shutil
import types

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import evaluate, load_model, main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.config.run import build_data, build_evaluation
from cyclegan_jax.defaults import get_config
from cyclegan_jax.metrics import segmenter_model, test_set
from cyclegan_jax.metrics.labels import CITYSCAPES
from cyclegan_jax.training import evaluation


def argv(model, root=None, *flags, **overrides):
  """Returns the command line, with a config if `root` is given."""
  config = tiny.command('folder', 'x', root, **overrides) if root else []
  config = [x for x in config[1:] if not x.startswith('--workdir')]
  return ['evaluate', *config, f'--model={model}', *flags]


def run(arguments, capsys):
  """Runs evaluate; returns exit code, standard output and standard error."""
  code = program.run(evaluate.main, arguments)
  out, err = capsys.readouterr()
  return code, out, err


def rows(path):
  """Reads {(direction, candidate): row} from a JSON file."""
  content = json.loads(path.read_text())
  return {(x['direction'], x['candidate']): x for x in content['rows']}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  return tiny.save_model(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
  """Folder of pictures with label maps: the left half of A is dark, class 0."""
  root = tmp_path_factory.mktemp('labelled')
  tiny.write_pictures(root, train=(2, 2), test=3, size=16)
  (root / 'testLabels').mkdir()
  labels = np.repeat([[0] * 8 + [1] * 8], 16, axis=0).astype(np.uint8)
  for i in range(3):
    Image.fromarray(labels).save(root / 'testLabels' / f'{i}.png')
    shown = np.repeat(labels[..., None] * 255, 3, -1)
    Image.fromarray(shown).save(root / 'testB' / f'{i}.png')
  classes = {'dark': [0, 0, 0], 'bright': [255, 255, 255]}
  (root / 'classes.json').write_text(json.dumps(classes))
  return root


def test_rows_contain_metrics_of_the_models_translations(
  model, pictures, tmp_path, capsys
):
  path = tmp_path / 'deep' / 'rows.json'
  code, out, err = run(argv(model, pictures, f'--output={path}'), capsys)
  assert code == 0 and err == '' and f'written to {path}' in out
  content = json.loads(path.read_text())
  assert content['model'] == str(model) and content['step'] is None
  found = rows(path)
  assert list(found) == [
    *(('a2b', x) for x in ('translated', 'copy the input', 'another picture')),
    ('a2b2a', 'reconstructed'),
    *(('b2a', x) for x in ('translated', 'copy the input', 'another picture')),
    ('b2a2b', 'reconstructed'),
  ]
  for row in found.values():
    assert list(row) == ['direction', 'candidate', 'L1', 'PSNR', 'SSIM']
  loaded = load_model(model)
  config, _ = flags.parse(tiny.command('folder', 'x', pictures), '')
  data = build_data(config)
  a, b = (np.stack(data.test_images(d)) for d in 'ab')
  there = loaded.translate(a, 'a2b')
  back = loaded.translate(there, 'b2a')
  for key, x, y in (
    (('a2b', 'translated'), there, b),
    (('a2b', 'copy the input'), a, b),
    (('a2b', 'another picture'), b[::-1], b),
    (('a2b2a', 'reconstructed'), back, a),
  ):
    assert found[key]['L1'] == pytest.approx(np.abs(x - y).mean(), abs=1e-6)
  assert '| b2a2b     | reconstructed   |' in out


def test_a_run_is_evaluated_without_a_config(pictures, tmp_path, capsys):
  folder = tmp_path / 'run'
  overrides = {'loss__identity_a': 0.0, 'loss__identity_b': 0.0}
  options = {'evaluate__every': 1, 'evaluate__best': 'l1'} | overrides
  command = tiny.command('folder', folder, pictures, **options)
  assert program.run(main.main, command) == 0
  assert 'best weights:' in capsys.readouterr().out
  code, out, _ = run(argv(folder), capsys)
  path = folder / 'evaluation.json'
  assert code == 0 and f'written to {path}' in out
  assert json.loads(path.read_text())['step'] == 4
  found = rows(path)
  for row in json.loads((folder / 'test_metrics.json').read_text()):
    assert found[row['direction'], row['candidate']] == pytest.approx(
      row, abs=1e-4
    )
  # The last step was evaluated, too.
  kept = evaluation.best_so_far(folder / 'best')
  values = [found[d, 'translated']['L1'] for d in ('a2b', 'b2a')]
  assert kept['step'] == 4
  assert kept['value'] == pytest.approx(np.mean(values), abs=1e-5)
  code, out, _ = run(argv(folder / 'best'), capsys)
  assert code == 0 and 'written' not in out
  assert evaluation.best_so_far(folder / 'best') == kept


def test_label_maps_are_used_in_both_directions(
  model, labelled, tmp_path, capsys
):
  net = segmenter_model.Segmenter(2, 2)
  params = net.init(jax.random.PRNGKey(0), np.zeros((1, 16, 16, 3)))['params']
  config = {'classes': ['dark', 'bright'], 'width': 2}
  segmenter_model.save(tmp_path / 'segmenter', config, params, {})
  path = tmp_path / 'rows.json'
  flags = '--metrics=fcn', f'--output={path}'
  code, _, err = run(
    argv(model, labelled, *flags, f'--segmenter={tmp_path / "segmenter"}'),
    capsys,
  )
  assert code == 0, err
  found = rows(path)
  assert found['a2b', 'true pair'] == {
    'direction': 'a2b',
    'candidate': 'true pair',
    'pixel accuracy': 1.0,
    'class accuracy': 1.0,
    'class IoU': 1.0,
  }
  segment = segmenter_model.segmenter(tmp_path / 'segmenter', 2)
  right = []
  for i in range(3):
    image = tiny.pixels(labelled / 'testA' / f'{i}.png') / 127.5 - 1
    labels = tiny.pixels(labelled / 'testLabels' / f'{i}.png')
    right.append(segment(image) == labels)
  assert found['b2a', 'true pair']['pixel accuracy'] == np.mean(right)
  predictions = tmp_path / 'predictions'
  predictions.mkdir()
  for i in range(3):  # the left three quarters are labelled dark
    labels = np.repeat([[0] * 12 + [1] * 4], 16, axis=0).astype(np.uint8)
    Image.fromarray(labels).save(predictions / f'{i}.png')
  code, _, err = run(
    argv(model, labelled, *flags, f'--predictions={predictions}'), capsys
  )
  assert code == 0, err
  found = rows(path)
  assert found['b2a', 'translated']['pixel accuracy'] == 0.75
  assert ('b2a', 'true pair') not in found


def test_label_maps_are_read_from_the_colours_of_b(tmp_path, capsys):
  tiny.write_pictures(tmp_path, train=(2, 2), test=2, size=20)
  road, sky = (
    CITYSCAPES.colours[CITYSCAPES.classes.index(x)][0] for x in ('road', 'sky')
  )
  shown = np.zeros((20, 20, 3), np.uint8)  # black does not count
  shown[:, 5:10], shown[:, 10:] = road, sky
  for i in range(2):
    Image.fromarray(shown).save(tmp_path / 'testB' / f'{i}.png')
  config, _ = flags.parse(
    tiny.command('folder', 'x', tmp_path, data__preprocess='crop'), ''
  )
  labels = evaluate.coloured_labels(build_data(config), CITYSCAPES)
  assert len(labels) == 2 and labels[0].shape == (16, 16)
  assert labels[0][0].tolist() == [255] * 3 + [0] * 5 + [10] * 8


def test_metrics_of_unpaired_sets_need_test_pictures(model, tmp_path, capsys):
  tiny.write_pictures(tmp_path / 'data', train=(5, 7), test=0)
  for part in ('testA', 'testB'):
    (tmp_path / 'data' / part).rmdir()
  path = tmp_path / 'rows.json'
  names = '--metrics=fd_vgg,kd_vgg'
  arguments = argv(model, tmp_path / 'data', names, f'--output={path}')
  code, _, err = run(arguments, capsys)
  assert code == 2 and err.count('\n') == 1 and not path.exists()
  assert f'no folder {tmp_path}/data/testA and no folder' in err
  assert err.endswith(
    'or measure training pictures with --on-training-pictures\n'
  )
  asked = '--on-training-pictures'
  code, out, err = run([*arguments, asked], capsys)
  assert code == 0, err
  assert 'testB: training pictures of A and B are shown in place' in out
  found = rows(path)
  assert list(found) == [
    (d, x) for d in ('a2b', 'b2a') for x in ('translated', 'copy the input')
  ]
  for row in found.values():
    assert row['KD (VGG) low'] < row['KD (VGG)'] < row['KD (VGG) high']
    assert row['FD (VGG)'] > 0
  assert 'note: FD (VGG): the covariance of 512 features is rank-' in out
  assert 'note: KD (VGG) low and high bound its 95% interval' in out
  code, _, err = run(argv(model, tmp_path / 'data', asked), capsys)
  assert code == 2 and err.count('\n') == 1 and '--metrics=kd_vgg' in err


def test_data_paired_decides_if_pairs_are_compared(model, pictures, capsys):
  code, _, err = run(
    argv(model, pictures, '--metrics=l1', '--config.data.paired=no'), capsys
  )
  assert code == 2 and 'the test pictures are not pairs (data.paired)' in err


@pytest.mark.parametrize('asked', [True, False])
def test_training_measures_training_pictures_only_if_asked(asked, tmp_path):
  """The dataset has side-by-side pairs and no test pictures."""
  tiny.write_pictures(tmp_path, train=(2, 2))
  for name in ('trainB', 'testA', 'testB'):
    shutil.rmtree(tmp_path / name)
  (tmp_path / 'trainA').rename(tmp_path / 'train')
  options = {'evaluate__every': 1, 'evaluate__on_training_pictures': asked}
  line = tiny.command('folder', 'x', tmp_path, **options)
  config, _ = flags.parse([*line, '--config.data.source=aligned'], '')
  data = build_data(config)
  the_run = types.SimpleNamespace(data=data, method=tiny.method())
  if asked:
    tracker = build_evaluation(config, the_run, tmp_path, None)
    assert tracker(1, lambda images, _: images, None).keys() == {
      f'test/{d}/{x}' for d in ('a2b', 'b2a') for x in ('L1', 'SSIM')
    }
    return
  with pytest.raises(UserError) as error:
    build_evaluation(config, the_run, tmp_path, None)
  assert str(error.value) == (
    f'no folder {tmp_path}/test, so training pictures would be measured: add '
    'test pictures, or measure training pictures with '
    '--config.evaluate.on_training_pictures=True'
  )


def test_numbered_training_pictures_are_not_measured_as_pairs(tmp_path):
  tiny.write_pictures(tmp_path, train=(2, 2))
  for name in ('testA', 'testB'):
    shutil.rmtree(tmp_path / name)
  line = tiny.command('folder', 'x', tmp_path)
  for paired in ('auto', 'yes'):
    config, _ = flags.parse([*line, f'--config.data.paired={paired}'], '')
    tests = test_set.truth(build_data(config), on_training_pictures=True)
    assert tests.paired == (paired == 'yes')


def test_a_gray_model_of_one_direction_is_evaluated(pictures, tmp_path, capsys):
  gray = tiny.save_model(
    tmp_path / 'model',
    names=('a2b',),
    data__channels_a=1,
    loss__identity_a=0.0,
    loss__identity_b=0.0,
  )
  path = tmp_path / 'rows.json'
  # The channels come from the model, not from the config.
  code, _, err = run(argv(gray, pictures, f'--output={path}'), capsys)
  assert code == 0, err
  names = ['translated', 'copy the input', 'another picture']
  assert list(rows(path)) == [('a2b', name) for name in names]


@pytest.mark.parametrize(
  'flags, words',
  [
    (['--metrics=ssmi'], ["--metrics='ssmi'", "mean 'ssim'"]),
    (['--metrics=fid'], ['fid needs --inception=FILE', '6726825d.pth']),
    (['--metrics=fid', '--inception=nowhere.pth'], ['nowhere.pth']),
    (['--metrics=kid', '--resize=big'], ["--resize='big'", 'clean']),
    (['--metrics=fcn'], ['fcn needs label maps', 'testLabels']),
    (['--metrics=lpips'], ['too small for AlexNet']),
    (['--palette=camvid'], ["--palette='camvid'", 'cityscapes']),
    (['--palette=cityscapes', '--metrics=fcn'], ['--segmenter=PATH']),
    (
      ['--palette=cityscapes', '--metrics=fcn', '--segmenter=nowhere'],
      ['no folder nowhere'],
    ),
    (
      ['--palette=cityscapes', '--metrics=fcn', '--predictions=nowhere'],
      ['no folder nowhere'],
    ),
    (['--segmenter=x', '--predictions=y'], ['give only one of']),
    (['--subsets=0'], ['--subsets=0', 'at least 2']),
    (['--step=3'], ['is not a run', 'leave out the step']),
    (['--direction=a2b'], ['direction']),
    (['horses'], ['horses', '--help']),
    (['--config.data.crop_size=0'], ['data.crop_size=0']),
    (['--config.data.root=nowhere'], ['no folder nowhere']),
    (['--output=/dev/null/x.json'], ['/dev/null/x.json']),
  ],
)
def test_user_errors_are_one_line(flags, words, model, pictures, capsys):
  code, _, err = run(argv(model, pictures, *flags), capsys)
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


@pytest.mark.parametrize(
  'arguments, words',
  [
    ([], ['no --model']),
    (['--model=nowhere'], ['nowhere', 'give a model']),
    (['--model=x', '--config.data.rot=y'], ['mean --config.data.root?']),
    (['--model=x', '--config.data.load_size=y'], ['data.load_size', 'y']),
    (['--model=x', '--config.generator.width=8'], ['keeps its generator.wid']),
    (['--model=x', '--config.data.channels_a=1'], ['keeps its data.channels']),
    (['--model=x', '--config.evaluate.metrics=l1'], ['use --metrics in this']),
    (['--model=nowhere', '--config.data.root=y'], ['nowhere', 'a model']),
    (['--model=x', '--output=.'], ['--output=. is a folder']),
    (['--model=x', 'horses'], ['horses', '--help']),
    (['--modl=x'], ['modl', 'model']),
    (['--model=x', '--subsets=many'], ['subsets', 'many']),
  ],
)
def test_user_errors_without_a_config_are_one_line(arguments, words, capsys):
  code, _, err = run(['evaluate', *arguments], capsys)
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def test_a_model_without_a_dataset_needs_options(pictures, tmp_path, capsys):
  folder = tiny.save_model(tmp_path / 'model')
  assert get_config().data.source == 'tfds'  # the default source
  code, _, err = run(argv(folder), capsys)
  assert code == 2 and err.count('\n') == 1
  assert str(folder) in err and '--config=configs/NAME.py' in err
  # Following only a part of the advice is not enough.
  root = f'--config.data.root={pictures}'
  assert run(argv(folder, None, root), capsys)[0] == 2
  options = [root, '--config.data.source=folder', '--config.data.load_size=18']
  options += ['--config.data.crop_size=16', f'--output={tmp_path / "x.json"}']
  code, out, err = run(argv(folder, None, *options), capsys)
  assert code == 0 and '| a2b       | translated' in out, err


def test_the_dataset_of_a_model_can_be_changed_by_options(
  pictures, tmp_path, capsys
):
  folder = tiny.save_model(
    tmp_path / 'model',
    data__source='folder',
    data__root=str(tmp_path / 'moved'),
  )
  path = tmp_path / 'rows.json'
  flags = ['--metrics=l1', f'--output={path}']
  code, _, err = run(argv(folder, None, *flags), capsys)
  assert code == 2 and f'no folder {tmp_path / "moved"} (data.root)' in err
  root = f'--config.data.root={pictures}'
  assert run(argv(folder, None, *flags, root), capsys)[0] == 0
  changed = rows(path)
  assert run(argv(folder, pictures, *flags), capsys)[0] == 0
  assert rows(path) == changed


def test_data_root_alone_does_not_replace_the_built_in_dataset(
  pictures, tmp_path, capsys
):
  folder = tiny.save_model(tmp_path / 'model', data__source='builtin')
  root = f'--config.data.root={pictures}'
  code, _, err = run(argv(folder, None, root), capsys)
  assert code == 2 and 'add --config.data.source=folder' in err


def test_help_lists_every_flag(capsys):
  with pytest.raises(SystemExit) as stop:
    program.run(evaluate.main, ['evaluate', '--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  for flag in (*evaluate.FLAGS, 'config', 'help'):
    assert f'--{flag}' in out
  assert '--direction' not in out
