"""Tests of full disks and unusual file systems."""

import ast
import errno
import os
import pathlib
import subprocess
import sys

import pytest
import tiny

import cyclegan_jax
from cyclegan_jax import main
from cyclegan_jax.common import disk, files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.inference import saved
from cyclegan_jax.paper import child_process
from cyclegan_jax.training import evaluation, workdir

ROOT = pathlib.Path(cyclegan_jax.__file__).parent

# Calls that create or change a file. Only functions of `common/files.py` and
# `common/disk.py`, which handle full disks, may contain them.
WRITES = {
  *('write_text', 'write_bytes', 'save', 'savez', 'tofile', 'touch', 'dump'),
  *('symlink_to', 'hardlink_to', 'symlink', 'rename', 'mkdir', 'makedirs'),
  *('copyfileobj', 'copytree', 'copyfile', 'copy2', 'move', 'fdopen', 'memmap'),
  *('mkstemp', 'mkdtemp', 'TemporaryDirectory', 'TemporaryFile'),
  *('NamedTemporaryFile', 'posix_fallocate', 'truncate', 'savetxt'),
}
# {file: {call: reason why the call needs no guarded function}}
ALLOWED = {
  'share.py': {
    'tempfile.TemporaryDirectory': 'of TMPDIR; files.write is guarded',
  },
  'common/quiet.py': {'open': 'os.devnull'},
  'common/terminal.py': {'open': 'os.devnull'},
  'common/images.py': {'Image.fromarray(picture).save': 'into memory'},
  'report_page/grids.py': {'image.save': 'into memory'},
  'inference/picture_files.py': {'picture.save': 'into memory'},
  'inference/array_files.py': {'np.save': 'into memory'},
  'inference/volume.py': {
    'tempfile.TemporaryFile': 'inside files.writing',
    'file.truncate': 'inside files.writing',
    'os.posix_fallocate': 'inside files.writing',
    'new.open': 'inside files.writing and files.made',
  },
  'data/mni152.py': {'(folder / part).mkdir': 'in builtin.kept'},
  'inference/saved.py': {'saved.save': 'by files.write'},
  'inference/model.py': {
    'tempfile.TemporaryDirectory': 'of TMPDIR; tiles are guarded',
  },
  'inference/tiled/walk.py': {
    'tempfile.TemporaryFile': 'inside files.writing',
    'file.truncate': 'inside files.writing',
    'os.posix_fallocate': 'inside files.writing',
    'np.memmap': 'of the room reserved',
  },
  'data/builtin.py': {
    'unfinished.mkdir': 'a UserError names the cache',
    'unfinished.rename': 'the same',
    '(folder / part).mkdir': 'the same',
  },
  'exporters/formats.py': {
    'path.mkdir': 'inside files.writing, of checked.write',
    'tf.saved_model.save': 'the same',
  },
  'training/checkpoint.py': {
    'self._manager.save': 'orbax: SaveError',
    'aside.mkdir': 'inside files.writing',
    '(self._folder / str(step)).rename': 'inside files.writing',
  },
  'training/trainer.py': {'work.path.mkdir': 'inside files.writing'},
  'training/workdir.py': {
    "files.own(workdir, 'lock').open": 'inside files.writing',
    'lock.truncate': 'suppressed: nothing needs what is in it',
  },
  'training/profiling.py': {
    'tempfile.TemporaryDirectory': 'inside files.writing',
  },
  'paper/jobs.py': {
    "files.own(job.folder, 'log.txt').open": 'inside files.writing',
  },
  'inference/video_writer.py': {'av.open': 'a UserError names the video'},
}
# Calls that use files.write, but look like calls of `WRITES`.
OWN = {'saved.save', 'segmenter_model.save', 'checkpoints.save'}


def is_write(call):
  """Returns True for a call that creates or changes a file."""
  name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
  if isinstance(call.func, ast.Name) and name == 'save':  # a local function
    return False
  if name != 'open':
    return name in WRITES
  words = [*call.args, *(word.value for word in call.keywords)]
  texts = [x.value for x in words if isinstance(x, ast.Constant)]
  modes = [x for x in texts if isinstance(x, str) and len(x) <= 3]
  flags = ' '.join(ast.unparse(x) for x in words)
  return any(set(x) & set('wax+') for x in modes) or 'O_WR' in flags


