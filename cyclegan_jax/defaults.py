"""Every option: its default, meaning and range; recipe cards change some."""

import ml_collections

from cyclegan_jax import nets
from cyclegan_jax.common.option import Option, Range, options_of
from cyclegan_jax.data import own_source

_AT_LEAST_1 = Range('at least 1', lambda x: x >= 1)
_NOT_NEGATIVE = Range('0 or more', lambda x: x >= 0)
_POSITIVE = Range('above 0', lambda x: x > 0)
_AN_AXIS = Range('0, 1 or 2', lambda x: x in (0, 1, 2))
_BELOW_1 = Range('in [0, 1)', lambda x: 0 <= x < 1)

# The defaults are the paper's, or the official code's where the paper is
# silent.
_LINES = {
  'method': (
    'cyclegan',
    'cyclegan | pix2pix | simgan | feature | bigan | cogan | cut | fastcut | '
    'dclgan',
  ),
  'directions': (
    'both',
    'both | a2b | b2a: what pix2pix, simgan, feature, cut and fastcut train',
  ),
  'seed': (
    0,
    'decides parameters, data order, augmentation and pool',
    _NOT_NEGATIVE,
  ),
  'init_from': (
    '',
    'weights to start from: a run, a folder of weights, a .pth, or '
    'hf://USER/NAME',
  ),
  'data.source': (
    'tfds',
    'folder | aligned | tfds | hf | builtin | mni152, or in a recipe card a '
    'function of its own (docs/own_data.md)',
  ),
  'data.root': (
    '',
    'folder of the data set (folder, aligned, hf), or of what TFDS or the '
    'Hugging Face Hub give',
  ),
  'data.name': (
    '',
    'data set of TFDS, such as cycle_gan/horse2zebra; of hf, such as '
    'huggan/horse2zebra, a folder of save_to_disk or parquet files; "X;Y" for '
    'A and B',
  ),
  'data.columns': (
    '',
    'hf: COLUMN or A,B of pictures; empty: those of type Image',
  ),
  'data.splits': (
    '',
    'hf: TRAIN,TEST or TRAIN_A,TRAIN_B,TEST_A,TEST_B; empty: train,test or '
    'trainA,trainB,testA,testB',
  ),
  'data.paired': (
    'auto',
    'auto | yes | no: whether pictures of A and B are true pairs; auto goes by '
    'their names, yes refuses names that do not agree',
  ),
  'data.preprocess': (
    'resize_and_crop',
    'resize_and_crop | crop | scale_width | scale_width_and_crop | '
    'scale_shortside | none',
  ),
  'data.load_size': (286, 'pixels to scale to'),
  'data.load_size_in_decay': (
    0,
    'the same while the learning rate decays; 0: data.load_size',
    _NOT_NEGATIVE,
  ),
  'data.crop_size': (256, 'side of the random crop'),
  'data.flip': (True, 'mirror at random'),
  'data.channels_a': (
    3,
    'channels of A: 3 (RGB), 1 (gray) or any other number',
    _AT_LEAST_1,
  ),
  'data.channels_b': (3, 'channels of B', _AT_LEAST_1),
  'data.range_a': (
    'auto',
    'auto | LOW,HIGH | LOW,HIGH;LOW,HIGH;... | percentile:1,99: the values of '
    'A that become -1 and 1; auto: those of the integer type; one pair per '
    'channel with semicolons; percentiles are measured once over the training '
    'pictures. Values outside are clipped and counted',
  ),
  'data.range_b': ('auto', 'values of B that become -1 and 1'),
  'data.show_a': (
    'auto',
    'auto | R,G,B | N: channels of A, from 1, that sample grids, reports and '
    'metrics of RGB networks show as red, green and blue, or as gray; auto: '
    'the first three, of two red and green, one as gray',
  ),
  'data.show_b': ('auto', 'channels of B that are shown'),
  'data.axis': (
    2,
    'axis that slices of a volume (NIfTI) are taken along',
    _AN_AXIS,
  ),
  'data.slices': (
    'all',
    'all | nonempty: slices of a volume to use; nonempty leaves out those '
    'whose values are all equal',
  ),
  'data.pages': (
    'first',
    'first | channels | slices: what the pages of a TIFF are',
  ),
  'data.cache_gb': (2.0, 'memory for decoded pictures', _NOT_NEGATIVE),
  'data.threads': (
    0,
    'batches prepared at a time; 0: as many as it takes',
    _NOT_NEGATIVE,
  ),
  'data.on_bad_image': (
    'stop',
    'stop | skip: what a picture that cannot be used does to the run',
  ),
  'generator.name': (
    'resnet_9blocks',
    'resnet_6blocks | resnet_9blocks | resnet | unet_128 | unet_256 | unet',
  ),
  'generator.depth': (
    0,
    'blocks of resnet, levels of unet; 0: as named',
    _NOT_NEGATIVE,
  ),
  'generator.width': (64, 'channels of the first layer (ngf)', _AT_LEAST_1),
  'generator.norm': (
    'instance',
    'instance | instance_affine | batch | batch_frozen | none',
  ),
  'generator.dropout': (
    0.0,
    'rate of dropout; the official rate is 0.5',
    _BELOW_1,
  ),
  'generator.upsampling': (
    'transpose',
    'transpose (the paper) | resize (no checkerboard) | blur (CUT)',
  ),
  'generator.remat': (
    'none',
    'none | blocks | all: what is computed twice, to save memory; what is not '
    'none also makes a CPU save it at the cost of time',
  ),
  'generator.init_type': ('normal', 'normal | xavier | kaiming | orthogonal'),
  'generator.init_gain': (0.02, 'standard deviation or gain of the init'),
  'discriminator.name': ('patchgan', 'patchgan | pixelgan'),
  'discriminator.depth': (
    3,
    'strided layers of patchgan; 3 sees 70 pixels',
    _NOT_NEGATIVE,
  ),
  'discriminator.width': (64, 'channels of the first layer (ndf)', _AT_LEAST_1),
  'discriminator.norm': ('instance', 'as for the generator'),
  'discriminator.init_type': ('normal', 'as for the generator'),
  'discriminator.init_gain': (0.02, 'as for the generator'),
  'dtype': ('float32', 'float32 | bfloat16, of the computation'),
  'loss.adversarial_loss': ('lsgan', 'lsgan | vanilla | hinge | wgangp'),
  'loss.adversarial': (1.0, 'weight of the adversarial loss', _NOT_NEGATIVE),
  'loss.cycle_a': (10.0, 'weight of a -> b -> a', _NOT_NEGATIVE),
  'loss.cycle_b': (10.0, 'weight of b -> a -> b', _NOT_NEGATIVE),
  'loss.identity_a': (
    5.0,
    'weight of a -> a; 0.5 * cycle in the paper',
    _NOT_NEGATIVE,
  ),
  'loss.identity_b': (5.0, 'weight of b -> b', _NOT_NEGATIVE),
  'loss.l1': (
    100.0,
    'pix2pix: weight of the L1 to the true translation',
    _NOT_NEGATIVE,
  ),
  'loss.self_regularization': (
    10.0,
    'simgan: weight of the L1 between a picture and its translation',
    _NOT_NEGATIVE,
  ),
  'loss.feature': (
    10.0,
    'feature: weight of the same in VGG-16 relu4_2',
    _NOT_NEGATIVE,
  ),
  'loss.nce': (
    0.5,
    'cut, fastcut, dclgan: weight of PatchNCE between a picture and its '
    'translation; lambda_NCE is 0.5 + 0.5 in CUT, 10 in FastCUT, 2 in DCLGAN '
    '(1 per direction)',
    _NOT_NEGATIVE,
  ),
  'loss.nce_identity': (
    0.5,
    'cut: weight of PatchNCE between a picture of B and what a2b makes of it',
    _NOT_NEGATIVE,
  ),
  'contrast.taps': (
    '',
    "PatchNCE: the generator's layers to compare, with commas, of padded, "
    'down_1, down_2, block_0, block_1, ...; empty: those of the paper',
  ),
  'contrast.patches': (
    256,
    'PatchNCE: places to compare in each layer',
    _AT_LEAST_1,
  ),
  'contrast.features': (
    256,
    'PatchNCE: size of the vectors to compare (netF_nc)',
    _AT_LEAST_1,
  ),
  'contrast.temperature': (
    0.07,
    'PatchNCE: number that similarities are divided by (nce_T)',
    _POSITIVE,
  ),
  'loss.discriminator': (
    0.5,
    'factor of the discriminator loss',
    _NOT_NEGATIVE,
  ),
  'loss.gradient_penalty': (
    10.0,
    'weight of the penalty of wgangp',
    _NOT_NEGATIVE,
  ),
  'pool_size': (
    50,
    'fakes the image pool remembers; 0 switches it off',
    _NOT_NEGATIVE,
  ),
  'optim.name': ('adam', 'adam | sgd'),
  'optim.lr': (2e-4, 'learning rate of the generators', _NOT_NEGATIVE),
  'optim.lr_discriminator': (
    2e-4,
    'learning rate of the discriminators',
    _NOT_NEGATIVE,
  ),
  'optim.lr_heads': (
    2e-4,
    'learning rate of the projection heads of cut, fastcut and dclgan',
    _NOT_NEGATIVE,
  ),
  'optim.beta1_heads': (
    0.5,
    "Adam's beta1 for the projection heads",
    _BELOW_1,
  ),
  'optim.beta1': (0.5, "Adam's beta1", _BELOW_1),
  'optim.beta2': (0.999, "Adam's beta2", _BELOW_1),
  'schedule.name': ('linear', 'linear | cosine | constant'),
  'schedule.unit': ('epochs', 'epochs | steps'),
  'schedule.constant': (100, 'epochs or steps at the full rate', _NOT_NEGATIVE),
  'schedule.decay': (
    100,
    'epochs or steps of decay behind them',
    _NOT_NEGATIVE,
  ),
  'train.batch_size': (
    1,
    'pictures of each domain a step, on all devices',
    _AT_LEAST_1,
  ),
  'train.accumulate': (
    1,
    "parts of a device's batch, one after the other, to save memory",
    _AT_LEAST_1,
  ),
  'train.steps_per_call': (
    1,
    'steps the device does in one go, where tiny',
    _AT_LEAST_1,
  ),
  'train.ema_decay': (
    0.0,
    "decay of the generators' average; 0: none",
    _BELOW_1,
  ),
  'train.on_nonfinite': (
    'stop',
    'stop | skip: what a step with NaN or infinity does to the run',
  ),
  'log.every': (100, 'steps between logged numbers', _NOT_NEGATIVE),
  'log.sample_every': (1000, 'steps between sample grids', _NOT_NEGATIVE),
  'log.checkpoint_every': (1000, 'steps between checkpoints', _NOT_NEGATIVE),
  'log.keep': (3, 'newest checkpoints kept', _AT_LEAST_1),
  'log.keep_every': (
    0,
    'steps between checkpoints kept for good; 0: none',
    _NOT_NEGATIVE,
  ),
  'log.samples': (4, 'test pictures in a sample grid', _AT_LEAST_1),
  'log.stuck_after': (
    900,
    'seconds without a step after which the stack of every thread is written '
    'to standard error, again and again; 0: never',
    _NOT_NEGATIVE,
  ),
  'log.to': (
    'tensorboard',
    'tensorboard | wandb, or several with commas, beside metrics.jsonl and '
    'samples/; empty: none (docs/loggers.md)',
  ),
  'log.report': (True, 'makes report/index.html at the end'),
  'evaluate.every': (
    0,
    'epochs between measuring the test pictures; 0: never',
    _NOT_NEGATIVE,
  ),
  'evaluate.metrics': (
    'l1,ssim',
    'what by: l1 psnr ssim dice lpips lpips_vgg fid kid fd_vgg kd_vgg '
    'fd_alex kd_alex fcn palette',
  ),
  'evaluate.best': (
    '',
    'METRIC or METRIC DIRECTION, as "lpips b2a": keeps the best weights by it '
    'in best/',
  ),
  'evaluate.on_training_pictures': (
    False,
    'measures training pictures where there are no test pictures',
  ),
  'evaluate.segmenter': ('', 'what fcn reads pictures with'),
  'evaluate.inception': ('', "PyTorch-FID's weights, for fid and kid"),
  'parallel.devices': (0, 'devices to use; 0: all', _NOT_NEGATIVE),
  'parallel.map': ('shard_map', 'shard_map | pmap, which give the same'),
}

