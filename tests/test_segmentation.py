"""Tests of the FCN score, of label maps and of ONNX segmenters."""

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import reader
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.metrics import labels as label_maps
from cyclegan_jax.metrics import segmentation, segmenter_model

# Rows are true classes: 5 pixels of class 0, 3 of class 1, none of class 2.
MATRIX = np.array([[4, 0, 1], [1, 2, 0], [0, 0, 0]])


def save(path, array, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array, np.uint8), **options).save(path)
  return named(path)


def test_confusion_counts_true_against_predicted():
  true = np.array([[0, 0, 0, 1], [1, 2, 255, 255]])
  predicted = np.array([[0, 0, 1, 1], [2, 2, 0, 255]])
  counts = segmentation.confusion(predicted, true, 3)
  assert counts.dtype == np.int64
  np.testing.assert_array_equal(counts, [[2, 1, 0], [0, 1, 1], [0, 0, 1]])
  # 8-bit maps of many classes don't overflow.
  high = np.full((1, 2), 200, np.uint8)
  assert segmentation.confusion(high, high, 201)[200, 200] == 2


def test_scores_equal_a_count_by_hand():
  scores = segmentation.scores(np.array([[3, 1], [2, 4]]))
  assert scores == pytest.approx(
    {
      'pixel accuracy': 7 / 10,
      'class accuracy': (3 / 4 + 4 / 6) / 2,
      'class IoU': (3 / 6 + 4 / 7) / 2,
    }
  )


def test_classes_that_cannot_be_scored_are_left_out():
  scores = segmentation.scores(MATRIX)
  assert scores == pytest.approx(
    {
      'pixel accuracy': 6 / 8,
      'class accuracy': (4 / 5 + 2 / 3) / 2,
      'class IoU': (4 / 6 + 2 / 3 + 0) / 3,  # class 2 is predicted wrongly
    }
  )
  wider = np.zeros((4, 4), int)
  wider[:3, :3] = MATRIX
  assert segmentation.scores(wider) == scores
  assert segmentation.scores(np.zeros((3, 3), int)) == {}


@pytest.mark.parametrize(
  'predicted, true, named',
  [
    ([[0, 2]], [[0, 1]], 'predicted label map holds 2'),
    ([[0, 255]], [[0, 1]], 'predicted label map holds 255'),
    ([[0, -1]], [[0, 1]], 'predicted label map holds -1'),
    ([[0, 1]], [[0, 7]], 'true label map holds 7'),
    ([[0, 1]], [[0], [1]], '2x1 pixels, but the true label map has 1x2'),
  ],
)
def test_unsuitable_label_maps_are_refused(predicted, true, named):
  with pytest.raises(UserError, match=named) as error:
    segmentation.confusion(predicted, true, 2)
  assert '\n' not in str(error.value)


def test_nearest_colour_is_the_nearest_of_all(rng):
  image = rng.uniform(-1, 1, (9, 7, 3)).astype(np.float32)
  colours = [rng.integers(0, 256, (n, 3)).tolist() for n in (1, 3, 2)]
  flat = np.concatenate(colours)
  distances = ((image[:, :, None] + 1) * 127.5 - flat) ** 2
  nearest = np.repeat([0, 1, 2], [1, 3, 2])[distances.sum(-1).argmin(-1)]
  np.testing.assert_array_equal(
    label_maps.nearest_colour(image, colours), nearest
  )
  assert set(nearest.flat) == {0, 1, 2}
  # Of equally near colours the first is used.
  grey = np.zeros((1, 1, 3), np.float32)
  tie = [[(0, 127.5, 127.5)], [(255, 127.5, 127.5)]]
  assert label_maps.nearest_colour(grey, tie) == 0


def test_cityscapes_pictures_are_read_by_colours():
  palette = label_maps.CITYSCAPES
  colours = np.array([c[0] for c in palette.colours] + palette.void)
  assert len(palette.classes) == len(palette.colours) == 19
  assert len({tuple(c) for c in colours}) == len(colours) == 29
  image = (colours / np.float32(127.5) - 1)[None]
  labels = label_maps.labels_of_picture(image, palette)[0].tolist()
  assert labels == [*range(19), *[255] * 10]
  # Colours of JPEG files deviate slightly.
  noisy = np.clip(image + 0.02, -1, 1)
  assert label_maps.labels_of_picture(noisy, palette)[0].tolist() == labels


def test_cityscapes_ids_become_train_ids():
  palette = label_maps.CITYSCAPES
  ids = np.array([[7, 8, 11, 26, 33], [0, 9, 18, 30, 255]], np.uint8)
  np.testing.assert_array_equal(
    label_maps.train_ids(ids, palette), [[0, 1, 2, 13, 18], [255] * 5]
  )
  assert palette.ids == sorted(set(palette.ids))
  named = dict(zip(palette.classes, palette.ids))
  assert (named['sky'], named['train'], named['pole']) == (23, 31, 17)


