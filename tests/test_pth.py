"""Tests of official .pth files that are made by hand, without PyTorch."""

import struct
import zipfile

import jax
import ml_dtypes
import numpy as np
import pth_files as made
import pytest
import tiny

from cyclegan_jax import pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth.official import LEAVES

NUMBERS = np.arange(24, dtype=np.float32)
BYTES = NUMBERS.astype('<f4').tobytes()


def windows():
  """Tensors that share two storages, the equal arrays, and the storages."""
  x, y = made.storage('0', 24), made.storage('1', 3)
  of = made.tensor
  third = np.array([7, 8, 9], np.float32)
  cases = {
    'whole': (of(x, (2, 3, 4), (12, 4, 1)), NUMBERS.reshape(2, 3, 4)),
    'turned': (of(x, (4, 6), (1, 4)), NUMBERS.reshape(6, 4).T),
    'part': (of(x, (3,), (5,), 2), NUMBERS[2:17:5]),
    'scalar': (of(x, (), (), 23), np.float32(23)),
    'empty': (of(x, (0, 5), (5, 1), 24), np.zeros((0, 5), np.float32)),
    'of 2017': (of(y, (3,), (1,), 0, '_rebuild_tensor'), third),
    'repeated': (of(y, (3, 1), (0, 0)), np.full((3, 1), 7, np.float32)),
  }
  tensors = {name: tensor for name, (tensor, _) in cases.items()}
  arrays = {name: array for name, (_, array) in cases.items()}
  return tensors, arrays, {'0': BYTES, '1': third.tobytes()}


def assert_equal(actual, expected):
  assert list(actual) == list(expected)
  for name, x in expected.items():
    assert actual[name].dtype == x.dtype, name
    np.testing.assert_array_equal(actual[name], x, err_msg=name, strict=False)


@pytest.mark.parametrize('wrap', [made.ordered_dict, dict])
def test_tensors_on_shared_storages_are_read(wrap, tmp_path):
  tensors, arrays, storages = windows()
  for path in made.write_both(tmp_path, wrap(tensors), storages):
    read = pth.read(path)
    assert_equal(read, arrays)
    assert not any(x.flags.writeable for x in read.values() if x.size)


def test_files_of_python_2_with_metadata_are_read(tmp_path):
  """Python 2 files have an OrderedDict of pairs, names as bytes, attributes."""
  tensors, arrays, storages = windows()
  pairs = [[made.Raw(b'U\x05whole'), tensors['whole']]]
  content = made.call(made.name('collections', 'OrderedDict'), pairs)
  attributes = {'_metadata': made.ordered_dict({'': {'version': 1}})}
  content = made.Raw(content + made.emit(attributes) + b'b')
  for path in made.write_both(tmp_path, content, {'0': BYTES}):
    assert_equal(pth.read(path), {'whole': arrays['whole']})


def test_parameters_sizes_and_cuda_tensors_are_read(tmp_path):
  size = made.call(made.name('torch', 'Size'), (24,))
  reference = ('storage', made.name('torch.cuda', 'FloatStorage'))
  cuda = made.Raw(made.emit((*reference, '0', 'cuda:1', 24)) + b'Q')
  tensor = made.tensor(cuda, size, (1,))
  no_hooks = made.ordered_dict({})
  content = {
    'a': made.call(
      made.name('torch._utils', '_rebuild_parameter'), tensor, True, no_hooks
    ),
    'b': made.call(made.name('torch.nn.parameter', 'Parameter'), tensor, True),
  }
  for path in made.write_both(tmp_path, content, {'0': BYTES}):
    assert_equal(pth.read(path), {'a': NUMBERS, 'b': NUMBERS})


KINDS = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}


@pytest.mark.parametrize('kind', KINDS)
def test_number_types_of_both_byte_orders_are_read(kind, tmp_path):
  array = np.array([0, 1, 3], KINDS[kind])
  content = {'x': made.tensor(made.storage('0', 3, kind), (3,), (1,))}
  for order in ('little', 'big'):
    raw = (array if order == 'little' else array.byteswap()).tobytes()
    new = {'byteorder': order.encode()}
    made.write_zip(tmp_path / 'new.pth', content, {'0': raw}, **new)
    made.write_old(
      tmp_path / 'old.pth', content, {'0': (3, raw)}, little=order == 'little'
    )
    for name in ('new', 'old'):
      assert_equal(pth.read(tmp_path / f'{name}.pth'), {'x': array})