# section -> the networks, whose classes declare options of their own
_NETWORKS = {
  'generator': nets.GENERATORS,
  'discriminator': nets.DISCRIMINATORS,
}

OPTIONS = {key: Option(*line) for key, line in _LINES.items()} | {
  f'{section}.{name}': line
  for section, table in _NETWORKS.items()
  for make in table.values()
  for name, line in options_of(nets.network_class(make)).items()
}
DEFAULTS = {key: option.default for key, option in OPTIONS.items()}

# Options that are paths: `~` is expanded, and a run records them absolute.
PATHS = ('init_from', 'data.root', 'evaluate.segmenter', 'evaluate.inception')

# What may change when a run goes on: where and how it runs, not what it trains.
# Sections end with a dot. The number of steps bends the schedule's rest.
MAY_CHANGE = (
  'log.',
  'evaluate.',
  'parallel.',
  'data.root',  # config/identity.py compares the pictures
  'data.paired',  # and those that are trained on as pairs
  'data.show_a',
  'data.show_b',
  'data.cache_gb',
  'data.threads',
  'data.on_bad_image',
  'generator.remat',
  'schedule.constant',
  'schedule.decay',
  'train.on_nonfinite',
  'train.steps_per_call',
)


class _Data(ml_collections.ConfigDict):
  """The section `data`, whose source may be a function of a recipe card."""

  def __setitem__(self, key, value):
    if key == 'source' and own_source.is_function(value):
      value = own_source.text_of(value)
    super().__setitem__(key, value)


def get_config():
  """The defaults as a ConfigDict, for recipe cards to change."""
  config = {}
  for key, default in DEFAULTS.items():
    *sections, name = key.split('.')
    node = config
    for section in sections:
      node = node.setdefault(section, {})
    node[name] = default
  config['data'] = _Data(config['data'])
  return ml_collections.ConfigDict(config).lock()
