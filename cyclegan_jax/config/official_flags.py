"""Tables of the flags of the official train.py and test.py."""

import pathlib
import shlex

from cyclegan_jax.defaults import OPTIONS

# flag or option of this package -> {name of a value in the official code: name
# in this package}
_DIRECTIONS = {'AtoB': 'a2b', 'BtoA': 'b2a'}
VALUES = {
  'direction': _DIRECTIONS,
  'config.directions': _DIRECTIONS,
  'config.method': {
    'cycle_gan': 'cyclegan',
    'CUT': 'cut',
    'FastCUT': 'fastcut',
    'dcl': 'dclgan',
  },
  'config.data.source': {'unaligned': 'folder'},
  'config.discriminator.name': {
    'basic': 'patchgan',
    'n_layers': 'patchgan',
    'pixel': 'pixelgan',
  },
}
MODELS = ('cycle_gan', 'pix2pix', 'test', 'colorization', 'cut', 'dcl')

# Official flags that take no value.
SWITCHES = {
  'continue_train',
  'eval',
  'no_antialias',
  'no_antialias_up',
  'no_dropout',
  'no_flip',
  'no_html',
  'no_lsgan',
  'save_by_iter',
  'serial_batches',
  'use_wandb',
  'verbose',
}


def _named(flag):
  """Returns the answer for a flag whose values may have other names here."""

  def answer(value, given):
    value = VALUES[flag].get(value, value or 'NAME')
    return f'is --{flag}={shlex.quote(value)}'

  return answer


def _model(value, given):
  if value == 'test':
    return 'is the program cyclegan_jax.translate'
  if value == 'colorization':
    return 'has no counterpart'
  return _named('config.method')(value, given)


def _folder(flag):
  """Returns the answer for --name and --checkpoints_dir.

  Both together are one folder in this package, the value of --workdir or
  --model.
  """

  def answer(value, given):
    name = given.get('name') or 'NAME'
    there = pathlib.Path('checkpoints', name).is_dir() and 'checkpoints'
    folder = pathlib.Path(given.get('checkpoints_dir') or there or 'runs', name)
    return f'is --{flag}={shlex.quote(str(folder))}'

  return answer


def _directions(value, given):
  if given.get('model') == 'pix2pix':
    return _named('config.directions')(value, given)
  return 'is not needed: CycleGAN trains both directions'


def _suffix(value, given):
  direction = {'_B': 'b2a'}.get(value, 'a2b')
  return f'is --direction={direction}'


def _devices(value, given):
  if value == '-1':
    return 'is the environment variable JAX_PLATFORMS=cpu'
  return f'is the environment variable CUDA_VISIBLE_DEVICES={value or "N"}'


def _epoch(value, given):
  if not value or value == 'latest':
    return 'is not needed: the default of --step is the newest'
  return f'is --step={shlex.quote(value)}'


def _identity(value, given):
  """Answer for --lambda_identity, a factor of lambda_A and lambda_B."""
  weights = {}
  for domain in 'ab':
    cycle = given.get(f'lambda_{domain.upper()}')
    cycle = cycle or OPTIONS[f'loss.cycle_{domain}'].default
    try:
      weights[domain] = f'{float(value or 0.5) * float(cycle):g}'
    except ValueError:
      weights[domain] = 'X'
  return (
    f'is --config.loss.identity_a={weights["a"]} '
    f'--config.loss.identity_b={weights["b"]}, the product with lambda_A and '
    'lambda_B'
  )


def _contrast(value, given):
  """Answer for --lambda_NCE: the weight of the mean of two terms in CUT.

  FastCUT has one term only.
  """
  if given.get('CUT_mode', '').lower() == 'fastcut':
    return f'is --config.loss.nce={value or "X"}'
  try:
    half = f'{float(value) / 2:g}'
  except ValueError:
    half = 'X'
  return f'is --config.loss.nce={half} --config.loss.nce_identity={half}'


def _contrast_identity(value, given):
  del given
  weight = '0' if value.lower() == 'false' else '0.5'
  return f'is --config.loss.nce_identity={weight}'


def _policy(value, given):
  if value in ('step', 'plateau'):
    return 'has no counterpart: the schedules are linear, cosine, constant'
  return f'is --config.schedule.name={value or "NAME"}'


def _both(option, value='{X}'):
  return (
    f'is --config.generator.{option}={value} '
    f'--config.discriminator.{option}={value}'
  )


_BATCH = ['is --config.train.batch_size={N}', 'is --batch={N}']
_CONSTANT = ['is --config.schedule.constant={N}']
_CONTINUES = 'is not needed: the same command resumes a run'
_CROP = ['is --config.data.crop_size={N}']
_DECAY = ['is --config.schedule.decay={N}']
_DIRECTION = [_named('direction'), _directions]
_DISCRIMINATOR = [_named('config.discriminator.name')]
_GENERATOR = ['is --config.generator.name={NAME}']
_LOAD = ['is --config.data.load_size={N}']
_PREPROCESS = ['is --config.data.preprocess={NAME}']
_RUN = [_folder('workdir'), _folder('model')]
_SAMPLES = ['is --config.log.sample_every={N}, in steps']
_STEP = [_epoch, _CONTINUES]
_TENSORBOARD = ['has no counterpart: look at the run with TensorBoard']
_THREADS = ['is --config.data.threads={N}']
_WHOLE = ['is not needed: all pictures are used']

