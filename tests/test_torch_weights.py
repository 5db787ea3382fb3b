"""Tests of the program that imports and exports official weights."""

import json

import jax
import numpy as np
import pytest
import test_pth
import tiny

from cyclegan_jax import main, pth, torch_weights
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.inference import saved

NAMES = 'G_A', 'G_B', 'D_A', 'D_B'
KINDS = {'G': 'generator', 'D': 'discriminator'}


def run(capsys, *arguments):
  """Runs torch_weights; returns exit code, standard output and errors."""
  argv = ['torch_weights', *map(str, arguments)]
  code = program.run(torch_weights.main, argv)
  return code, *capsys.readouterr()


def official(folder, names=NAMES, **options):
  folder.mkdir(exist_ok=True)
  return [
    test_pth.write_network(
      folder / f'latest_net_{name}.pth', KINDS[name[0]], seed=i, **options
    )
    for i, name in enumerate(names)
  ]


def heads(folder):
  """Writes a latest_net_F.pth of CUT with two projection heads."""
  state = {
    f'mlp_{i}.{layer}.{x}': np.zeros((4,) * (1 + (x == 'weight')), np.float32)
    for i in range(2)
    for layer in (0, 2)
    for x in ('weight', 'bias')
  }
  pth.write(folder / 'latest_net_F.pth', state)
  return folder / 'latest_net_F.pth'


@pytest.mark.parametrize('as_folder', [True, False], ids=['folder', 'files'])
def test_files_of_cut_are_imported(as_folder, tmp_path, capsys):
  there, folder = tmp_path / 'there', tmp_path / 'model'
  cut = {'generator': test_pth.CUT, 'discriminator': test_pth.BLUR}
  paths = [
    *official(there, ['D'], **cut['discriminator']),
    heads(there),
    *official(there, ['G'], **cut['generator']),
  ]
  named = [there] if as_folder else paths
  code, out, err = run(capsys, 'import', *named, f'--output={folder}')
  assert (code, err) == (0, '')
  described = {line.partition(': ')[0]: line for line in out.splitlines()}
  discriminator, skipped, generator = (described[str(x)] for x in paths)
  assert 'generator a2b, resnet of 1' in generator
  assert 'discriminator b, patchgan of 1' in discriminator
  assert skipped == (
    f'{paths[1]}: skipped: projection heads, needed only for training'
  )
  assert len(out.splitlines()) == 4
  for place in (folder, there):  # also without an import
    loaded = saved.load(place)
    assert loaded.directions == ('a2b',)
    for kind, options in cut.items():
      for name, value in options.items():
        assert loaded.config[kind][name] == value
    pixels = np.zeros((16, 16, 3), np.uint8)
    assert loaded.translate(pixels, 'a2b').shape == (16, 16, 3)
  flags = [f'--model={folder}', f'--output={tmp_path / "back"}']
  assert run(capsys, 'export', *flags)[0] == 0
  for path, name in ((paths[2], 'G_A'), (paths[0], 'D_A')):
    back = pth.read(tmp_path / 'back' / f'latest_net_{name}.pth')
    test_pth.assert_equal(back, pth.read(path))


def test_projection_heads_alone_are_refused(tmp_path, capsys):
  path = heads(tmp_path)
  for named in (path, tmp_path):
    code, out, err = run(capsys, 'import', named, f'--output={tmp_path / "m"}')
    assert code == 2 and err.count('\n') == 1
    assert f'{path} holds projection heads' in err and 'net_G.pth' in err
    with pytest.raises(UserError, match='holds projection heads'):
      saved.load(named)
  assert not (tmp_path / 'm').exists()