def test_resized_labels_are_not_interpolated():
  labels = np.array([[0, 255], [4, 9]])
  np.testing.assert_array_equal(
    label_maps.resize_labels(labels, 4, 2),
    [[0, 255], [0, 255], [4, 9], [4, 9]],
  )
  large = np.arange(36).reshape(6, 6)
  np.testing.assert_array_equal(
    label_maps.resize_labels(large, 2, 3),
    [[7, 9, 11], [25, 27, 29]],
  )
  np.testing.assert_array_equal(label_maps.resize_labels(large, 6, 6), large)


@pytest.mark.parametrize('mode', ['L', 'P'])
def test_a_label_map_is_read_as_stored(tmp_path, mode, rng):
  labels = rng.integers(0, 20, (8, 9))
  image = Image.fromarray(labels.astype(np.uint8))
  if mode == 'P':
    image.putpalette([255 - i // 3 for i in range(768)])
  image.save(tmp_path / 'x.png')
  with Image.open(tmp_path / 'x.png') as stored:
    assert stored.mode == mode
  read = label_maps.label_map(named(tmp_path / 'x.png'))
  np.testing.assert_array_equal(read, labels)


def test_colour_and_damaged_files_are_refused_as_label_maps(tmp_path, rng):
  colours = save(tmp_path / 'rgb.png', rng.integers(0, 256, (8, 8, 3)))
  damaged = save(tmp_path / 'cut.png', rng.integers(0, 256, (64, 64)))
  damaged.data.write_bytes(damaged.data.read_bytes()[:900])
  for picture in (colours, damaged):
    with pytest.raises(UserError, match=picture.data.name) as error:
      label_maps.label_map(picture)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('mode', ['crop', 'resize_and_crop', 'scale_width'])
def test_test_labels_are_aligned_with_their_pictures(tmp_path, mode):
  """The picture is its own label map, so both must show the same region."""
  labels = np.zeros((24, 32), np.uint8)
  labels[8:, 12:] = 1
  picture = save(tmp_path / 'picture.png', labels * 255)
  preprocess = Preprocess(mode, 16, 16)
  image = reader.load_test_image(picture, preprocess, 1)
  shown = label_maps.test_labels(
    save(tmp_path / 'labels.png', labels), preprocess
  )
  assert shown.shape == image.shape[:2]
  clear = np.abs(image[..., 0]) > 0.9  # not on a resized edge
  assert clear.mean() > 0.7
  np.testing.assert_array_equal(shown[clear], image[clear][:, 0] > 0)


def test_predicted_labels_are_found_by_name(tmp_path):
  for i, name in enumerate(('b', 'sub/a', 'unused')):
    save(tmp_path / 'maps' / f'{name}.png', np.full((8, 8), i))
  (tmp_path / 'maps' / 'a.txt').touch()
  maps = label_maps.predicted_labels(
    tmp_path / 'maps', ['else/testA/a.jpg', '/else/testA/b.jpg']
  )
  assert [int(x[0, 0]) for x in maps] == [1, 0]


@pytest.mark.parametrize(
  'names, named',
  [
    (['a.png', 'c.jpg'], 'maps/c.png'),
    (['x/a.png', 'y/a.png'], 'two files named a among the test pictures'),
    (['twice.png'], 'two files named twice below'),
  ],
)
def test_missing_or_ambiguous_predicted_labels_are_refused(
  tmp_path, names, named
):
  for name in ('a.png', 'twice.png', 'sub/twice.bmp'):
    save(tmp_path / 'maps' / name, np.zeros((8, 8)))
  with pytest.raises(UserError, match=named) as error:
    label_maps.predicted_labels(tmp_path / 'maps', names)
  assert '\n' not in str(error.value)


def test_a_missing_folder_of_predictions_is_named(tmp_path):
  with pytest.raises(UserError, match='no folder .*nowhere'):
    label_maps.predicted_labels(tmp_path / 'nowhere', [])


# An ONNX segmenter of three shades: the class of a pixel has the largest value
# of weight times red channel plus bias.
WEIGHTS, BIASES = [-1.0, 0.0, 1.0], [0.0, 0.5, 0.0]


def onnx_file(
  path,
  *,
  layout='nchw',
  out='nchw',
  metadata=None,
  size=('h', 'w'),
  dtype='FLOAT',
  channels=3,
  numbers=False,
  scale=1 / 127.5,
  strides=1,
):
  """Writes an ONNX model with the scores above of x * scale - 1."""
  onnx = pytest.importorskip('onnx')
  pytest.importorskip('onnxruntime')
  helper, kinds = onnx.helper, onnx.TensorProto
  kernel = np.zeros((len(WEIGHTS), channels, 1, 1), np.float32)
  kernel[:, 0, 0, 0] = WEIGHTS
  constants = {
    'scale': np.array(scale, np.float32),
    'one': np.array(1, np.float32),
    'kernel': kernel,
    'bias': np.array(BIASES, np.float32),
  }
  node = helper.make_node
  nodes = [node('Cast', ['in'], ['float'], to=kinds.FLOAT)]
  nhwc_in, nhwc_out = layout == 'nhwc', out == 'nhwc'
  perm = [0, 3, 1, 2] if nhwc_in else [0, 1, 2, 3]
  nodes += [
    node('Transpose', ['float'], ['first'], perm=perm),
    node('Mul', ['first', 'scale'], ['scaled']),
    node('Sub', ['scaled', 'one'], ['x']),
    node('Conv', ['x', 'kernel', 'bias'], ['y'], strides=[strides] * 2),
  ]
  if numbers:
    nodes.append(node('ArgMax', ['y'], ['out'], axis=1, keepdims=0))
    output = helper.make_tensor_value_info('out', kinds.INT64, [1, 'p', 'q'])
  else:
    perm = [0, 2, 3, 1] if nhwc_out else [0, 1, 2, 3]
    nodes.append(node('Transpose', ['y'], ['out'], perm=perm))
    shape = [1, 'p', 'q', 3] if nhwc_out else [1, 3, 'p', 'q']
    output = helper.make_tensor_value_info('out', kinds.FLOAT, shape)
  shape = [1, *size, channels] if nhwc_in else [1, channels, *size]
  given = helper.make_tensor_value_info('in', getattr(kinds, dtype), shape)
  graph = helper.make_graph(
    nodes,
    'segmenter',
    [given],
    [output],
    [onnx.numpy_helper.from_array(x, name) for name, x in constants.items()],
  )
  model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8
  )
  helper.set_model_props(model, metadata or {})
  path.write_bytes(model.SerializeToString())
  return path


# The scores of x are -x, 0.5 and x: class 0 below -0.5, class 2 above 0.5.
LABELS = np.array([[0, 1, 2], [2, 0, 1], [1, 1, 0], [0, 2, 2]])
IMAGE = np.array([-0.8, 0.1, 0.8], np.float32)[LABELS][..., None]


@pytest.mark.parametrize(
  'options',
  [
    {},
    {'layout': 'nhwc'},
    {'out': 'nhwc'},
    {'layout': 'nhwc', 'out': 'nhwc'},
    {'numbers': True},
    {'dtype': 'UINT8'},
    {'metadata': {'input_range': '0..1'}, 'scale': 2.0},
    {'metadata': {'input_range': '-1..1', 'other': 'x'}, 'scale': 'none'},
  ],
  ids=str,
)
def test_onnx_segmenters_label_images(tmp_path, options):
  if options.get('scale') == 'none':  # x * 1 - 1 shifts the range [-1, 1]
    options = options | {'scale': 1.0}
    image, expected = IMAGE, np.where(LABELS == 2, 1, 0)
  else:
    image, expected = IMAGE, LABELS
  path = onnx_file(tmp_path / 'x.onnx', **options)
  segment = segmenter_model.segmenter(path, 3)
  labels = segment(np.repeat(image, 3, axis=-1))
  assert labels.dtype == np.int64
  np.testing.assert_array_equal(labels, expected)
  np.testing.assert_array_equal(segment(image), expected)  # gray


def test_an_onnx_segmenter_of_fixed_size_labels_images(tmp_path):
  path = onnx_file(tmp_path / 'x.onnx', size=(16, 12))
  np.testing.assert_array_equal(
    segmenter_model.segmenter(path, 3)(IMAGE), LABELS
  )


@pytest.mark.parametrize(
  'options, classes, named',
  [
    ({}, 2, 'has 3 classes, but the dataset has 2'),
    ({'channels': 4}, 3, 'needs one input'),
    ({'metadata': {'input_range': '0-255'}}, 3, "input_range='0-255'"),
    ({'strides': 2}, 3, r'gives float32 \[1, 3, 2, 2\] for a picture of 3x4'),
    ({'dtype': 'DOUBLE'}, 3, 'fails: '),
  ],
)
def test_unsuitable_onnx_segmenters_are_refused(
  tmp_path, options, classes, named
):
  path = onnx_file(tmp_path / 'x.onnx', **options)
  with pytest.raises(UserError, match=named) as error:
    segmenter_model.segmenter(path, classes)(IMAGE)
  assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_missing_or_damaged_segmenters_are_refused(tmp_path):
  pytest.importorskip('onnxruntime')
  (tmp_path / 'damaged.onnx').write_bytes(b'no graph')
  (tmp_path / 'empty').mkdir()
  for name, reason in {
    'missing.onnx': 'no file',
    'damaged.onnx': 'cannot be read as an ONNX file',
    'missing': 'no folder',
    'empty': 'no finished segmenter',
  }.items():
    with pytest.raises(UserError, match=reason) as error:
      segmenter_model.segmenter(tmp_path / name, 2)
    assert name in str(error.value) and '\n' not in str(error.value)
