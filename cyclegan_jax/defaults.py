"""Every option with its default and meaning; recipe cards change some."""

import ml_collections

# key -> (default, meaning). The defaults are the paper's, or the official
# code's where the paper is silent.
OPTIONS = {
  'method': (
    'cyclegan',
    'cyclegan | pix2pix | simgan | feature | bigan | cogan',
  ),
  'directions': (
    'both',
    'both | a2b | b2a: what pix2pix, simgan and feature train',
  ),
  'seed': (0, 'decides parameters, data order, augmentation and pool'),
  'init_from': (
    '',
    'weights to start from: a run, a folder of imported weights, or a .pth',
  ),
  'data.source': ('tfds', 'folder | aligned | tfds | builtin'),
  'data.root': ('', 'folder of the data set (folder, aligned) or of TFDS'),
  'data.name': ('', 'TFDS data set, such as cycle_gan/horse2zebra'),
  'data.preprocess': (
    'resize_and_crop',
    'resize_and_crop | crop | scale_width | scale_width_and_crop | '
    'scale_shortside | none',
  ),
  'data.load_size': (286, 'pixels to scale to'),
  'data.crop_size': (256, 'side of the random crop'),
  'data.flip': (True, 'mirror at random'),
  'data.channels_a': (3, 'channels of A: 3 (RGB) or 1 (gray)'),
  'data.channels_b': (3, 'channels of B'),
  'data.cache_gb': (2.0, 'memory for decoded pictures'),
  'data.threads': (0, 'batches prepared at a time; 0: as many as it takes'),
  'data.on_bad_image': (
    'stop',
    'stop | skip: what a picture that cannot be used does to the run',
  ),
  'generator.name': (
    'resnet_9blocks',
    'resnet_6blocks | resnet_9blocks | resnet | unet_128 | unet_256 | unet',
  ),
  'generator.depth': (0, 'blocks of resnet, levels of unet; 0: as named'),
  'generator.width': (64, 'channels of the first layer (ngf)'),
  'generator.norm': (
    'instance',
    'instance | instance_affine | batch | batch_frozen | none',
  ),
  'generator.dropout': (0.0, 'rate of dropout; the official rate is 0.5'),
  'generator.upsampling': (
    'transpose',
    'transpose (the paper) | resize (no checkerboard)',
  ),
  'generator.remat': (
    'none',
    'none | blocks | all: what is computed twice, to save memory; what is not '
    'none also makes a CPU save it at the cost of time',
  ),
  'generator.init_type': ('normal', 'normal | xavier | kaiming | orthogonal'),
  'generator.init_gain': (0.02, 'standard deviation or gain of the init'),
  'discriminator.name': ('patchgan', 'patchgan | pixelgan'),
  'discriminator.depth': (3, 'strided layers of patchgan; 3 sees 70 pixels'),
  'discriminator.width': (64, 'channels of the first layer (ndf)'),
  'discriminator.norm': ('instance', 'as for the generator'),
  'discriminator.init_type': ('normal', 'as for the generator'),
  'discriminator.init_gain': (0.02, 'as for the generator'),
  'dtype': ('float32', 'float32 | bfloat16, of the computation'),
  'loss.adversarial_loss': ('lsgan', 'lsgan | vanilla | hinge | wgangp'),
  'loss.adversarial': (1.0, 'weight of the adversarial loss'),
  'loss.cycle_a': (10.0, 'weight of a -> b -> a'),
  'loss.cycle_b': (10.0, 'weight of b -> a -> b'),
  'loss.identity_a': (5.0, 'weight of a -> a; 0.5 * cycle in the paper'),
  'loss.identity_b': (5.0, 'weight of b -> b'),
  'loss.l1': (100.0, 'pix2pix: weight of the L1 to the true translation'),
  'loss.self_regularization': (
    10.0,
    'simgan: weight of the L1 between a picture and its translation',
  ),
  'loss.feature': (10.0, 'feature: weight of the same in VGG-16 relu4_2'),
  'loss.discriminator': (0.5, 'factor of the discriminator loss'),
  'loss.gradient_penalty': (10.0, 'weight of the penalty of wgangp'),
  'pool_size': (50, 'fakes the image pool remembers; 0 switches it off'),
  'optim.name': ('adam', 'adam | sgd'),
  'optim.lr': (2e-4, 'learning rate of the generators'),
  'optim.lr_discriminator': (2e-4, 'learning rate of the discriminators'),
  'optim.beta1': (0.5, "Adam's beta1"),
  'optim.beta2': (0.999, "Adam's beta2"),
  'schedule.name': ('linear', 'linear | cosine | constant'),
  'schedule.unit': ('epochs', 'epochs | steps'),
  'schedule.constant': (100, 'epochs or steps at the full rate'),
  'schedule.decay': (100, 'epochs or steps of decay behind them'),
  'train.batch_size': (1, 'pictures of each domain a step, on all devices'),
  'train.accumulate': (
    1,
    "parts of a device's batch, one after the other, to save memory",
  ),
  'train.steps_per_call': (1, 'steps the device does in one go, where tiny'),
  'train.ema_decay': (0.0, "decay of the generators' average; 0: none"),
  'train.on_nonfinite': (
    'stop',
    'stop | skip: what a step with NaN or infinity does to the run',
  ),
  'log.every': (100, 'steps between logged numbers'),
  'log.sample_every': (1000, 'steps between sample grids'),
  'log.checkpoint_every': (1000, 'steps between checkpoints'),
  'log.keep': (3, 'newest checkpoints kept'),
  'log.keep_every': (0, 'steps between checkpoints kept for good; 0: none'),
  'log.samples': (4, 'test pictures in a sample grid'),
  'log.stuck_after': (
    900,
    'seconds without a step after which the stack of every thread is written '
    'to standard error, again and again; 0: never',
  ),
  'log.report': (True, 'makes report/index.html at the end'),
  'evaluate.every': (0, 'epochs between measuring the test pictures; 0: never'),
  'evaluate.metrics': (
    'l1,ssim',
    'what by: l1 psnr ssim lpips lpips_vgg fid kid fd_vgg kd_vgg fd_alex '
    'kd_alex fcn palette',
  ),
  'evaluate.best': (
    '',
    'METRIC or METRIC DIRECTION, as "lpips b2a": keeps the best weights by it '
    'in best/',
  ),
  'evaluate.segmenter': ('', 'what fcn reads pictures with'),
  'evaluate.inception': ('', "PyTorch-FID's weights, for fid and kid"),
  'parallel.devices': (0, 'devices to use; 0: all'),
  'parallel.map': ('shard_map', 'shard_map | pmap, which give the same'),
}

# What may change when a run goes on: where and how it runs, not what it trains.
# Sections end with a dot. The number of steps bends the schedule's rest.
MAY_CHANGE = (
  'log.',
  'evaluate.',
  'parallel.',
  'data.root',  # record.py compares the pictures' names
  'data.cache_gb',
  'data.threads',
  'data.on_bad_image',
  'generator.remat',
  'schedule.constant',
  'schedule.decay',
  'train.on_nonfinite',
  'train.steps_per_call',
)


def get_config():
  """The defaults as a ConfigDict, for recipe cards to change."""
  config = {}
  for key, (default, _) in OPTIONS.items():
    *sections, name = key.split('.')
    node = config
    for section in sections:
      node = node.setdefault(section, {})
    node[name] = default
  return ml_collections.ConfigDict(config).lock()
