"""Writes the page: generators as ONNX, the runtime, and the scripts."""

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
# Content security policy that the worker and the camera need.
_ALLOW = {
  'script-src': "blob: 'wasm-unsafe-eval'",
  'worker-src': 'blob:',
  'media-src': 'blob: mediastream:',
}
_COLOURS = {1: 'gray', 3: 'RGB'}
# data.source -> names of its domains, if data.name does not contain them.
_DOMAINS = {'builtin': ('satellite', 'map'), 'mni152': ('T1', 'tissue')}
_PAIR = re.compile(r'([a-z0-9]+?)2([a-z]+)(?:_.*)?')


class Result(NamedTuple):
  """Facts about a page that was written.

  Attributes:
    bytes: size of the page in bytes.
    trials: {direction: list of `checked.Trial`}, with errors on the scale from
      0 to 255.
  """

  bytes: int
  trials: dict[str, list[checked.Trial]]


def check(model: Model, directions: tuple[str, ...]) -> None:
  """Raises `UserError` if a page cannot run a model.

  A page shows pictures of 1 or 3 channels and 8 bits, and its programs are
  single networks.

  Args:
    model: a `Model`.
    directions: the directions to check, 'a2b', 'b2a' or both. The model must
      translate in these directions.
  """
  for direction in directions:
    model.network(direction)
    for domain in direction.split('2'):
      count = model.channels[domain]
      if count not in _COLOURS:
        raise UserError(
          f'--format=web shows pictures of 1 or 3 channels, but '
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
  """Writes the page of a model, after comparing its programs with the model.

  Args:
    path: path of the page. An existing file is replaced.
    model: a `Model`.
    directions: the directions that the page offers, 'a2b', 'b2a' or both.
    weights: a name in `web.WEIGHTS`, the type of the weights in the page.
    made_of: the `runtime.Runtime` to include.

  Returns:
    A `Result`.

  Raises:
    UserError: a page cannot run the model, for example because its pictures are
      not of 8 bits; the translations of a program differ from the model's; or
      the page cannot be written.
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
  """Returns bytes as text (gzip, base64) that the worker unpacks."""
  return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _name(model):
  """Returns the name of a model: its folder, or USER/NAME on the Hub."""
  if address.is_address(model.name):
    return model.name.partition('://')[2].partition('@')[0]
  return files.absolute(files.place(model.name)).name or 'CycleGAN'


def domains(model: Model) -> dict[str, str]:
  """Returns the names of a model's domains.

  Args:
    model: a `Model`.

  Returns:
    {'a': name, 'b': name}, such as 'horse' and 'zebra'; 'A' and 'B' if the
    names are unknown.
  """
  data = model.config.data
  match = _PAIR.fullmatch(data.name.rpartition('/')[2])
  names = _DOMAINS.get(data.source, match.groups() if match else ('A', 'B'))
  return dict(zip('ab', names))


def _direction(model, direction):
  """Returns the facts of a direction that the scripts of the page read."""
  here, there = direction.split('2')
  names = domains(model)
  return {
    'label': f'{names[here]} to {names[there]}',
    'channels': model.channels[here],
    'made': model.channels[there],
  }


def _facts(model, models, packed, weights):
  """Returns [[label, value]], the known facts that the page shows."""
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