@pytest.mark.parametrize('norm', ['instance', 'instance_affine', 'batch'])
def test_import_and_export_give_equal_files(norm, tmp_path, capsys):
  paths = official(tmp_path / 'there', norm=norm)
  folder = tmp_path / 'model'
  code, out, err = run(capsys, 'import', *paths, f'--output={folder}')
  assert (code, err) == (0, '')
  lines = out.splitlines()
  assert len(lines) == 5 and lines[-1] == f'the model is in {folder}'
  for path, line in zip(paths, lines):
    assert line.startswith(f'{path}: ') and f'norm {norm}' in line
  assert 'generator a2b, resnet of 1, width 4' in lines[0]
  assert 'discriminator b, patchgan of 1, width 4' in lines[2]
  options, params = test_pth.draw('generator', 'resnet', 1, norm)
  size = sum(x.size for x in jax.tree.leaves(params))
  assert lines[0].endswith(f'3 to 3 channels, {size:,} parameters')
  config = json.loads((folder / 'config.json').read_text())
  assert config['generator']['norm'] == config['discriminator']['norm'] == norm
  assert config['generator']['name'] == 'resnet'
  assert config['train']['batch_size'] == 1

  back = tmp_path / 'back'
  code, out, err = run(
    capsys, 'export', f'--model={folder}', f'--output={back}', '--epoch=7'
  )
  assert (code, err) == (0, '')
  assert {p.name for p in back.iterdir()} == {
    f'7_net_{name}.pth' for name in NAMES
  }
  for path in paths:
    other = back / path.name.replace('latest', '7')
    test_pth.assert_equal(pth.read(other), pth.read(path))


def test_an_imported_model_translates(tmp_path, capsys):
  paths = official(tmp_path / 'there', ['G_B'])
  assert run(capsys, 'import', *paths, f'--output={tmp_path / "m"}')[0] == 0
  loaded = saved.load(tmp_path / 'm')
  assert loaded.directions == ('b2a',)
  pixels = np.zeros((16, 16, 3), np.uint8)
  assert loaded.translate(pixels, 'b2a').shape == (16, 16, 3)
  again = saved.load(paths[0])
  np.testing.assert_array_equal(
    again.translate(pixels, 'b2a'), loaded.translate(pixels, 'b2a')
  )


def test_a_run_is_exported(pictures, tmp_path, capsys):
  argv = tiny.command(
    'folder', tmp_path / 'run', pictures, generator__norm='batch'
  )
  assert program.run(main.main, argv) == 0
  capsys.readouterr()
  folder = tmp_path / 'official'
  code, out, err = run(
    capsys, 'export', f'--model={tmp_path / "run"}', f'--output={folder}'
  )
  assert code == 0 and len(out.splitlines()) == 4
  assert err.count('\n') == 1 and 'warning' in err and '--eval' in err
  trained, read = saved.load(tmp_path / 'run'), saved.load(folder)
  for direction in ('a2b', 'b2a'):
    expected = jax.tree_util.tree_leaves_with_path(
      trained.params['gen'][direction]
    )
    for path, x in expected:
      y = read.params['gen'][direction]
      for key in path:
        y = y[key.key]
      np.testing.assert_array_equal(x, y)


def test_only_a_model_is_overwritten(tmp_path, capsys):
  paths = official(tmp_path / 'there', ['G_A'])
  folder = tmp_path / 'model'
  flag = f'--output={folder}'
  for _ in range(2):
    assert run(capsys, 'import', *paths, flag)[0] == 0
  (folder / 'notes.txt').touch()
  code, _, err = run(capsys, 'import', *paths, flag)
  assert code == 2 and 'holds other files' in err
  code, _, err = run(
    capsys, 'import', *paths, f'--output={folder / "notes.txt"}'
  )
  assert code == 2 and 'notes.txt is a file: give a folder' in err
  arguments = ['export', f'--model={paths[0]}', f'--output={paths[0].parent}']
  code, _, err = run(capsys, *arguments)
  assert code == 2 and f'{paths[0]} exists: give another' in err
  assert run(capsys, *arguments, '--epoch=200')[0] == 0


