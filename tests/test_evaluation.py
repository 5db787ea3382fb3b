"""Tests of metrics and the test table against numbers computed by hand."""

import pathlib

import numpy as np
import pytest

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics.base import Metric, Needs
from cyclegan_jax.metrics.pixels import PAIRED_METRICS, dice, pixel_accuracy
from cyclegan_jax.metrics.registry import make
from cyclegan_jax.metrics.table import CANDIDATES, Truth, markdown, table
from cyclegan_jax.training import evaluation


def flat(value, size=16):
  return np.full((size, size, 3), value, np.float32)


def test_l1_and_psnr_equal_a_count_by_hand():
  assert PAIRED_METRICS['L1'](flat(0.5), flat(0.0)) == 0.5
  # 10 log10(range^2 / mse) = 10 log10(4 / 0.01)
  assert PAIRED_METRICS['PSNR'](flat(0.1), flat(0.0)) == pytest.approx(
    26.0206, abs=1e-3
  )


def test_psnr_of_equal_images_is_finite():
  assert PAIRED_METRICS['PSNR'](flat(0.1), flat(0.1)) == 100.0


def test_ssim_equals_values_by_hand(rng):
  image = rng.uniform(-1, 1, (16, 16, 3)).astype(np.float32)
  ssim = PAIRED_METRICS['SSIM']
  assert ssim(image, image) == pytest.approx(1.0)
  # Constants: (2 x y + c1) / (x^2 + y^2 + c1), c1 = (0.01 * 2)^2.
  assert ssim(flat(0.5), flat(0.25)) == pytest.approx(
    (0.25 + 4e-4) / (0.3125 + 4e-4), rel=1e-3
  )
  assert abs(ssim(image, image[::-1, ::-1])) < 0.3
  assert ssim(image[:9, :8], image[:9, :8]) == pytest.approx(1.0)


def test_dice_equals_a_count_by_hand():
  true = np.full((2, 2, 1), -1.0)
  true[0] = 1.0  # two of four pixels
  fake = np.full((2, 2, 1), 0.2)
  fake[0, 0] = -0.2  # three pixels, of which one is true
  assert dice(fake, true) == pytest.approx(2 * 1 / (2 + 3))
  assert dice(true, true) == 1.0 and dice(-true, true) == 0.0
  empty = np.full((2, 2, 1), -0.5)
  assert dice(empty, empty) == 1.0 and dice(empty, true) == 0.0
  # The middle of the range does not count as above the middle.
  assert dice(np.zeros((2, 2, 1)), empty) == 1.0
  # The mean of channels: 0.4, 1 and 0.
  channels = [(fake, true), (empty, empty), (empty, true)]
  both = (np.concatenate(x, axis=-1) for x in zip(*channels))
  assert dice(*both) == pytest.approx(1.4 / 3)
  (metric,) = make(['dice'], Needs(paired=True))
  assert (metric.columns, metric.best) == (('Dice',), 'high')


def test_dice_of_nan_is_nan():
  assert np.isnan(dice(flat(np.nan), flat(-1.0)))


def test_pixel_accuracy_takes_the_nearest_colour_of_any_class():
  colours = [[[0, 0, 255], [0, 0, 100]], [[0, 255, 0]]]
  image = np.array([[[0, 0, 90], [0, 200, 30], [0, 0, 240], [255, 0, 0]]])
  labels = np.array([[0, 1, 1, 255]])
  assert pixel_accuracy(image / 127.5 - 1, labels, colours) == (2, 3)


LABELS = np.repeat([[0] * 8 + [1] * 8], 16, axis=0)
BLACK_WHITE = [[[0, 0, 0]], [[255, 255, 255]]]


def halves():
  """Test pairs: B shows LABELS (0 is black, 1 is white), A the inverse."""
  truth = np.where(LABELS[..., None] == 1, 1.0, -1.0) * flat(1.0)
  return Truth(
    {'a': [flat(0.0), flat(0.0)], 'b': [truth, -truth]},
    paired=True,
    labels=[LABELS, LABELS],
    colours=BLACK_WHITE,
  )