def test_nested_state_dicts_and_module_prefixes_are_read(tmp_path):
  tensors, arrays, storages = windows()
  tensors = {f'module.{name}': x for name, x in tensors.items()}
  for key in ('state_dict', 'model'):
    whole = {'epoch': 3, 'rate': 0.1, 5: None, key: made.ordered_dict(tensors)}
    for path in made.write_both(tmp_path, whole, storages):
      assert_equal(pth.read(path), arrays)
  del tensors['module.whole']
  tensors['whole'] = windows()[0]['whole']  # then not all names have the prefix
  for path in made.write_both(tmp_path, tensors, storages):
    assert 'module.turned' in pth.read(path)


TENSOR = made.tensor(made.storage('0', 24), (24,), (1,))


@pytest.mark.parametrize(
  'content, message',
  [
    ({}, 'holds no state_dict'),
    ([TENSOR], 'holds no state_dict'),
    ({'epoch': 1, 'net': TENSOR}, "holds 'epoch', which is not a tensor"),
    ({'state_dict': {'a': {}}}, "holds 'a', which is not a tensor"),
    ({7: TENSOR}, "holds '7', which is not a tensor"),
  ],
)
def test_other_content_is_refused(content, message, tmp_path):
  storages = {'0': BYTES} if TENSOR in made.emit(content) else {}
  for path in made.write_both(tmp_path, content, storages):
    with pytest.raises(UserError, match=f'{path.name} {message}'):
      pth.read(path)


def test_files_of_other_formats_are_refused(tmp_path):
  with pytest.raises(UserError, match='none.pth cannot be read .No such file'):
    pth.read(tmp_path / 'none.pth')
  with pytest.raises(UserError, match='cannot be read'):
    pth.read(tmp_path)
  tar = tmp_path / 'tar.pth'
  tar.write_bytes(bytes(257) + b'ustar' + bytes(1000))
  with pytest.raises(UserError, match='tar archive of PyTorch before 2017'):
    pth.read(tar)
  tensors, _, storages = windows()
  packed = made.write_zip(
    tmp_path / 'a.pth', tensors, storages, zipfile.ZIP_DEFLATED
  )
  with pytest.raises(UserError, match='is compressed'):
    pth.read(packed)


def test_written_files_are_read(tmp_path):
  arrays = {
    kind: np.array([[0, 1, 3], [1, 1, 2]], dtype).T
    for kind, dtype in KINDS.items()
  } | {'scalar': np.array(7), 'empty': np.zeros((0, 2), np.float32)}
  path = tmp_path / 'deep' / 'a.pth'
  pth.write(path, arrays)
  assert_equal(pth.read(path), arrays)
  first = path.read_bytes()
  pth.write(path, arrays)
  assert path.read_bytes() == first
  with zipfile.ZipFile(path) as archive:
    entries = {x.filename: x for x in archive.infolist()}
  assert list(entries)[0] == 'a/data.pkl' and list(entries)[-1] == 'a/version'
  for entry in entries.values():
    assert entry.compress_type == zipfile.ZIP_STORED
    lengths = struct.unpack_from('<HH', first, entry.header_offset + 26)
    assert (entry.header_offset + 30 + sum(lengths)) % 64 == 0


def test_an_unwritable_path_is_one_line(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='cannot write to'):
    pth.write(tmp_path / 'file' / 'a.pth', {'a': NUMBERS})


STRIDE, BLUR = {'downsampling': 'stride'}, {'downsampling': 'blur'}
CYCLEGAN = STRIDE | {'upsampling': 'transpose', 'dropout': 0.0}
CUT = BLUR | {'upsampling': 'blur', 'dropout': 0.0}
# (kind, name, depth, other options that a file determines)
NETWORKS = [
  ('generator', 'resnet', 1, CYCLEGAN),
  ('generator', 'resnet', 1, CUT),
  ('generator', 'resnet', 2, CYCLEGAN | BLUR),
  ('generator', 'resnet', 2, CUT | STRIDE),
  ('generator', 'resnet', 2, CUT | {'dropout': 0.5}),
  ('generator', 'unet', 2, {'dropout': 0.0}),
  ('discriminator', 'patchgan', 2, STRIDE),
  ('discriminator', 'patchgan', 1, BLUR),
  ('discriminator', 'patchgan', 2, BLUR),
  ('discriminator', 'pixelgan', 0, {}),
]