def writes_of(path):
  """Texts of the writing calls in a module, without their arguments."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call) and is_write(node):
      yield ast.unparse(node.func)


def test_every_write_is_guarded():
  """New code must write with `files.write`, `files.made` or `disk.fill`."""
  found = {}
  for path in sorted(ROOT.rglob('*.py')):
    name = path.relative_to(ROOT).as_posix()
    if name not in ('common/files.py', 'common/disk.py'):
      for call in set(writes_of(path)) - OWN:
        if call not in ALLOWED.get(name, {}):
          found.setdefault(name, []).append(call)
  assert not found


def full(number=errno.ENOSPC, name=None):
  return OSError(number, os.strerror(number), name)


@pytest.fixture
def fails(monkeypatch):
  """Returns a function after which writes from the k-th on fail half way."""

  def start(k, number=errno.ENOSPC):
    count, true = [0], disk.put

    def put(file, data):
      count[0] += 1
      if count[0] >= k:
        true(file, data[: len(data) // 2])
        raise full(number)
      true(file, data)

    monkeypatch.setattr(disk, 'put', put)
    return count

  return start


@pytest.mark.parametrize(
  'number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]
)
def test_a_failed_write_keeps_the_old_file(number, tmp_path, fails):
  path = tmp_path / 'a.json'
  files.write(path, 'before')
  fails(1, number)
  with pytest.raises(disk.WriteError, match=str(path)) as e:
    files.write(path, 'after')
  assert e.value.errno == number and os.strerror(number) in str(e.value)
  assert len(str(e.value).splitlines()) == 1
  assert path.read_text() == 'before'
  assert [x.name for x in tmp_path.iterdir()] == ['a.json']


def test_a_write_error_names_file_and_flag(tmp_path):
  (tmp_path / 'file').touch()
  with (
    pytest.raises(UserError, match='file/x/a .--output., .*in the way') as e,
    files.writing(tmp_path, '--output'),
  ):
    files.write(tmp_path / 'file' / 'x' / 'a', '')
  assert e.value.code == 2


def test_a_half_written_line_is_removed(tmp_path, fails):
  path = tmp_path / 'lines'
  file = disk.Growing(path)
  file.add('{"step": 1}\n')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      disk, 'put', lambda file, data: file.write(data[:5]) and fail()
    )
    with pytest.raises(disk.WriteError, match='lines, No space'):
      file.add('{"step": 2}\n')
  file.add('{"step": 3}\n')
  file.close()
  assert path.read_text() == '{"step": 1}\n{"step": 3}\n'


def fail():
  raise full()


def test_a_full_disk_reported_by_a_library_is_one_line(tmp_path):
  """JAX's profiler and TensorStore raise such errors."""
  text = 'RESOURCE_EXHAUSTED: /a/vm.xplane.pb; No space left on device'
  with (
    pytest.raises(disk.WriteError, match=f'{tmp_path}, No space.*: make room'),
    files.writing(tmp_path),
  ):
    raise RuntimeError(text)
  with pytest.raises(RuntimeError, match='memory'), files.writing(tmp_path):
    raise RuntimeError('RESOURCE_EXHAUSTED: out of memory')


@pytest.mark.parametrize('chained', [False, True])
def test_an_unguarded_write_error_is_one_line(chained, capsys):
  """A library may hide the error of a write behind its own error."""

  def library(argv):
    error = full(errno.EDQUOT, '/some/file')
    if chained:
      raise RuntimeError('a worker failed') from error
    raise error

  assert program.run(library, []) == 2
  err = capsys.readouterr().err
  assert err.startswith('error: cannot write to /some/file, ')
  assert len(err.splitlines()) == 1


def test_a_programming_error_keeps_its_stack_trace():
  def wrong(argv):
    raise FileNotFoundError(errno.ENOENT, 'no such file', 'x')

  with pytest.raises(FileNotFoundError):
    program.run(wrong, [])


def test_partial_files_do_not_limit_the_length_of_names(tmp_path):
  for name in ('x' * 251 + '.png', '書' * 83 + '.png', 'y' * 255):
    path = tmp_path / name
    files.write(path, 'whole')
    assert path.read_text() == 'whole'
    assert disk.part(path).parent == tmp_path
    disk.part(path).write_text('half')
  files.clean(tmp_path)
  assert len(list(tmp_path.iterdir())) == 3
  with pytest.raises(UserError, match='shorten the name'):
    files.write(tmp_path / ('z' * 256), '')


def test_a_folder_in_the_way_is_not_removed(tmp_path):
  mine = tmp_path / 'a.mp4' / 'mine'
  mine.parent.mkdir()
  mine.touch()
  with (
    pytest.raises(UserError, match='in the way'),
    files.writing(mine.parent),
    files.made(mine.parent) as new,
  ):
    new.write_text('video')
  assert mine.exists() and not list(tmp_path.glob('*.part'))


# File systems without locks, and without links.


@pytest.mark.parametrize(
  'number', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL]
)
def test_a_run_without_file_locks_continues_with_a_warning(
  number, tmp_path, monkeypatch, capsys
):
  def flock(file, operation):
    raise full(number)

  monkeypatch.setattr(workdir.fcntl, 'flock', flock)
  with workdir.open_workdir(tmp_path):
    err = capsys.readouterr().err
    assert err.startswith('warning: ') and str(tmp_path) in err
    assert len(err.splitlines()) == 1
  (tmp_path / 'lock').touch()
  monkeypatch.setattr(child_process.time, 'sleep', None)  # it waits for nobody
  child_process._wait(tmp_path / 'lock')


def test_a_locked_run_folder_is_refused(tmp_path):
  with (
    workdir.open_workdir(tmp_path),
    pytest.raises(UserError, match=f'in use by process {os.getpid()}'),
    workdir.open_workdir(tmp_path),
  ):
    pass