def brighter(images, direction):
  return images + (1.0 if direction == 'a2b' else -1.0)


def rows_of(tests, names, translate=brighter, directions=('a2b',), **options):
  needs = Needs(tests.paired, directions, tests.colours, **options)
  chosen = make(names, needs)
  return {
    (row['direction'], row['candidate']): row
    for row in table(translate, tests, directions, chosen)
  }


def test_the_table_has_all_candidates():
  rows = rows_of(halves(), ['l1', 'palette'])
  assert list(rows) == [('a2b', name) for name in CANDIDATES[:4]]
  numbers = {name: row for (_, name), row in rows.items()}
  assert (
    numbers['translated']['L1'] == 1.0
  )  # all white: half of the pixels are right
  assert numbers['translated']['pixel accuracy'] == 0.5
  assert numbers['copy the input']['L1'] == 1.0
  assert numbers['another picture']['L1'] == 2.0
  assert numbers['true pair']['pixel accuracy'] == 0.5
  assert 'L1' not in numbers['true pair']
  text = markdown(list(rows.values())).splitlines()
  assert len({len(line) for line in text}) == 1 and len(text) == 6


def test_reconstructions_are_compared_with_the_input():
  rows = rows_of(halves(), ['l1'], directions=('a2b', 'b2a'))
  # Translating back inverts, except for values outside of [-1, 1].
  assert rows['a2b2a', 'reconstructed']['L1'] == 0.0
  assert rows['b2a2b', 'reconstructed']['L1'] == 0.0
  once = rows_of(
    halves(),
    ['l1'],
    lambda images, direction: images + 0.25,
    directions=('a2b', 'b2a'),
  )
  assert once['a2b2a', 'reconstructed']['L1'] == 0.5
  assert ('a2b2a', 'reconstructed') not in rows_of(halves(), ['l1'])


def test_fcn_scores_are_computed_in_both_directions():
  tests = halves()
  right, wrong = LABELS, 1 - LABELS
  tests = tests._replace(predicted=[right, wrong[::2, ::2]])
  rows = rows_of(tests, ['fcn'], directions=('a2b', 'b2a'), predicted=True)
  there = rows['a2b', 'translated']  # all white, class 1
  assert there['pixel accuracy'] == 0.5
  assert (
    there['class accuracy'] == 0.5
  )  # class 0: none right, class 1: all right
  assert there['class IoU'] == 0.25  # 0 and 1/2
  back = rows['b2a', 'translated']
  assert back['pixel accuracy'] == 0.5
  assert back['class IoU'] == pytest.approx(
    1 / 3
  )  # 1 of 3 parts for both classes
  assert ('b2a', 'true pair') not in rows  # B has no predicted labels


def test_pixels_of_label_255_do_not_count():
  labels = LABELS.copy()
  labels[:, :8] = 255
  rows = rows_of(halves()._replace(labels=[labels, labels]), ['palette'])
  assert rows['a2b', 'translated']['pixel accuracy'] == 1.0
  nothing = np.full_like(LABELS, 255)
  assert not rows_of(halves()._replace(labels=[nothing] * 2), ['palette'])


def test_batching_mixed_sizes_does_not_change_metrics(rng):
  sizes = (16, 16, 16, 20, 20, 16)
  pictures = {
    d: [rng.uniform(-1, 1, (s, 16, 3)).astype(np.float32) for s in sizes]
    for d in 'ab'
  }
  tests = Truth(pictures, paired=True)
  chosen = make(['l1', 'ssim'], Needs(paired=True))
  shapes = []

  def translate(images, direction):
    shapes.append(images.shape[:2])
    return images * 0.5

  alone, joined = (
    table(translate, tests, ('a2b', 'b2a'), chosen, batch=n) for n in (1, 2)
  )
  assert {(2, 16), (1, 16), (2, 20)} <= set(shapes)
  assert [row.keys() for row in alone] == [row.keys() for row in joined]
  for one, other in zip(alone, joined):
    assert one == pytest.approx(other, abs=1e-6)


