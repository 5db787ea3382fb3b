"""Tests of the command line of training: output and one-line errors."""

import json
import os
import subprocess
import sys

import pytest
import tiny
from PIL import Image

from cyclegan_jax import main
from cyclegan_jax.config import flags, program
from cyclegan_jax.defaults import OPTIONS, get_config
from cyclegan_jax.training import trainer
from cyclegan_jax.training.run import Result
from cyclegan_jax.training.workdir import Workdir


def run(argv, capsys):
  """Runs main; returns exit code, standard output and standard error."""
  code = program.run(main.main, argv)
  out, err = capsys.readouterr()
  return code, out, err


def assert_one_line(code, err, *words):
  assert code == 2
  assert err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def test_a_run_trains_and_the_same_command_repeats_nothing(
  pictures, tmp_path, capsys
):
  argv = tiny.command(
    'folder', tmp_path / 'run', pictures, log__sample_every=4, log__report=True
  )
  code, out, err = run(argv, capsys)
  assert code == 0 and err == ''
  assert 'devices: 1 of 4 x cpu (' in out
  for line in (
    'finished: all 4 steps',
    'a2b',
    'copy the input',
    'test figures',
    'sample picture',
    'TensorBoard',
    'report/index.html',
  ):
    assert line in out
  assert 'cycle_a' in (tmp_path / 'run/report/index.html').read_text()
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert config['generator']['width'] == 4
  environment = json.loads((tmp_path / 'run' / 'environment.json').read_text())
  assert {
    'jax',
    'flax',
    'optax',
    'orbax-checkpoint',
    'tensorflow-datasets',
  } <= set(environment['packages'])
  assert environment['devices'] and 'git_commit' in environment
  code, out, err = run(argv, capsys)
  assert code == 0 and 'finished: all 4 steps' in out and 'step 4/4' not in out


@pytest.mark.parametrize(
  ('step', 'line'),
  [
    (3, 'finished: all 3 steps are done, in'),
    (10, 'finished: already at step 10, beyond the 3 steps requested, in'),
  ],
)
def test_the_final_line_names_the_steps_of_a_shortened_run(
  step, line, tmp_path, capsys
):
  assert trainer.report(Result(step, None), Workdir(tmp_path), 3) == 0
  out = capsys.readouterr().out
  assert out.startswith(f'{line} {tmp_path}\n'), out


def test_a_run_folder_refuses_other_settings(pictures, tmp_path, capsys):
  first = tiny.command('folder', tmp_path / 'run', pictures)
  assert run(first, capsys)[0] == 0
  before = (tmp_path / 'run' / 'config.json').read_text()
  other = tiny.command('folder', tmp_path / 'run', pictures, seed=3)
  code, _, err = run(other, capsys)
  assert_one_line(code, err, 'seed was 0, is 3', '--workdir')
  assert (tmp_path / 'run' / 'config.json').read_text() == before