def draw(kind, name, depth, norm='instance', channels=3, seed=0, **options):
  """Returns options and random parameters of a network; all values differ."""
  make = {'generator': tiny.generator, 'discriminator': tiny.discriminator}
  options = {'depth': depth, 'norm': norm, 'width': 4} | options
  net = make[kind](name, **options)()
  shapes = jax.eval_shape(
    net.init,
    jax.random.PRNGKey(0),
    jax.ShapeDtypeStruct((1, 16, 16, channels), np.float32),
  )['params']
  rng = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32), shapes
  )
  return {'name': name} | options, params


@pytest.mark.parametrize(
  'norm', ['instance', 'instance_affine', 'batch', 'none']
)
@pytest.mark.parametrize('kind, name, depth, others', NETWORKS)
def test_every_network_is_recognised(kind, name, depth, others, norm, tmp_path):
  options, params = draw(kind, name, depth, norm, **others)
  state = pth.export(kind, options, params)
  pth.write(tmp_path / 'a.pth', state)
  network = pth.recognise(pth.read(tmp_path / 'a.pth'))
  assert (network.kind, network.in_channels) == (kind, 3)
  assert network.out_channels == (3 if kind == 'generator' else 1)
  assert network.options == options
  assert pth.has_averages(network.params) == (norm == 'batch')
  again = pth.export(kind, network.options, network.params)
  assert_equal(again, state)
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    y = network.params
    for key in path:
      y = y[key.key]
    np.testing.assert_array_equal(x, y)


def test_the_published_network_is_recognised():
  """Keys and shapes are those of the official horse2zebra generator."""
  blocks, w = 9, 64
  shapes = {'model.1': (w, 3, 7, 7), 'model.4': (2 * w, w, 3, 3)}
  shapes['model.7'] = (4 * w, 2 * w, 3, 3)
  for i in range(blocks):
    for place in (1, 5):
      shapes[f'model.{10 + i}.conv_block.{place}'] = (4 * w, 4 * w, 3, 3)
  shapes |= {'model.19': (4 * w, 2 * w, 3, 3), 'model.22': (2 * w, w, 3, 3)}
  shapes['model.26'] = (3, w, 7, 7)
  state = {}
  for name, shape in shapes.items():
    outputs = shape[name in ('model.19', 'model.22')]
    state[f'{name}.weight'] = np.zeros(shape, np.float32)
    state[f'{name}.bias'] = np.zeros(outputs, np.float32)
    *above, place = name.split('.')
    norm = '.'.join([*above, str(int(place) + 1)])
    state[f'{norm}.running_mean'] = np.zeros(outputs)
  del state['model.27.running_mean']
  network = pth.recognise(state)
  assert (
    network.options
    == {
      'name': 'resnet',
      'depth': 9,
      'width': 64,
      'norm': 'instance',
    }
    | CYCLEGAN
  )
  sizes = [x.size for x in jax.tree.leaves(network.params)]
  assert sum(sizes) == 11_378_179


def test_the_networks_of_cut_are_recognised():
  """Keys and shapes are those of CUT's files, with blurs in all resamplings."""
  w = 64
  kernels = {1: (w, 3, 7), 4: (2 * w, w, 3), 8: (4 * w, 2 * w, 3)}
  kernels |= {
    f'{i}.conv_block.{j}': (4 * w, 4 * w, 3)
    for i in range(12, 21)
    for j in (1, 5)
  }
  kernels |= {22: (2 * w, 4 * w, 3), 26: (w, 2 * w, 3), 30: (3, w, 7)}
  filters = {7: (2 * w, 3), 11: (4 * w, 3), 21: (4 * w, 4), 25: (2 * w, 4)}
  network = pth.recognise(state_of_cut(kernels, filters))
  known = {'depth': 9, 'width': w, 'norm': 'instance'}
  assert network.options == {'name': 'resnet'} | known | CUT
  sizes = [x.size for x in jax.tree.leaves(network.params)]
  assert sum(sizes) == 11_378_179

  kernels = {0: (w, 3, 4), 3: (2 * w, w, 4), 7: (4 * w, 2 * w, 4)}
  kernels |= {11: (8 * w, 4 * w, 4), 14: (1, 8 * w, 4)}
  filters = {2: (w, 3), 6: (2 * w, 3), 10: (4 * w, 3)}
  network = pth.recognise(state_of_cut(kernels, filters))
  assert network.options == {'name': 'patchgan'} | known | BLUR | {'depth': 3}
  sizes = [x.size for x in jax.tree.leaves(network.params)]
  assert sum(sizes) == 2_764_737