def means(size):
  """Metric of unpaired sets: the distance of mean colours."""
  return Metric(
    'means',
    'sets',
    ('D',),
    lambda x, y: {'D': float(np.abs(x.mean(0) - y.mean(0)).max())},
    lambda images: images.mean((1, 2)),
    size=size,
  )


def test_unpaired_sets_have_metrics_of_sets(rng):
  shift = np.float32(0.25)
  a = [rng.uniform(-0.5, 0.5, (16, 16, 3)).astype(np.float32) for _ in range(3)]
  tests = Truth({'a': a, 'b': [x + shift for x in (*a, *a)]}, paired=False)
  reals = {}
  rows = table(
    lambda images, direction: images + shift,
    tests,
    ('a2b', 'b2a'),
    [means(3)],
    reals=reals,
  )
  found = {(row['direction'], row['candidate']): row['D'] for row in rows}
  assert found == pytest.approx(
    {
      ('a2b', 'translated'): 0.0,
      ('a2b', 'copy the input'): 0.25,
      ('b2a', 'translated'): 0.5,
      ('b2a', 'copy the input'): 0.25,
    },
    abs=1e-6,
  )
  assert (
    len(reals) == 2
  )  # features of the true pictures are computed once per domain


def test_nan_is_left_out_of_the_table():
  broken = means(3)._replace(score=lambda x, y: {'D': float('nan')})
  assert not table(brighter, halves(), ('a2b',), [broken])


def test_gray_inputs_are_compared_in_every_channel():
  tests = halves()._replace(labels=None, colours=None)
  tests.pictures['a'] = [x[..., :1] for x in tests.pictures['a']]
  rows = rows_of(
    tests, ['l1'], lambda images, direction: np.repeat(images, 3, -1)
  )
  names = ['translated', 'copy the input', 'another picture']
  assert [name for _, name in rows] == names
  assert rows['a2b', names[1]]['L1'] == rows['a2b', names[0]]['L1']


@pytest.mark.parametrize(
  'names, needs, words',
  [
    (['lpip'], Needs(paired=True), "--metrics='lpip'.*mean 'lpips'"),
    ([], Needs(), '--metrics is empty'),
    (['l1'], Needs(), 'l1 compares with true translations.*kd_vgg'),
    (['fid'], Needs(), 'fid needs --inception=FILE.*6726825d.pth'),
    (
      ['kid'],
      Needs(prefix='evaluate.'),
      'kid needs evaluate.inception=FILE',
    ),
    (['kid'], Needs(inception='x', resize='bicubic'), '--resize='),
    (['fcn'], Needs(paired=True), 'fcn needs label maps.*testLabels'),
    (
      ['fcn'],
      Needs(paired=True, colours=BLACK_WHITE),
      'fcn of b2a needs --segmenter=PATH',
    ),
  ],
)
def test_impossible_metrics_are_refused_by_name(names, needs, words):
  with pytest.raises(UserError, match=words) as error:
    make(names, needs)
  assert '\n' not in str(error.value)


def test_fcn_scores_of_maps_need_no_segmenter():
  needs = Needs(paired=True, colours=BLACK_WHITE, directions=('a2b',))
  assert [metric.directions for metric in make(['fcn'], needs)] == [('a2b',)]