# Official flag -> possible answers. An answer is a text, in which a name in
# braces stands for the value, or a function (value, {flag: value}) -> text. The
# first answer whose flags the program has is given.
ANSWERS = {
  'dataroot': ['is --config.data.root={FOLDER}', 'is --input={FOLDER}'],
  'name': _RUN,
  'checkpoints_dir': _RUN,
  'suffix': _RUN,
  'model': [_model],
  'direction': _DIRECTION,
  'dataset_mode': [_named('config.data.source')],
  'gpu_ids': [_devices],
  'seed': ['is --config.seed={N}'],
  'input_nc': ['is --config.data.channels_a={N}'],
  'output_nc': ['is --config.data.channels_b={N}'],
  'ngf': ['is --config.generator.width={N}'],
  'ndf': ['is --config.discriminator.width={N}'],
  'netG': _GENERATOR,
  'netD': _DISCRIMINATOR,
  'n_layers_D': ['is --config.discriminator.depth={N}'],
  'norm': [_both('norm')],
  'init_type': [_both('init_type')],
  'init_gain': [_both('init_gain')],
  'no_dropout': ['is --config.generator.dropout=0.0'],
  'serial_batches': ['has no counterpart: the order is random'],
  'num_threads': _THREADS,
  'batch_size': _BATCH,
  'load_size': _LOAD,
  'crop_size': _CROP,
  'preprocess': _PREPROCESS,
  'no_flip': ['is --config.data.flip=False'],
  'max_dataset_size': ['has no counterpart: use a folder with fewer pictures'],
  'epoch': _STEP,
  'load_iter': _STEP,
  'verbose': ['is not needed: parameters.txt of a run lists the networks'],
  # Only in train.py.
  'display_freq': _SAMPLES,
  'update_html_freq': _SAMPLES,
  'print_freq': ['is --config.log.every={N}, in steps'],
  'no_html': ['is --config.log.report=False'],
  'save_latest_freq': ['is --config.log.checkpoint_every={N}, in steps'],
  'save_epoch_freq': ['is --config.log.keep_every=N, in steps'],
  'save_by_iter': ['is not needed: checkpoints are counted in steps'],
  'continue_train': [_CONTINUES],
  'epoch_count': [_CONTINUES],
  'n_epochs': _CONSTANT,
  'n_epochs_decay': _DECAY,
  'beta1': ['is --config.optim.beta1={X}'],
  'lr': ['is --config.optim.lr={X} --config.optim.lr_discriminator={X}'],
  'lr_policy': [_policy],
  'lr_decay_iters': ['has no counterpart: no schedule decays in jumps'],
  'gan_mode': ['is --config.loss.adversarial_loss={NAME}'],
  'pool_size': ['is --config.pool_size={N}'],
  'lambda_A': ['is --config.loss.cycle_a={X}'],
  'lambda_B': ['is --config.loss.cycle_b={X}'],
  'lambda_identity': [_identity],
  'lambda_L1': ['is --config.loss.l1={X}'],
  # Only in CUT's train.py.
  'CUT_mode': [_named('config.method')],
  'lambda_GAN': ['is --config.loss.adversarial={X}'],
  'lambda_NCE': [_contrast],
  'nce_idt': [_contrast_identity],
  'nce_layers': [
    'is --config.contrast.taps=NAMES, where 0 is padded, 4 is down_1, 8 is '
    'down_2, 12 is block_0 and 16 is block_4'
  ],
  'netF': ['has no counterpart: the projection heads are always mlp_sample'],
  'netF_nc': ['is --config.contrast.features={N}'],
  'nce_T': ['is --config.contrast.temperature={X}'],
  'num_patches': ['is --config.contrast.patches={N}'],
  'flip_equivariance': ['is --config.method=fastcut'],
  'no_antialias': [_both('downsampling', 'stride')],
  'no_antialias_up': ['is --config.generator.upsampling=transpose'],
  'normG': ['is --config.generator.norm={NAME}'],
  'normD': ['is --config.discriminator.norm={NAME}'],
  # Only in test.py.
  'phase': ['is not needed: all pictures of the given folder are used'],
  'results_dir': ['is --output={FOLDER}'],
  'aspect_ratio': ['is not needed: translations have the sizes of the inputs'],
  'eval': ['is --batch-norm=average'],
  'num_test': _WHOLE,
  'model_suffix': [_suffix],
  # Names in earlier versions of the official code.
  'batchSize': _BATCH,
  'fineSize': _CROP,
  'how_many': _WHOLE,
  'identity': [_identity],
  'loadSize': _LOAD,
  'nThreads': _THREADS,
  'niter': _CONSTANT,
  'niter_decay': _DECAY,
  'no_lsgan': ['is --config.loss.adversarial_loss=vanilla'],
  'ntest': _WHOLE,
  'resize_or_crop': _PREPROCESS,
  'which_direction': _DIRECTION,
  'which_epoch': _STEP,
  'which_model_netD': _DISCRIMINATOR,
  'which_model_netG': _GENERATOR,
  **dict.fromkeys(
    (
      'display_winsize',
      'display_ncols',
      'display_id',
      'display_server',
      'display_env',
      'display_port',
      'use_wandb',
      'wandb_project_name',
    ),
    _TENSORBOARD,
  ),
}
