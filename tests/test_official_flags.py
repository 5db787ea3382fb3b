"""Tests that official flags are answered with flags that commands accept."""

import re

import pytest
import tiny
from test_paths import COMMANDS, WITH_CONFIG, flags_of

from cyclegan_jax.config import changes, official, program
from cyclegan_jax.config.official_flags import ANSWERS, SWITCHES, VALUES
from cyclegan_jax.defaults import OPTIONS

# All flags of train.py and test.py of pytorch-CycleGAN-and-pix2pix.
_OFFICIAL = """
dataroot name gpu_ids checkpoints_dir model input_nc output_nc ngf ndf netD netG
n_layers_D norm init_type init_gain no_dropout dataset_mode direction
serial_batches num_threads batch_size load_size crop_size max_dataset_size
preprocess no_flip display_winsize epoch load_iter verbose suffix use_wandb
wandb_project_name display_freq display_ncols display_id display_server
display_env display_port update_html_freq print_freq no_html save_latest_freq
save_epoch_freq save_by_iter continue_train epoch_count phase n_epochs
n_epochs_decay beta1 lr gan_mode pool_size lr_policy lr_decay_iters lambda_A
lambda_B lambda_identity lambda_L1 results_dir aspect_ratio eval num_test
model_suffix
"""
# Additional flags of CUT.
_CUT = """
CUT_mode lambda_GAN lambda_NCE nce_idt nce_layers netF netF_nc nce_T num_patches
flip_equivariance no_antialias no_antialias_up normG normD
"""
OFFICIAL = (_OFFICIAL + _CUT).split()
SAMPLES = {'model': 'cycle_gan', 'direction': 'BtoA', 'netD': 'pixel'} | {
  'dataset_mode': 'unaligned',
  'gpu_ids': '0',
  'lr_policy': 'cosine',
  'norm': 'batch',
  'CUT_mode': 'FastCUT',
  'nce_idt': 'False',
}


def answer(command, *words, capsys):
  """Runs a command with the words and returns its one-line error."""
  code = program.run(COMMANDS[command].main, [command, *words])
  out, err = capsys.readouterr()
  assert code == 2 and out == '' and err.count('\n') == 1, err
  assert err.startswith('error: '), err
  return err


def named(text):
  """Flags that an answer names, each with its command if one is named."""
  for part in re.split('; ', text):
    where = re.search(r' of cyclegan_jax\.(\w+)', part)
    for flag in re.findall(r'--([\w.-]*\w)', part.partition(' ')[2]):
      yield flag, where and where[1]


def accepts(command, flag):
  if flag.startswith('config.'):
    options = changes.CHANGEABLE if command == 'evaluate' else OPTIONS
    known = command in WITH_CONFIG and flag.removeprefix('config.') in options
    return known
  return flag in flags_of(command)


def test_every_official_flag_has_an_answer():
  assert set(OFFICIAL) <= set(ANSWERS) and set(ANSWERS) >= SWITCHES


@pytest.mark.parametrize('command', COMMANDS)
def test_every_answer_names_existing_flags(command, capsys):
  own = flags_of(command)
  for name in ANSWERS:
    if name in own:
      continue
    value = '' if name in SWITCHES else f'={SAMPLES.get(name, "7")}'
    for words in (
      [f'--{name}{value}'],
      [f'--{name}', *([value[1:]] * bool(value))],
    ):
      err = answer(command, *words, capsys=capsys)
      text = err.removeprefix('error: flags of the official code: ')
      text = text.partition(' (and give')[0]
      assert text.startswith(f'--{name}{value} '), err
      for flag, where in named(text):
        assert accepts(where or command, flag), err