def test_help_lists_every_flag_and_option(capsys):
  with pytest.raises(SystemExit) as stop:
    program.run(main.main, ['main', '--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  for flag in ('--config=FILE', '--workdir=DIR', 'Exit codes'):
    assert flag in out
  for key, (_, meaning, _) in OPTIONS.items():
    assert f'--config.{key} ' in out and meaning in out


def test_the_defaults_are_those_of_the_paper():
  config = get_config()
  assert config.generator.name == 'resnet_9blocks'
  assert (config.data.load_size, config.data.crop_size) == (286, 256)
  assert (config.loss.cycle_a, config.loss.identity_b) == (10.0, 5.0)
  assert (config.optim.lr, config.optim.beta1) == (2e-4, 0.5)
  assert (config.schedule.constant, config.schedule.decay) == (100, 100)
  assert (config.pool_size, config.train.batch_size) == (50, 1)


def test_the_real_process_prints_one_line_for_an_error(tmp_path):
  """The process prints no stack trace and no other lines; exit code 2."""
  done = subprocess.run(
    [sys.executable, '-m', 'cyclegan_jax.main', '--config=nowhere.py'],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    check=False,
  )
  assert (done.returncode, done.stdout) == (2, '')
  assert done.stderr.startswith('error: no file nowhere.py (--config): choose ')


def test_ctrl_c_before_training_is_one_line(capsys):
  def interrupted(argv):
    raise KeyboardInterrupt

  assert program.run(interrupted, ['main']) == 130
  assert capsys.readouterr().err == 'stopped immediately\n'


def test_a_missing_config_is_one_line(capsys):
  code, _, err = run(['main'], capsys)
  assert_one_line(code, err, '--config=configs/summer2winter.py')


def test_a_wrong_config_path_lists_the_recipe_cards(tmp_path, capsys):
  card = tiny.CONFIGS / 'horse2zebraa.py'
  code, _, err = run(['main', f'--config={card}'], capsys)
  assert_one_line(code, err, 'horse2zebraa.py', 'horse2zebra.py')


@pytest.mark.parametrize(
  'text, word',
  [
    ('def get_config(:', 'SyntaxError'),
    ('1 / 0', 'ZeroDivisionError'),
    ('def get_config():\n  return nothing', "name 'nothing'"),
    (
      'from cyclegan_jax import defaults\n\n\ndef get_config():\n'
      '  config = defaults.get_config()\n  config.optim.lrr = 1\n',
      'lrr',
    ),
  ],
)
def test_a_broken_recipe_card_is_named(text, word, tmp_path, capsys):
  (tmp_path / 'card.py').write_text(text)
  for argv in (
    [f'--config={tmp_path / "card.py"}'],
    ['--config', f'{tmp_path / "card.py"}'],
  ):
    code, _, err = run(['main', *argv], capsys)
    assert_one_line(code, err, 'card.py (--config) fails', word)


@pytest.mark.parametrize(
  'override, words',
  [
    ('optim.lrr=1', ['--config.optim.lrr: did you mean --config.optim.lr?']),
    ('optimm.lr=1', ['--config.optimm.lr: did you mean --config.optim.lr?']),
    ('seed.x=1', ['no option --config.seed.x']),
    ('loss=', ['loss']),
    ('optim.lr=fast', ['optim.lr', 'fast']),
    ('train.batch_size=1.5', ['batch_size', '1.5']),
    ('train.batch_size=0', ['train.batch_size=0', 'at least 1']),
    ('train.ema_decay=1.0', ['train.ema_decay=1.0', '[0, 1)']),
    ('data.channels_a=0', ['data.channels_a=0', 'at least 1']),
    ('data.range_a=1', ['data.range_a', 'percentile:1,99']),
    ('data.axis=3', ['data.axis=3', '0, 1 or 2']),
    ('data.slices=some', ['data.slices', 'nonempty']),
    ('data.pages=all', ['data.pages', 'channels']),
    ('schedule.constant=-1', ['schedule.constant=-1']),
    ('method=cycleGAN', ['method', "mean 'cyclegan'"]),
    ('generator.name=resnet9', ['generator.name', 'resnet_9blocks']),
    ('generator.norm=layer', ['norm', 'instance']),
    ('generator.upsampling=nearest', ['upsampling', 'resize']),
    ('generator.downsampling=pool', ['generator.downsampling', 'stride']),
    ('generator.padding=zero', ["generator.padding='zero'", "'replicate'"]),
    ('discriminator.downsampling=pool', ['discriminator.downsampling', 'blur']),
    ('generator.init_type=he', ['init_type', 'kaiming']),
    ('discriminator.name=patch', ['discriminator.name', 'patchgan']),
    ('discriminator.depth=4', ['discriminator.depth=4', 'crop_size']),
    ('loss.adversarial_loss=gan', ['loss.adversarial_loss', 'vanilla']),
    ('dtype=float16', ['dtype', 'bfloat16']),
    ('optim.name=adamw', ['optim.name', "mean 'adam'"]),
    ('schedule.name=step', ['schedule.name', 'cosine']),
    ('parallel.map=vmap', ['parallel.map', 'pmap']),
    ('parallel.devices=64', ['parallel.devices=64', 'only 4']),
    ('parallel.devices=3', ['train.batch_size=1', '3']),
    ('data.preprocess=resize', ['data.preprocess', 'resize_and_crop']),
    ('data.crop_size=32', ['data.crop_size=32', 'data.load_size=18']),
    ('data.source=files', ['data.source', 'folder']),
  ],
)
def test_invalid_option_values_are_one_line(
  override, words, pictures, tmp_path, capsys
):
  argv = tiny.command('folder', tmp_path / 'run', pictures)
  code, _, err = run([*argv, f'--config.{override}'], capsys)
  assert_one_line(code, err, *words)


def test_a_stray_word_is_one_line(pictures, tmp_path, capsys):
  argv = tiny.command('folder', tmp_path / 'run', pictures)
  code, _, err = run([*argv, 'horses'], capsys)
  assert_one_line(code, err, 'horses', '--help')


def test_an_unknown_flag_is_one_line(pictures, tmp_path, capsys):
  argv = tiny.command('folder', tmp_path / 'run', pictures)
  code, _, err = run([*argv, '--wrkdir=x'], capsys)
  assert_one_line(code, err, 'wrkdir', 'workdir')


def test_a_missing_dataset_folder_is_one_line(tmp_path, capsys):
  argv = tiny.command('folder', tmp_path / 'run', tmp_path / 'nowhere')
  code, _, err = run(argv, capsys)
  assert_one_line(code, err, 'nowhere', 'data.root', 'trainA')


def test_an_empty_dataset_folder_is_one_line(tmp_path, capsys):
  for name in ('trainA', 'trainB'):
    (tmp_path / 'data' / name).mkdir(parents=True)
  argv = tiny.command('folder', tmp_path / 'run', tmp_path / 'data')
  code, _, err = run(argv, capsys)
  assert_one_line(code, err, 'no pictures in', 'trainA')


def spoil(name, data):
  def spoil_file(root):
    path = root / 'trainB' / name
    if isinstance(data, bytes):
      path.write_bytes(data)
    else:
      Image.new('RGB', data).save(path)
    return path

  return spoil_file


@pytest.mark.parametrize(
  'spoiled',
  [spoil('9.png', b'no picture'), spoil('9.png', (1, 1)), spoil('9.jpg', b'')],
  ids=['a text file named .png', 'a 1x1 picture', 'an empty file'],
)
def test_an_unusable_picture_is_named_before_training(
  spoiled, tmp_path, capsys
):
  tiny.write_pictures(tmp_path / 'data')
  path = spoiled(tmp_path / 'data')
  code, out, err = run(
    tiny.command('folder', tmp_path / 'run', tmp_path / 'data'), capsys
  )
  assert_one_line(code, err, str(path), 'remove it')
  assert 'step 1/' not in out


def test_a_corrupt_jpeg_stops_training_with_one_line(tmp_path):
  """In the real process, TensorFlow's JPEG reader prints nothing."""
  tiny.write_pictures(tmp_path / 'data')
  path = tmp_path / 'data' / 'trainA' / '3.jpg'
  with Image.open(tmp_path / 'data' / 'trainA' / '3.png') as image:
    image.resize((200, 200)).save(path)
  path.write_bytes(path.read_bytes()[:3000])
  argv = tiny.command(
    'folder', tmp_path / 'run', tmp_path / 'data', schedule__constant=50
  )
  done = subprocess.run(
    [sys.executable, '-m', 'cyclegan_jax.main', *argv[1:]],
    capture_output=True,
    text=True,
    env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '1'},  # as JAX sets it
    check=False,
  )
  assert_one_line(done.returncode, done.stderr, str(path), 'truncated')


def test_an_unwritable_run_folder_is_one_line(pictures, tmp_path, capsys):
  (tmp_path / 'file').touch()
  argv = tiny.command('folder', tmp_path / 'file' / 'run', pictures)
  code, _, err = run(argv, capsys)
  assert_one_line(code, err, '--workdir', 'file')


def test_the_run_folder_is_named_after_the_recipe_card():
  _, workdir = flags.parse(['main', f'--config={tiny.CONFIGS / "maps.py"}'], '')
  assert str(workdir) == 'runs/maps'