def state_of_cut(kernels, filters):
  """Returns a state_dict with kernels (outputs, inputs, side) and filters."""
  state = {}
  for place, (outputs, inputs, side) in kernels.items():
    shape = outputs, inputs, side, side
    state[f'model.{place}.weight'] = np.zeros(shape, np.float32)
    state[f'model.{place}.bias'] = np.zeros(outputs, np.float32)
  for place, (channels, side) in filters.items():
    taps = {3: [1, 2, 1], 4: [1, 3, 3, 1]}[side]
    taps = np.tile(np.outer(taps, taps) / 16, (channels, 1, 1, 1))
    state[f'model.{place}.filt'] = taps.astype(np.float32)
  return state


def broken(change, name='resnet', **others):
  kind = 'generator' if name == 'resnet' else 'discriminator'
  options, params = draw(
    kind, name, 1 + (name == 'patchgan'), 'batch', **others
  )
  state = pth.export(kind, options, params)
  change(state)
  return state


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda s: s.clear() or s.update(weird=NUMBERS), "weight is 'weird'"),
    (lambda s: s.pop('model.4.weight'), "'model.4.weight' is missing"),
    (lambda s: s.pop('model.11.weight'), "'model.11.weight' is missing"),
    (lambda s: s.pop('model.18.bias'), "'model.18.bias' is missing"),
    (lambda s: s.pop('model.18.weight'), "'model.18.weight' has shape .., but"),
    (
      lambda s: s.update({'model.4.bias': NUMBERS[:8]}),
      "'model.4.bias' does not belong",
    ),
    (
      lambda s: s.update({'model.99.weight': NUMBERS}),
      "'model.99.weight' does not belong",
    ),
    (
      lambda s: s.update({'model.4.weight': np.zeros((8, 5, 3, 3))}),
      r"'model.4.weight' has shape \(8, 5, 3, 3\), not \(8, 4, 3, 3\)",
    ),
    (
      lambda s: s.update({'model.4.weight': NUMBERS}),
      r"'model.4.weight' has shape \(24,\)",
    ),
    (
      lambda s: s.update({'model.5.weight': np.zeros(8, np.int64)}),
      "'model.5.weight' has type int64",
    ),
    (
      lambda s: s.update({'model.5.running_var': np.zeros(7)}),
      r"'model.5.running_var' has shape \(7,\), not \(8,\)",
    ),
    (
      lambda s: s.update({'model.1.weight': np.zeros((0, 3, 7, 7))}),
      "'model.1.weight' has shape",
    ),
    (
      lambda s: s.update({'model.1.weight': np.zeros((8, 3, 7, 7))}),
      "'model.1.weight' has shape|'model.2.weight' has shape",
    ),
  ],
)
def test_unsuitable_weights_are_named(change, message):
  with pytest.raises(UserError, match=message) as error:
    pth.recognise(broken(change), 'a.pth')
  assert 'a.pth' in str(error.value) and '\n' not in str(error.value)


# (name of the network, index of a filter layer)
PLACES_OF_FILTERS = [
  *(('resnet', place) for place in (7, 11, 13, 17)),
  *(('patchgan', place) for place in (2, 6)),
]