def test_a_lock_without_a_recorded_owner_is_accepted(
  tmp_path, monkeypatch, capsys
):
  true = workdir.platform.node
  monkeypatch.setattr(workdir.platform, 'node', lambda: fail() or true())
  with workdir.open_workdir(tmp_path):
    assert not capsys.readouterr().err


def no_links(monkeypatch, number=errno.EPERM):
  def symlink_to(self, target):
    raise full(number)

  monkeypatch.setattr(pathlib.Path, 'symlink_to', symlink_to)


def test_without_links_a_file_replaces_the_link(tmp_path, monkeypatch):
  best = tmp_path / 'best'
  one, two = (tiny.save_model(tmp_path / f'at_{i}', seed=i) for i in (1, 2))
  files.link(best, one)  # by a symbolic link
  with monkeypatch.context() as patch:
    no_links(patch)
    for there in (two, one, two):
      files.link(best, there)
      assert not best.is_symlink() and files.resolved(best) == there
      assert saved.load(best).checksum() == saved.load(there).checksum()
  files.link(best, one)
  assert best.is_symlink() and files.resolved(best) == one
  assert saved.load(best).checksum() == saved.load(one).checksum()


def test_a_copied_folder_is_replaced_by_a_link(tmp_path):
  """`cp -rL` copies a link as a folder, for file systems without links."""
  (tmp_path / 'best').mkdir()
  (tmp_path / 'at_1').mkdir()
  files.link(tmp_path / 'best', tmp_path / 'at_1')
  assert files.resolved(tmp_path / 'best') == tmp_path / 'at_1'


@pytest.mark.parametrize('text', ['link to ../x', 'link to /etc', 'link to '])
def test_a_file_that_only_looks_like_a_link_is_not_followed(text, tmp_path):
  path = tmp_path / 'best'
  path.write_text(text)
  assert files.resolved(path) == path
  assert not evaluation.best_so_far(path)


# Whole runs.

OPTIONS = {
  'schedule__constant': 1,
  'schedule__decay': 1,
  'log__checkpoint_every': 1,
  'log__sample_every': 1,
  'log__report': True,
  'evaluate__every': 1,
  'evaluate__best': 'l1',
  'train__batch_size': 1,
}
KEPT = ('metrics.jsonl', 'config.json', 'run.json', 'test_metrics.json')


def kept(folder):
  """Bytes of all files that are equal in equal runs."""
  names = [folder / name for name in KEPT] + sorted(folder.glob('samples/*'))
  found = {path.name: path.read_bytes() for path in names}
  best = saved.load(folder / 'best')
  found['best'] = (best.checksum(), evaluation.best_so_far(folder / 'best'))
  found['last'] = saved.load(folder).checksum()
  return found


@pytest.fixture(scope='module')
def whole(pictures, tmp_path_factory):
  """Files of a run on a disk with room."""
  folder = tmp_path_factory.mktemp('whole')
  argv = tiny.command('folder', folder, pictures, **OPTIONS)
  assert program.run(main.main, argv) == 0
  return kept(folder)


@pytest.mark.slow
def test_a_run_resumes_after_a_full_disk_at_any_write(
  whole, pictures, tmp_path, fails, capsys
):
  """For every k, the k-th write fails and the same command resumes the run."""
  argv = tiny.command('folder', tmp_path / 'run', pictures, **OPTIONS)
  for k in range(1, 100):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(disk, 'put', disk.put)
      count = fails(k)
      code = program.run(main.main, argv)
      patch.setattr(disk, 'put', disk.put)
    err = capsys.readouterr().err
    fails(10**9)
    if count[0] < k:
      break
    assert code == 2, (k, code, err)
    assert err.startswith('error: cannot write to '), (k, err)
    assert len(err.splitlines()) == 1, (k, err)
    assert not list(tmp_path.rglob('*.part')), k
  assert code == 0 and k > 8
  assert kept(tmp_path / 'run') == whole


LIMITED = """
import resource, sys
limit = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
from cyclegan_jax import main
from cyclegan_jax.config import program
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
sys.exit(program.run(main.main, ['main', *sys.argv[2:]]))
"""


def limited(limit, folder, pictures):
  """Trains with limited file sizes; returns (exit code, standard error)."""
  options = OPTIONS | {'log__sample_every': 0, 'log__report': False}
  argv = tiny.command('folder', folder, pictures, **options)[1:]
  done = subprocess.run(
    [sys.executable, '-c', LIMITED, str(limit), *argv],
    capture_output=True,
    text=True,
    check=False,
  )
  return done.returncode, done.stderr


@pytest.mark.slow
def test_a_run_resumes_after_a_limit_on_file_sizes(pictures, tmp_path):
  """Includes files that libraries write: checkpoints and TensorBoard files."""
  folder = tmp_path / 'run'
  for limit in (0, 3000, 6000, 12000, 40000, 10**9):
    code, err = limited(limit, folder, pictures)
    if code == 0:
      break
    assert code == 2, (limit, err)
    assert err.startswith('error: '), (limit, err)
    assert len(err.splitlines()) == 1, (limit, err)
  assert code == 0 and limit > 6000, err
  assert limited(10**9, tmp_path / 'whole', pictures) == (0, '')
  assert kept(folder) == kept(tmp_path / 'whole')
