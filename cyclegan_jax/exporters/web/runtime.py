"""Reads ONNX Runtime Web from its npm package, and checks its files."""

import hashlib
import json
import tarfile
import zlib
from typing import NamedTuple

from cyclegan_jax.common import disk, files
from cyclegan_jax.common.errors import UserError

NAME, VERSION = 'onnxruntime-web', '1.30.0'
COMMAND = f'npm pack {NAME}@{VERSION}'  # writes ARCHIVE into the current folder
ARCHIVE = f'{NAME}-{VERSION}.tgz'
# Build -> its files in the package, the module first -> their SHA-256.
HASHES = {
  'wasm': {
    'dist/ort.wasm.bundle.min.mjs': (
      '11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90'
    ),
    'dist/ort-wasm-simd-threaded.wasm': (
      '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2'
    ),
  },
  # This build also runs on the CPU.
  'webgpu': {
    'dist/ort.webgpu.bundle.min.mjs': (
      '0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2'
    ),
    'dist/ort-wasm-simd-threaded.asyncify.wasm': (
      '39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da'
    ),
  },
}
_FACTS = 'package.json'
_INSIDE = 'package/'  # folder of all files in an archive of npm


class Runtime(NamedTuple):
  """The two files of ONNX Runtime Web that run a model in a browser.

  Attributes:
    module: contents of the JavaScript module, as bytes.
    wasm: contents of the WebAssembly file, as bytes.
    build: a name in `HASHES`.
  """

  module: bytes
  wasm: bytes
  build: str = 'wasm'


def read(path: files.Path, build: str = 'wasm') -> Runtime:
  """Reads the runtime from its npm package and checks its version.

  Args:
    path: the archive that `COMMAND` writes, or the folder of the package, such
      as node_modules/onnxruntime-web.
    build: a name in `HASHES`.

  Returns:
    A `Runtime`.

  Raises:
    UserError: `path` does not hold the package, or its files are not those of
      `VERSION`.
  """
  hashes = HASHES[build]
  wanted = (_FACTS, *hashes)
  found = _of_folder(path, wanted) if path.is_dir() else _of_tgz(path, wanted)
  version = _version(found.get(_FACTS, b''))
  if version and version != VERSION:
    raise _unfit(path, f'is version {version} of {NAME}, not {VERSION}')
  for name, digest in hashes.items():
    if name not in found:
      raise _unfit(path, f'is no package {NAME}: {name} is missing')
    if hashlib.sha256(found[name]).hexdigest() != digest:
      raise _unfit(
        path, f'has a file {name} that differs from version {VERSION}'
      )
  return Runtime(*(found[name] for name in hashes), build)


def _of_folder(path, names):
  """Returns {name: contents} of the named files that a folder has."""
  there = (name for name in names if (path / name).is_file())
  try:
    return {name: (path / name).read_bytes() for name in there}
  except OSError as e:
    raise _unfit(path, f'cannot be read ({disk.told(e)})') from e


def _of_tgz(path, names):
  """Returns {name: contents} of the named files that an archive has."""
  if not path.is_file():
    raise _unfit(path, 'does not exist')
  found = {}
  try:
    with (
      path.open('rb') as file,
      tarfile.open(fileobj=file, mode='r:gz') as tar,
    ):
      for member in tar:
        name = member.name.removeprefix(_INSIDE)
        if name in names and member.isfile():
          found[name] = tar.extractfile(member).read()
  except (OSError, EOFError, tarfile.TarError, zlib.error) as e:
    raise _unfit(path, f'is no archive of npm ({disk.told(e)})') from e
  return found


def _version(text):
  """Returns the version in the runtime's package.json, or None."""
  try:
    facts = json.loads(text)
  except ValueError:
    return None
  named = isinstance(facts, dict) and facts.get('name') == NAME
  return facts.get('version') if named else None


def _unfit(path, reason):
  return UserError(
    f'{path} (--runtime) {reason}: download {ARCHIVE} by `{COMMAND}` and use '
    f'--runtime={ARCHIVE}'
  )
