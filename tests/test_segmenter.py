"""Tests of the program that trains a segmenter from label maps."""

import json
import shutil

import numpy as np
import pytest
import tiny
from flax import serialization
from PIL import Image

from cyclegan_jax import segmenter
from cyclegan_jax.common import weights as weights_file
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.sources import Labels
from cyclegan_jax.metrics import (
  segmentation,
  segmenter_model,
  segmenter_training,
)

COLOURS = {'sea': [[30, 60, 160]], 'land': [[110, 140, 60]]}


def made(rng, size=24):
  """Picture of a coast, and its label map with an ignored lake."""
  labels = np.zeros((size, size), np.uint8)
  labels[:, int(rng.integers(6, size - 6)) :] = 1
  if rng.random() < 0.5:
    labels = labels.T
  colours = np.array([c[0] for c in COLOURS.values()])[labels]
  picture = np.clip(colours + rng.normal(0, 10, colours.shape), 0, 255)
  labels[2:5, 2:5] = 255
  return picture.astype(np.uint8), labels


@pytest.fixture(scope='module')
def coasts(tmp_path_factory):
  """Folder with 12 training and 3 test pictures and their label maps."""
  root = tmp_path_factory.mktemp('coasts')
  rng = np.random.default_rng(0)
  for split, count in (('train', 12), ('test', 3)):
    folders = [root / f'{split}{part}' for part in ('A', 'B', 'Labels')]
    for folder in folders:
      folder.mkdir()
    for i in range(count):
      picture, labels = made(rng)
      for folder, array in zip(folders, (picture, picture, labels)):
        Image.fromarray(array).save(folder / f'{i}.png')
  (root / 'classes.json').write_text(json.dumps(COLOURS))
  return root


def run(root, workdir, *flags):
  """Trains a small segmenter; returns the exit code."""
  return program.run(
    segmenter.main,
    [
      'segmenter',
      f'--config={tiny.CONFIGS / "folder.py"}',
      f'--workdir={workdir}',
      f'--config.data.root={root}',
      '--config.data.preprocess=crop',
      '--config.data.crop_size=16',
      '--steps=80',
      '--batch=4',
      '--width=4',
      *flags,
    ],
  )


@pytest.fixture(scope='module')
def trained(coasts, tmp_path_factory):
  folder = tmp_path_factory.mktemp('trained') / 'segmenter'
  assert run(coasts, folder) == 0
  return folder


def weights(folder):
  return (folder / segmenter_model.WEIGHTS).read_bytes()


def test_the_segmenter_learns_label_maps(trained):
  scores = json.loads((trained / 'scores.json').read_text())
  assert set(scores) == {'pixel accuracy', 'class accuracy', 'class IoU'}
  assert scores['pixel accuracy'] > 0.9 and scores['class accuracy'] > 0.9
  config = json.loads((trained / 'config.json').read_text())
  assert config['classes'] == ['sea', 'land'] and config['steps'] == 80
  assert not list(trained.glob('*.part'))


def test_the_segmenter_labels_images_of_any_size(trained):
  segment = segmenter_model.segmenter(trained, 2)
  rng = np.random.default_rng(5)
  for height, width in ((24, 24), (21, 30)):
    picture, labels = made(rng, 30)
    image = (picture / np.float32(127.5) - 1)[:height, :width]
    found = segment(image)
    assert found.shape == (height, width) and found.dtype == np.int64
    counts = segmentation.confusion(found, labels[:height, :width], 2)
    assert segmentation.scores(counts)['pixel accuracy'] > 0.85
  assert segment(image[..., :1]).shape == (21, 30)  # gray


def test_equal_seeds_give_bit_identical_weights(coasts, trained, tmp_path):
  assert run(coasts, tmp_path / 'again') == 0
  assert weights(tmp_path / 'again') == weights(trained)
  assert run(coasts, tmp_path / 'other', '--seed=1') == 0
  assert weights(tmp_path / 'other') != weights(trained)


def test_a_finished_segmenter_is_kept(coasts, trained, monkeypatch, capsys):
  monkeypatch.setattr(segmenter, '_train', None)  # would fail if called
  before = weights(trained)
  assert run(coasts, trained) == 0
  out = capsys.readouterr().out
  assert 'already trained' in out and 'ground truth' in out
  assert weights(trained) == before


def test_other_settings_are_refused(coasts, trained, capsys):
  assert run(coasts, trained, '--steps=81') == 2
  err = capsys.readouterr().err
  assert 'steps was 80, is 81' in err and '--workdir' in err
  assert err.count('\n') == 1