def test_flags_of_an_official_training_command_are_answered(capsys):
  given = (
    '--dataroot ./datasets/maps --name maps --model pix2pix --direction BtoA '
    '--netG unet_256 --netD n_layers --no_flip --lambda_A 4 --lambda_identity '
    '0.5 --lr 0.1 --gpu_ids -1 --norm batch --checkpoints_dir=ck '
    '--continue_train'
  )
  err = answer('main', *given.split(), capsys=capsys)
  for words in (
    '--dataroot=./datasets/maps is --config.data.root=./datasets/maps;',
    '--name=maps is --workdir=ck/maps;',
    '--model=pix2pix is --config.method=pix2pix;',
    '--direction=BtoA is --config.directions=b2a;',
    '--netG=unet_256 is --config.generator.name=unet_256;',
    '--netD=n_layers is --config.discriminator.name=patchgan;',
    '--no_flip is --config.data.flip=False;',
    '--lambda_identity=0.5 is --config.loss.identity_a=2 '
    '--config.loss.identity_b=5,',
    '--lr=0.1 is --config.optim.lr=0.1 --config.optim.lr_discriminator=0.1;',
    '--gpu_ids=-1 is the environment variable JAX_PLATFORMS=cpu;',
    '--config.generator.norm=batch --config.discriminator.norm=batch;',
    '--continue_train is not needed: the same command resumes a run',
    '(and give a recipe card, such as --config=configs/folder.py)',
  ):
    assert words in err, (words, err)


def test_flags_of_an_official_test_command_are_answered(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  words = '--dataroot=in --name=maps --model_suffix=_B --results_dir=r --eval'
  (tmp_path / 'checkpoints' / 'maps').mkdir(parents=True)
  err = answer('translate', *words.split(), '--epoch', '200', capsys=capsys)
  for words in (
    '--dataroot=in is --input=in;',
    '--name=maps is --model=checkpoints/maps;',
    '--model_suffix=_B is --direction=b2a;',
    '--results_dir=r is --output=r;',
    '--eval is --batch-norm=average;',
    '--epoch=200 is --step=200',
  ):
    assert words in err, (words, err)
  assert 'recipe card' not in err


@pytest.mark.parametrize(
  ('command', 'words', 'expected'),
  [
    ('translate', '--direction=AtoB', 'is --direction=a2b'),
    ('export', '--direction BtoA', 'is --direction=b2a'),
    ('translate', '--model=cycle_gan', 'a run folder or a .pth file'),
    ('evaluate', '--model pix2pix', 'a run folder or a .pth file'),
    ('main', '--config.method=cycle_gan', 'is --config.method=cyclegan'),
    ('main', '--config.directions=AtoB', 'is --config.directions=a2b'),
    (
      'check_data',
      '--config.data.source=unaligned',
      'is --config.data.source=folder',
    ),
    (
      'main',
      '--config.discriminator.name=n_layers',
      'is --config.discriminator.name=patchgan',
    ),
  ],
)
def test_official_values_of_existing_flags_are_answered(
  command, words, expected, capsys
):
  card = [f'--config={tiny.CONFIGS / "folder.py"}'] * (command in WITH_CONFIG)
  assert expected in answer(command, *card, *words.split(), capsys=capsys)


def test_official_values_map_to_existing_values():
  for name, names in VALUES.items():
    option = OPTIONS.get(name.removeprefix('config.'))
    for here in names.values():
      assert here in (option.meaning if option else 'a2b b2a'), name


def test_own_flags_of_a_program_are_not_answered():
  official.check(['x', '--seed=3', '--epoch', '7'], ['seed', 'epoch'])
  official.check(['x', '--', '--dataroot=x'], [])
  official.check(['x', 'dataroot', '-1'], [])


@pytest.mark.parametrize(
  'words, expected',
  [
    (['--lambda_NCE=1'], 'loss.nce=0.5 --config.loss.nce_identity=0.5'),
    (['--CUT_mode=FastCUT', '--lambda_NCE=10'], '--config.loss.nce=10'),
    (['--CUT_mode=FastCUT'], '--config.method=fastcut'),
    (['--nce_idt=False'], '--config.loss.nce_identity=0'),
  ],
)
def test_loss_weights_of_cut_are_converted(words, expected, capsys):
  assert expected in answer('main', *words, capsys=capsys)