@pytest.mark.parametrize(
  'arguments, message',
  [
    ([], 'nothing to do: give import or export'),
    (['improt'], "what to do='improt' is unknown: did you mean 'import'"),
    (['import', 'a.pth'], 'no --output'),
    (['import', '--output=x'], 'no files: give the .pth files'),
    (
      ['import', 'a.pth', '--output=x', '--model=y'],
      '--model is a flag of export only',
    ),
    (['import', 'none.pth', '--output=x'], 'none.pth cannot be read'),
    (['import', 'none.txt', '--output=x'], 'none.txt is not a .pth file'),
    (['export', '--output=x'], 'no --model'),
    (['export', 'y', '--output=x', '--model=y'], "'y' is not a flag"),
    (['export', '--output=x', '--model=none'], 'no file or folder none'),
    (
      ['import', 'a.pth', '--output=x.pth'],
      'x.pth (--output) must be a folder',
    ),
    (
      ['import', 'a.pth', '--output=x', '--epoch=5'],
      '--epoch=5 is a flag of export only: use --step=N',
    ),
    (['import', 'a.pth', '--output=x', '--step=5'], 'a.pth is not of epoch 5'),
    (['import', '.', '--output=x'], '. holds no *_net_*.pth'),
    (['export', '--output=x', '--modl=y'], 'modl'),
  ],
)
def test_user_errors_are_one_line(
  arguments, message, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  code, out, err = run(capsys, *arguments)
  assert (code, out) == (2, '') and message in err
  assert err.startswith('error: ') and err.count('\n') == 1
  assert not list(tmp_path.iterdir())


def test_an_epoch_of_a_folder_is_imported(tmp_path, capsys):
  folder = tmp_path / 'there'
  for path in official(folder, ['G_A', 'D_A']):
    (folder / path.name.replace('latest', '5')).write_bytes(path.read_bytes())
  (newest,) = official(folder, ['G_A'], width=6)
  for step, width in (('5', 4), ('', 6)):
    output = tmp_path / f'm{step}'
    flags = [f'--output={output}', *([f'--step={step}'] * bool(step))]
    (folder / 'latest_net_D_A.pth').unlink(missing_ok=True)
    code, out, err = run(capsys, 'import', folder, *flags)
    assert (code, err) == (0, ''), err
    assert ('uses latest_net_*.pth of the epochs 5, latest' in out) != bool(
      step
    )
    assert saved.load(output).config.generator.width == width
  code, _, err = run(
    capsys, 'import', folder, '--step=9', f'--output={tmp_path / "x"}'
  )
  assert code == 2 and 'no 9_net_*.pth' in err and '5, latest' in err


def test_a_network_without_counterpart_writes_nothing(
  tmp_path, capsys, monkeypatch
):
  paths = official(tmp_path / 'there', ['G_A', 'D_A'])
  folder = tmp_path / 'm'
  run(capsys, 'import', *paths, f'--output={folder}')
  file = folder / 'config.json'
  config = json.loads(file.read_text())
  config['generator']['upsampling'] = 'resize'
  file.write_text(json.dumps(config))
  code, _, err = run(
    capsys, 'export', f'--model={folder}', f'--output={tmp_path / "back"}'
  )
  assert code == 2 and "generator.upsampling='resize'" in err
  assert not (tmp_path / 'back').exists()


def test_help_lists_commands_and_flags(capsys):
  with pytest.raises(SystemExit) as stop:
    program.run(torch_weights.main, ['torch_weights', '--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  assert 'import latest_net_*.pth' in out and '--epoch=NAME' in out


def test_a_model_of_one_direction_is_exported_as_one_g_and_one_d(
  tmp_path, capsys
):
  """The official names of pix2pix's and CUT's networks have no letter."""
  model = tiny.save_model(
    tmp_path / 'model', names=('a2b',), method='cut', directions='a2b'
  )
  output = tmp_path / 'out'
  code, _, err = run(capsys, 'export', f'--model={model}', f'--output={output}')
  assert code == 0, err
  found = sorted(path.name for path in output.iterdir())
  assert found == ['latest_net_D.pth', 'latest_net_G.pth']
