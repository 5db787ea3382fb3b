"""Makes the page: generators as ONNX, the runtime, and what runs both."""

import base64
import gzip
import importlib.resources
import re
from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.exporters import checked, onnx_graph
from cyclegan_jax.exporters.formats import Wanted
from cyclegan_jax.exporters.web import runtime
from cyclegan_jax.hub import address
from cyclegan_jax.inference import arrays
from cyclegan_jax.inference.model import Model
from cyclegan_jax.pages.render import render

_PACKAGE = 'cyclegan_jax.exporters.web'
_SCRIPTS = (
  'support.js',
  'engine.js',
  'pixels.js',
  'view.js',
  'camera.js',
  'translation.js',
  'page.js',
)
_WORKER = 'worker.js'
# What the worker and the camera need of the page's policy.
_ALLOW = {
  'script-src': "blob: 'wasm-unsafe-eval'",
  'worker-src': 'blob:',
  'media-src': 'blob: mediastream:',
}
_COLOURS = {1: 'gray', 3: 'RGB'}
# data.source -> its domains, where data.name does not tell.
_DOMAINS = {'builtin': ('satellite', 'map'), 'mni152': ('T1', 'tissue')}
_PAIR = re.compile(r'([a-z0-9]+?)2([a-z]+)(?:_.*)?')


class Result(NamedTuple):
  """A page that was written.

  Attributes:
    bytes: of the page.
    trials: {direction: list of `checked.Trial`}, errors in levels of 0 to 255.
  """

  bytes: int
  trials: dict[str, list[checked.Trial]]


def check(model: Model, directions: tuple[str, ...]) -> None:
  """Raises `UserError` for a model that a page can't run.

  Args:
    model: a `Model`.
    directions: of 'a2b' and 'b2a', which the model has.
  """
  for direction in directions:
    model.network(direction)
    for domain in direction.split('2'):
      count = model.channels[domain]
      if count not in _COLOURS:
        raise UserError(
          f'--format=web shows pictures of 1 or 3 channels, and '
          f'data.channels_{domain} is {count}: use --format=onnx'
        )
      arrays.check_bytes(
        model.values[domain],
        '--format=web is for pictures of 8 bits: use --format=onnx',
      )


def write(
  path: files.Path,
  model: Model,
  directions: tuple[str, ...],
  weights: str,
  made_of: runtime.Runtime,
) -> Result:
  """Writes the page of a model whose programs translate as the model does.

  Args:
    path: the page; replaced if it is there.
    model: a `Model`.
    directions: of 'a2b' and 'b2a', those that the page offers.
    weights: a name of `web.WEIGHTS`.
    made_of: the runtime.

  Raises:
    UserError: as `check`; a program translates otherwise than the model, or
      the page can't be written.
  """
  check(model, directions)
  programs, trials = {}, {}
  for direction in directions:
    wanted = Wanted(model, direction, pixels=True, weights=weights)
    programs[direction] = onnx_graph.encoded(wanted)
    program = onnx_graph.runner(programs[direction])
    trials[direction] = checked.tried(program, wanted)
  page = _page(model, programs, weights, made_of)
  with files.writing(path, '--output'):
    files.write(path, page)
  return Result(len(page), trials)


def _page(model, programs, weights, made_of):
  name = _name(model)
  packed = {
    name: _packed(getattr(made_of, name)) for name in ('module', 'wasm')
  }
  models = {way: _packed(data) for way, data in programs.items()}
  content = {
    'name': name,
    'facts': _facts(model, models, packed, weights),
    'directions': {way: _direction(model, way) for way in programs},
    'width': getattr(model.config.generator, 'width', 64),
    'webgpu': made_of.build == 'webgpu',
  }
  worker = importlib.resources.files(_PACKAGE) / _WORKER
  return render(
    _PACKAGE,
    _SCRIPTS,
    f'{name}: translate pictures',
    content,
    _ALLOW,
    worker=worker.read_text('ascii'),
    models='\n'.join(
      f'<script type="text/plain" id="model-{way}">{text}</script>'
      for way, text in models.items()
    ),
    **packed,
  )


def _packed(data):
  """Bytes as text that the worker unpacks."""
  return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _name(model):
  """A model's name without the folders that it is in."""
  if address.is_address(model.name):
    return model.name.partition('://')[2].partition('@')[0]
  return files.absolute(files.place(model.name)).name or 'CycleGAN'


def domains(model: Model) -> dict[str, str]:
  """{'a', 'b'}: names of the domains, such as 'horse'; 'A' and 'B' unknown."""
  data = model.config.data
  match = _PAIR.fullmatch(data.name.rpartition('/')[2])
  names = _DOMAINS.get(data.source, match.groups() if match else ('A', 'B'))
  return dict(zip('ab', names))


def _direction(model, direction):
  """Facts of a direction that the page's scripts need."""
  here, there = direction.split('2')
  names = domains(model)
  return {
    'label': f'{names[here]} to {names[there]}',
    'channels': model.channels[here],
    'made': model.channels[there],
  }


def _facts(model, models, packed, weights):
  """[[what, value]] of the page's facts; what is not known is left out."""
  data = model.config.data
  kinds = [_COLOURS[model.channels[domain]] for domain in 'ab']
  generators = sum(map(len, models.values()))
  facts = {
    'Method': model.config.method,
    'Domains': ', '.join(
      f'{x.upper()}: {y}' for x, y in domains(model).items()
    ),
    'Training step': model.step is not None and f'{model.step:,}',
    'Trained at': f'{data.crop_size} x {data.crop_size} px',
    'Pictures': ' and '.join(dict.fromkeys(kinds)),
    'Generators': f'{_size(generators)}, {weights}',
    'Runtime': f'ONNX Runtime Web {runtime.VERSION}, '
    f'{_size(sum(map(len, packed.values())))}',
  }
  return [[what, value] for what, value in facts.items() if value]


def _size(count):
  return f'{count / 1e6:.1f} MB'