def test_changed_contents_of_pictures_are_refused(
  coasts, trained, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(segmenter, '_train', None)  # would fail if called
  folder, other = tmp_path / 'segmenter', tmp_path / 'data'
  shutil.copytree(trained, folder)
  shutil.copytree(coasts, other)
  assert run(other, folder) == 0
  path = min((other / 'trainA').iterdir())
  with Image.open(path) as image:
    image.rotate(180).save(path)
  assert run(other, folder) == 2
  assert 'pictures was' in capsys.readouterr().err
  # A segmenter of an earlier version has recorded only names.
  config = json.loads((folder / 'config.json').read_text())
  del config['pictures']['files']
  (folder / 'config.json').write_text(json.dumps(config))
  assert run(other, folder) == 0


def test_a_killed_training_starts_again(coasts, trained, tmp_path, monkeypatch):
  """The config is written last; without a config other files are ignored."""
  write, config = segmenter_model.files.write, segmenter_model.CONFIG

  def killed(path, data):
    if path.name == config:
      raise KeyboardInterrupt
    write(path, data)

  with monkeypatch.context() as patch:
    patch.setattr(segmenter_model.files, 'write', killed)
    assert run(coasts, tmp_path) == 130
  assert (tmp_path / segmenter_model.WEIGHTS).exists()
  with pytest.raises(UserError, match='no finished segmenter'):
    segmenter_model.segmenter(tmp_path, 2)
  assert run(coasts, tmp_path) == 0
  assert weights(tmp_path) == weights(trained)


def test_damaged_files_are_named(coasts, trained, tmp_path, capsys):
  folder = tmp_path / 'damaged'
  folder.mkdir()
  for name in (segmenter_model.CONFIG, segmenter_model.WEIGHTS, 'scores.json'):
    (folder / name).write_bytes((trained / name).read_bytes()[:20])
  assert run(coasts, folder) == 2
  assert 'files of the segmenter cannot be read' in capsys.readouterr().err
  (folder / segmenter_model.CONFIG).write_text('{"classes": ["a", "b"]}')
  with pytest.raises(UserError, match='no finished segmenter'):
    segmenter_model.segmenter(folder, 2)


def test_a_segmenter_of_version_0_1_0_is_read(trained, tmp_path):
  """Version 0.1.0 stored the weights in weights.msgpack."""
  segment = segmenter_model.segmenter(trained, 2)
  image = np.linspace(-1, 1, 24 * 24 * 3, dtype=np.float32).reshape(24, 24, 3)
  params = weights_file.read(trained / segmenter_model.WEIGHTS)
  config = (trained / segmenter_model.CONFIG).read_bytes()
  (tmp_path / segmenter_model.CONFIG).write_bytes(config)
  (tmp_path / 'weights.msgpack').write_bytes(
    serialization.msgpack_serialize(params)
  )
  old = segmenter_model.segmenter(tmp_path, 2)
  np.testing.assert_array_equal(old(image), segment(image))


def test_another_number_of_classes_is_refused(trained):
  with pytest.raises(UserError, match='has 2 classes, but the dataset has 19'):
    segmenter_model.segmenter(trained, 19)


def test_missing_label_maps_are_one_line(pictures, tmp_path, capsys):
  assert run(pictures, tmp_path) == 2
  err = capsys.readouterr().err
  assert 'trainLabels' in err and 'classes.json' in err
  assert err.count('\n') == 1


@pytest.mark.parametrize(
  'flag, named',
  [
    ('--steps=0', '--steps=0'),
    ('--seed=-1', '--seed=-1'),
    ('--config.data.crop_size=7', 'data.crop_size=7'),
    ('--config.data.crop_size=32', 'data.crop_size=32'),
    ('--wat=1', 'wat'),
  ],
)
def test_invalid_flags_are_one_line(coasts, tmp_path, capsys, flag, named):
  assert run(coasts, tmp_path, flag) == 2
  err = capsys.readouterr().err
  assert named in err and err.count('\n') == 1


def test_help_lists_flags_and_exit_codes(capsys):
  with pytest.raises(SystemExit) as stop:
    program.run(segmenter.main, ['segmenter', '--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  assert '--steps=N' in out and 'trainLabels' in out and 'Exit codes' in out


def batches(tmp_path, picture, labels, flip=True, side=16):
  Image.fromarray(picture).save(tmp_path / 'picture.png')
  Image.fromarray(labels).save(tmp_path / 'labels.png')
  return segmenter_training.Batches(
    [named(tmp_path / 'picture.png')],
    Labels([named(tmp_path / 'labels.png')], ['sea', 'land'], []),
    Preprocess('crop', 16, side, flip),
    batch_size=8,
    seed=0,
  )


def test_picture_and_label_map_get_equal_crops_and_flips(tmp_path, rng):
  labels = rng.integers(0, 2, (24, 20)).astype(np.uint8)
  picture = np.repeat(labels[..., None] * 255, 3, axis=-1)
  batch = batches(tmp_path, picture, labels)
  images, maps = batch(3)
  assert images.shape == (8, 16, 16, 3) and maps.shape == (8, 16, 16)
  np.testing.assert_array_equal(images[..., 0], maps * 2 - 1)
  assert len({x.tobytes() for x in maps}) == 8
  np.testing.assert_array_equal(batch(3)[1], maps)
  assert (batch(4)[1] != maps).any()


def test_flips_can_be_disabled(tmp_path):
  labels = np.zeros((16, 16), np.uint8)
  labels[:, 8:] = 1
  picture = np.repeat(labels[..., None], 3, axis=-1)
  left = [
    {int(x[0, 0]) for x in batches(tmp_path, picture, labels, flip)(0)[1]}
    for flip in (False, True)
  ]
  assert left == [{0}, {0, 1}]


@pytest.mark.parametrize(
  'labels, named',
  [
    (np.full((16, 16), 2, np.uint8), 'a pixel is 2'),
    (np.zeros((16, 17), np.uint8), '17x16, but its picture is 16x16'),
  ],
)
def test_unsuitable_label_maps_are_refused(tmp_path, labels, named):
  batch = batches(tmp_path, np.zeros((16, 16, 3), np.uint8), labels)
  with pytest.raises(UserError, match=named) as error:
    batch(0)
  assert 'labels.png' in str(error.value) and '\n' not in str(error.value)


def test_the_loss_ignores_label_255():
  scores = np.log(np.array([[[[0.25, 0.75], [0.5, 0.5], [0.1, 0.9]]]]))
  labels = np.array([[[1, 0, 255]]])
  loss = segmenter_training.loss(scores.astype(np.float32), labels)
  assert float(loss) == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2, 1e-5)
  nothing = np.full_like(labels, 255)
  assert segmenter_training.loss(scores.astype(np.float32), nothing) == 0