@pytest.mark.parametrize(
  'change, message',
  [
    (None, 'is missing'),
    (lambda filt: filt + 0.1, "differs from CUT's filter"),
    (lambda filt: filt * np.float32(np.nan), "differs from CUT's filter"),
    (lambda filt: filt[:1], r'has shape \(1, 1, ., .\), not \('),
    (lambda filt: filt[:0], r'has shape \(0, 1, ., .\), not \('),
    (lambda filt: filt[..., :2], r'has shape \(.*, 2\), not \('),
    (lambda filt: filt[0], r'has shape \(1, ., .\), not \('),
  ],
)
@pytest.mark.parametrize('name, place', PLACES_OF_FILTERS)
def test_an_unsuitable_filter_is_named(name, place, change, message):
  key = f'model.{place}.filt'

  def spoil(state):
    filt = state.pop(key)
    if change:
      state[key] = change(filt)

  others = CUT if name == 'resnet' else BLUR
  with pytest.raises(UserError, match=f"'{key}' {message}") as error:
    pth.recognise(broken(spoil, name, **others), 'a.pth')
  assert 'a.pth' in str(error.value) and '\n' not in str(error.value)


def test_the_list_of_filters_is_complete():
  for name, others in (('resnet', CUT), ('patchgan', BLUR)):
    state = broken(lambda state: None, name, **others)
    found = [(name, x) for x in state if x.endswith('.filt')]
    assert found == [
      (n, f'model.{place}.filt') for n, place in PLACES_OF_FILTERS if n == name
    ]


def test_filters_of_half_precision_are_recognised():
  def halve(state):
    for key in state:
      if key.endswith('.filt'):
        state[key] = state[key].astype(ml_dtypes.bfloat16)

  network = pth.recognise(broken(halve, **CUT))
  assert network.options['upsampling'] == 'blur'


def test_excessive_depths_are_refused():
  kernel = np.zeros((1, 1, 1, 1), np.float32)
  levels = {
    f'model.model.1{i * ".model.3"}.model.1.weight': kernel for i in range(2000)
  }
  blocks = {f'model.{10 + i}.conv_block.1.weight': kernel for i in range(2000)}
  layers = {f'model.{3 * i + 2}.weight': kernel for i in range(2000)}
  for first, rest in (
    ('model.model.0.weight', levels),
    ('model.1.weight', blocks),
    ('model.0.weight', layers),
  ):
    with pytest.raises(UserError, match='no official network'):
      pth.recognise({first: kernel} | rest)


def test_counts_of_any_size_are_preserved():
  leaf = LEAVES['norm'][-1]
  for count in (0, 1, 2**24 + 1, 123_456_789_012):
    digits = leaf.load(np.array(count))
    assert digits.dtype == np.float32
    assert leaf.export(digits) == count
    assert leaf.export(digits).dtype == np.int64


@pytest.mark.parametrize(
  'option, value', [('upsampling', 'resize'), ('padding', 'replicate')]
)
def test_options_without_a_counterpart_are_not_exported(option, value):
  options, params = draw('generator', 'resnet', 1, **{option: value})
  with pytest.raises(UserError, match=f"generator.{option}='{value}'") as e:
    pth.export('generator', options, params)
  assert '\n' not in str(e.value)


def test_weights_that_contradict_the_options_are_not_exported():
  options, params = draw('generator', 'resnet', 1)
  for other, weights in (
    (options | {'depth': 2}, params),
    (options | {'width': 8}, params),
    (options | {'norm': 'batch'}, params),
    (options, {}),
    (options, params | {'more': {'kernel': NUMBERS}}),
  ):
    with pytest.raises(UserError, match='the weight .* does not fit a Resnet'):
      pth.export('generator', other, weights)


def test_dropout_decides_the_index_of_the_second_convolution():
  options, params = draw('generator', 'resnet', 1, dropout=0.3)
  state = pth.export('generator', options, params)
  assert 'model.10.conv_block.6.weight' in state
  assert pth.recognise(state).options['dropout'] == 0.5
  fixed = pth.export('generator', options | {'dropout': 0.0}, params)
  assert 'model.10.conv_block.5.weight' in fixed


def write_network(path, kind='generator', channels=3, **options):
  name, depth = ('resnet', 1) if kind == 'generator' else ('patchgan', 1)
  options, params = draw(kind, name, depth, channels=channels, **options)
  pth.write(path, pth.export(kind, options, params))
  return path