class Best:
  """A `Tracker` in a folder, with made-up numbers."""

  def __init__(self, folder, best='l1 a2b', metric='l1'):
    tests = Truth({'a': [flat(0.0)], 'b': [flat(0.0)]}, paired=True)
    chosen = make([metric], Needs(paired=True))
    self.folder = folder / 'best'
    self.saved = []
    self._tracker = evaluation.Tracker(
      tests,
      ('a2b', 'b2a'),
      chosen,
      evaluation.ranking(best, chosen, ('a2b', 'b2a')),
      self.folder,
      self.save,
    )

  def save(self, folder, params):
    self.saved.append(folder.name)
    folder.mkdir()
    (folder / 'weights').write_text(params)

  def __call__(self, step, a2b, b2a=0.0):
    by = {'a2b': a2b, 'b2a': b2a}
    return self._tracker(
      step, lambda images, d: images + np.float32(by[d]), f'weights of {step}'
    )

  def kept(self):
    content = evaluation.best_so_far(self.folder)
    weights = (self.folder / 'weights').read_text()
    assert weights == f'weights of {content["step"]}'
    others = [x.name for x in self.folder.parent.iterdir() if x.is_dir()]
    assert len(others) == 2  # the link and its target
    return content['step'], content['value']


def test_the_best_weights_are_kept(tmp_path):
  best = Best(tmp_path)
  numbers = best(1, 0.5, 0.25)
  assert numbers == {'test/a2b/L1': 0.5, 'test/b2a/L1': 0.25}
  assert best.kept() == (1, 0.5)
  best(2, 0.75)
  assert best.kept() == (1, 0.5)
  best(3, 0.25)
  assert best.kept() == (3, 0.25)
  best(4, 0.25)  # not better
  assert best.kept() == (3, 0.25)
  again = Best(tmp_path)  # as in a run resumed from step 2
  again(3, 0.25)
  assert again.kept() == (3, 0.25) and not again.saved


def test_psnr_ranks_by_the_highest_mean_over_directions(tmp_path):
  best = Best(tmp_path, 'psnr', 'psnr')
  for step, (a2b, b2a) in enumerate([(0.1, 0.4), (0.2, 0.1), (0.1, 0.5)]):
    best(step, a2b, b2a)
  assert best.kept()[0] == 1


def test_another_metric_replaces_the_best_weights(tmp_path):
  Best(tmp_path)(2, 0.125)
  other = Best(tmp_path, 'l1 b2a')
  other(2, 0.5, 0.5)  # at the step of the existing best weights
  assert other.kept() == (2, 0.5)


@pytest.mark.parametrize('dies_in', ['save', 'link'])
def test_a_kill_while_writing_keeps_the_previous_best(
  dies_in, tmp_path, monkeypatch
):
  best = Best(tmp_path)
  best(1, 0.5)

  def die(*args):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    if dies_in == 'save':
      patch.setattr(evaluation.files, 'write', die)
    else:
      patch.setattr(pathlib.Path, 'replace', die)
    with pytest.raises(KeyboardInterrupt):
      best(2, 0.25)
  assert evaluation.best_so_far(best.folder)['step'] == 1
  assert (best.folder / 'weights').read_text() == 'weights of 1'
  again = Best(tmp_path)
  again(2, 0.25)
  assert again.kept() == (2, 0.25)
  assert not list(tmp_path.glob('*.part'))


@pytest.mark.parametrize('text', ['ssim', 'l1 a2c', 'l1 a2b b2a', 'L1'])
def test_evaluate_best_must_name_a_measured_metric(text):
  chosen = make(['l1'], Needs(paired=True))
  with pytest.raises(UserError, match='evaluate.best=.*"l1 a2b"'):
    evaluation.ranking(text, chosen, ('a2b', 'b2a'))


def test_grid_enlarges_small_images():
  small, large = flat(-1.0, 4), flat(1.0, 200)
  picture = images.grid([[small, large]])
  assert picture.shape == (200, 128 + 2 + 200, 3)
  assert picture[:128, :128].max() == 0 and picture[128:, :128].min() == 255


def test_to_rgb_rounds_and_clips():
  values = np.array([-1.5, -1.0, 0.0, 0.999, 2.0]).reshape(1, 5, 1)
  shown = images.to_rgb(values)
  assert shown.shape == (1, 5, 3)
  assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255]