def test_a_model_is_assembled_from_files(tmp_path):
  paths = [
    write_network(tmp_path / f'latest_net_{x}.pth', kind, seed=i)
    for i, (x, kind) in enumerate(
      {
        'G_A': 'generator',
        'G_B': 'generator',
        'D_A': 'discriminator',
        'D_B': 'discriminator',
      }.items()
    )
  ]
  config, params = pth.load(paths)
  assert config == {
    'generator': {
      'name': 'resnet',
      'depth': 1,
      'width': 4,
      'norm': 'instance',
      **CYCLEGAN,
    },
    'discriminator': {
      'name': 'patchgan',
      'depth': 1,
      'width': 4,
      'norm': 'instance',
      **STRIDE,
    },
    'data': {'channels_a': 3, 'channels_b': 3},
  }
  # D_A judges outputs of G_A, which are images of B.
  for i, (group, which) in enumerate(
    [('gen', 'a2b'), ('gen', 'b2a'), ('disc', 'b'), ('disc', 'a')]
  ):
    kind = 'generator' if group == 'gen' else 'discriminator'
    name, depth = ('resnet', 1) if group == 'gen' else ('patchgan', 1)
    tiny.assert_same(params[group][which], draw(kind, name, depth, seed=i)[1])


@pytest.mark.parametrize(
  'name', ['latest_net_G', '200_net_G_A', 'net_G', 'horse2zebra']
)
def test_a_single_generator_is_a2b(name, tmp_path):
  path = write_network(tmp_path / f'{name}.pth')
  config, params = pth.load([path])
  assert set(params['gen']) == {'a2b'} and not params['disc']
  assert 'discriminator' not in config


@pytest.mark.parametrize('name, depth', [('resnet', 1), ('unet', 2)])
@pytest.mark.parametrize('channels, made', [(1, 3), (5, 2), (4, 4)])
def test_any_number_of_channels_is_loaded(
  channels, made, name, depth, tmp_path
):
  path = tmp_path / 'x_net_G_B.pth'
  options, params = draw(
    'generator', name, depth, channels=channels, out_channels=made
  )
  del options['out_channels']
  pth.write(path, pth.export('generator', options, params))
  config, loaded = pth.load([path])
  assert config['data'] == {'channels_b': channels, 'channels_a': made}
  equal = {'loss': {'identity_a': 0.0, 'identity_b': 0.0}}
  assert ('loss' in config) == (channels != made)
  assert channels == made or config['loss'] == equal['loss']
  tiny.assert_same(loaded['gen']['b2a'], params)
  state = pth.states(config, loaded)['G_B']
  assert_equal(state, pth.read(path))


@pytest.mark.parametrize(
  'files, message',
  [
    ({'net_G_A.txt': {}}, 'net_G_A.txt is not a .pth file'),
    (
      {'net_G_A.pth': {}, 'latest_net_G.pth': {}},
      'latest_net_G.pth and .*net_G_A.pth hold the same network',
    ),
    (
      {'a.pth': {}, 'b.pth': {}},
      'a.pth holds a generator: rename it to latest_net_G_A.pth or',
    ),
    (
      {'a.pth': {}, 'net_G_A.pth': {}},
      'a.pth holds a generator: rename it',
    ),
    (
      {'a.pth': {'kind': 'discriminator'}},
      'a.pth holds a discriminator: rename it to latest_net_D_A.pth',
    ),
    (
      {'latest_net_G_A.pth': {'kind': 'discriminator'}},
      'holds a discriminator: rename it to latest_net_D_A.pth',
    ),
    (
      {'net_D_A.pth': {}},
      'holds a generator: rename it to latest_net_G_A.pth',
    ),
    (
      {'net_G_A.pth': {}, 'net_G_B.pth': {'width': 8}},
      'net_G_B.pth has generator.width=8, .*net_G_A.pth has 4',
    ),
    (
      {'net_G.pth': {}, 'net_D.pth': {'kind': 'discriminator', 'channels': 6}},
      'net_D.pth has data.channels_b=6, .*net_G.pth has 3',
    ),
    (
      {'net_G_A.pth': {}, 'net_G_B.pth': {'channels': 4}},
      'net_G_B.pth has data.channels_b=4, .*net_G_A.pth has 3',
    ),
  ],
)
def test_files_that_form_no_model_are_refused(files, message, tmp_path):
  paths = [
    write_network(tmp_path / name, **options) for name, options in files.items()
  ]
  with pytest.raises(UserError, match=message) as error:
    pth.load(paths)
  assert '\n' not in str(error.value)
