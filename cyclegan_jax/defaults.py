"""Table of all options: the default, meaning and allowed range of each."""

import ml_collections

from cyclegan_jax import nets
from cyclegan_jax.common.option import Option, Range, options_of
from cyclegan_jax.data import own_source

_AT_LEAST_1 = Range('at least 1', lambda x: x >= 1)
_NOT_NEGATIVE = Range('0 or more', lambda x: x >= 0)
_POSITIVE = Range('above 0', lambda x: x > 0)
_AN_AXIS = Range('0, 1 or 2', lambda x: x in (0, 1, 2))
_BELOW_1 = Range('in [0, 1)', lambda x: 0 <= x < 1)

# The defaults are those of the paper, or of the official code where the paper
# states none. --help prints the meanings; the shell completion reads the
# choices at their beginning ('a | b | c').
_LINES = {
  'method': (
    'cyclegan',
    'cyclegan | pix2pix | simgan | feature | bigan | cogan | cut | fastcut | '
    'dclgan: training method, which decides the networks and losses; paper: '
    'cyclegan',
  ),
  'directions': (
    'both',
    'both | a2b | b2a: directions to train, for the one-way methods pix2pix, '
    'simgan, feature, cut and fastcut; both trains a network of its own for '
    'each direction; cyclegan, bigan, cogan and dclgan always train both',
  ),
  'seed': (
    0,
    'random seed of the initial parameters, data order, augmentation, dropout '
    'and image pool',
    _NOT_NEGATIVE,
  ),
  'init_from': (
    '',
    'trained weights to start from; empty: random initial weights; else a run '
    'folder, a model folder, a .pth file, or hf://USER/NAME',
  ),
  'data.source': (
    'tfds',
    'folder | aligned | tfds | hf | builtin | mni152: type of dataset: '
    'folders trainA, trainB, testA, testB; files that show A and B side by '
    'side; TensorFlow Datasets; Hugging Face datasets; or one of two built-in '
    'demos. A recipe card may also set a function of its own '
    '(docs/other_data.md)',
  ),
  'data.root': (
    '',
    'folder of the dataset for folder and aligned; for tfds and hf, the '
    'folder that downloads are stored in, or that a local data.name is in; '
    'empty: the default folder of the library',
  ),
  'data.name': (
    '',
    'name of the dataset: of TFDS, such as cycle_gan/horse2zebra; of hf, such '
    'as huggan/horse2zebra, or a folder of save_to_disk or parquet files; '
    '"X;Y" reads A from dataset X and B from dataset Y; empty: none (folder, '
    'aligned)',
  ),
  'data.columns': (
    '',
    'hf: columns that hold pictures, as COLUMN or A,B; empty: all columns of '
    'type Image',
  ),
  'data.splits': (
    '',
    'hf: names of the splits, as TRAIN,TEST or TRAIN_A,TRAIN_B,TEST_A,TEST_B; '
    'empty: train,test or trainA,trainB,testA,testB',
  ),
  'data.paired': (
    'auto',
    'auto | yes | no: treat the pictures of A and B as true pairs; auto: only '
    'if their file names agree; yes: an error if the names do not agree; no: '
    'never',
  ),
  'data.preprocess': (
    'resize_and_crop',
    'resize_and_crop | crop | scale_width | scale_width_and_crop | '
    'scale_shortside | none: how a training picture is resized and cropped; '
    'official code: resize_and_crop (resize to load_size x load_size, then a '
    'random crop of crop_size)',
  ),
  'data.load_size': (
    286,
    'size in pixels that training pictures are resized to before the crop: '
    'both sides, or the width or the short side, as data.preprocess says; '
    'official code: 286; paper: 143 on Cityscapes',
  ),
  'data.load_size_in_decay': (
    0,
    'data.load_size in pixels while the learning rate decays; 0: '
    'data.load_size does not change; CUT and FastCUT: equal to '
    'data.crop_size, so that no random crop is made',
    _NOT_NEGATIVE,
  ),
  'data.crop_size': (
    256,
    'side in pixels of the random square crop that the networks are trained '
    'on; paper: 256, and 128 on Cityscapes',
  ),
  'data.flip': (
    True,
    'mirror training pictures left to right with probability 0.5; official '
    'code: True',
  ),
  'data.channels_a': (
    3,
    'number of channels of the images of A: 3 (RGB), 1 (grayscale) or any '
    'other number; paper: 3',
    _AT_LEAST_1,
  ),
  'data.channels_b': (
    3,
    'number of channels of the images of B, as for A; paper: 3',
    _AT_LEAST_1,
  ),
  'data.range_a': (
    'auto',
    'auto | LOW,HIGH | LOW,HIGH;LOW,HIGH;... | percentile:1,99: pixel values '
    'of A that are mapped to -1 and 1; values outside are clipped and '
    'counted; auto: the full range of the integer type, such as 0,255; with '
    'semicolons: one range per channel; percentile: measured once over the '
    'training pictures',
  ),
  'data.range_b': (
    'auto',
    'auto | LOW,HIGH | LOW,HIGH;LOW,HIGH;... | percentile:1,99: pixel values '
    'of B that are mapped to -1 and 1, as for A',
  ),
  'data.show_a': (
    'auto',
    'auto | R,G,B | N: channels of A, counted from 1, that sample grids, '
    'reports and metrics with RGB networks display as red, green and blue, or '
    'as gray; auto: the first three channels, two channels as red and green, '
    'one channel as gray',
  ),
  'data.show_b': (
    'auto',
    'auto | R,G,B | N: channels of B that are displayed, as for A',
  ),
  'data.axis': (
    2,
    'axis of a volume (NIfTI) along which its slices are taken: 0, 1 or 2',
    _AN_AXIS,
  ),
  'data.slices': (
    'all',
    'all | nonempty: slices of a volume that are used; nonempty leaves out '
    'slices whose values are all equal',
  ),
  'data.pages': (
    'first',
    'first | channels | slices: use of a TIFF file with several pages: only '
    'the first page is read, each page is a channel, or each page is a slice '
    'of a volume',
  ),
  'data.cache_gb': (
    2.0,
    'memory in GB (2^30 bytes) that keeps decoded training pictures, so that '
    'they are not decoded again in each epoch; 0: no cache',
    _NOT_NEGATIVE,
  ),
  'data.threads': (
    0,
    'number of batches that are prepared at the same time; 0: chosen '
    'automatically',
    _NOT_NEGATIVE,
  ),
  'data.on_bad_image': (
    'stop',
    'stop | skip: what happens when a picture cannot be used: the run stops '
    'with an error, or continues without the picture',
  ),
  'generator.name': (
    'resnet_9blocks',
    'resnet_6blocks | resnet_9blocks | resnet | unet_128 | unet_256 | unet: '
    'architecture of the generators; paper: resnet_9blocks for 256 pixels and '
    'more, resnet_6blocks for 128; pix2pix: unet_256',
  ),
  'generator.depth': (
    0,
    'number of residual blocks (resnet) or of levels (unet); 0: the number in '
    'generator.name; paper: 9, and 6 for 128 pixels',
    _NOT_NEGATIVE,
  ),
  'generator.width': (
    64,
    'number of channels of the first layer (ngf); paper: 64',
    _AT_LEAST_1,
  ),
  'generator.norm': (
    'instance',
    'instance | instance_affine | batch | batch_frozen | none: normalisation '
    'layers; instance_affine adds a trained scale and bias; batch_frozen '
    'keeps the averages that came with imported weights; paper: instance; '
    'pix2pix: batch',
  ),
  'generator.dropout': (
    0.0,
    'probability of dropout during training; 0: no dropout; official code: 0 '
    'for CycleGAN, 0.5 for pix2pix',
    _BELOW_1,
  ),
  'generator.upsampling': (
    'transpose',
    'transpose (the paper) | resize (no checkerboard) | blur (CUT): how the '
    'decoder doubles the size: transposed convolution, nearest-neighbour '
    'resize with a convolution, or antialiased; paper: transpose; official '
    'CUT code: blur',
  ),
  'generator.remat': (
    'none',
    'none | blocks | all: activations that are recomputed in the backward '
    'pass to save memory: none, the insides of the residual blocks, or the '
    "whole network; blocks and all also use XLA's memory-optimised CPU "
    'scheduler, which can be slower',
  ),
  'generator.init_type': (
    'normal',
    'normal | xavier | kaiming | orthogonal: distribution of the initial '
    'weights of the convolutions; paper: normal; official CUT code: xavier',
  ),
  'generator.init_gain': (
    0.02,
    'standard deviation of normal, and of the scales of batch norm, or gain of '
    'xavier and orthogonal; not used by kaiming; paper: 0.02',
  ),
  'discriminator.name': (
    'patchgan',
    'patchgan | pixelgan: architecture of the discriminators: a score for '
    'each patch of pixels, or for each single pixel; paper: patchgan (70x70 '
    'patches)',
  ),
  'discriminator.depth': (
    3,
    'number of layers with stride 2 of patchgan; each score sees 16, 34, 70, '
    '142 or 286 pixels squared for 1 to 5 layers; paper: 3',
    _NOT_NEGATIVE,
  ),
  'discriminator.width': (
    64,
    'number of channels of the first layer (ndf); paper: 64',
    _AT_LEAST_1,
  ),
  'discriminator.norm': (
    'instance',
    'instance | instance_affine | batch | batch_frozen | none: normalisation '
    'layers, as for the generator; paper: instance; pix2pix: batch',
  ),
  'discriminator.init_type': (
    'normal',
    'normal | xavier | kaiming | orthogonal: distribution of the initial '
    'weights, as for the generator; paper: normal; official CUT code: xavier',
  ),
  'discriminator.init_gain': (
    0.02,
    'standard deviation or gain of the initial weights, as for the generator; '
    'paper: 0.02',
  ),
  'dtype': (
    'float32',
    'float32 | bfloat16: data type of the computation in the networks; '
    'parameters stay float32',
  ),
  'loss.adversarial_loss': (
    'lsgan',
    'lsgan | vanilla | hinge | wgangp: form of the adversarial loss: least '
    'squares, binary cross-entropy on logits, hinge, or Wasserstein with '
    'gradient penalty; paper: lsgan; pix2pix: vanilla',
  ),
  'loss.adversarial': (
    1.0,
    "weight of the generators' adversarial loss; 0: no adversarial loss; "
    'paper: 1',
    _NOT_NEGATIVE,
  ),
  'loss.cycle_a': (
    10.0,
    'weight of the cycle loss of A, between a picture of A and its '
    'reconstruction A->B->A (lambda_A); 0: no such loss; paper: 10',
    _NOT_NEGATIVE,
  ),
  'loss.cycle_b': (
    10.0,
    'weight of the cycle loss of B, between a picture of B and its '
    'reconstruction B->A->B (lambda_B); 0: no such loss; paper: 10',
    _NOT_NEGATIVE,
  ),
  'loss.identity_a': (
    5.0,
    'weight of the identity loss of A: L1 between a picture of A and the '
    'output of b2a for it; 0: no such loss; paper: 0.5 * cycle = 5 for '
    'painting -> photo, else 0; official code: 5; DCLGAN: 0.5 (1, halved over '
    'two directions)',
    _NOT_NEGATIVE,
  ),
  'loss.identity_b': (
    5.0,
    'weight of the identity loss of B: L1 between a picture of B and the '
    'output of a2b for it; 0: no such loss; paper and official code: as for A',
    _NOT_NEGATIVE,
  ),
  'loss.l1': (
    100.0,
    'pix2pix: weight of the L1 loss between a translation and the true '
    'picture; 0: no such loss; paper: 100',
    _NOT_NEGATIVE,
  ),
  'loss.self_regularization': (
    10.0,
    'simgan: weight of the L1 loss between a picture and its translation; 0: '
    'no such loss',
    _NOT_NEGATIVE,
  ),
  'loss.feature': (
    10.0,
    'feature: weight of the L1 loss between the VGG-16 relu4_2 features of a '
    'picture and of its translation; 0: no such loss',
    _NOT_NEGATIVE,
  ),
  'loss.nce': (
    0.5,
    'cut, fastcut, dclgan: weight of PatchNCE between a picture and its '
    "translation; 0: no such loss; papers' lambda_NCE: 1 in CUT (0.5 here and "
    '0.5 in nce_identity), 10 in FastCUT (10 here), 2 in DCLGAN (1 here, once '
    'per direction)',
    _NOT_NEGATIVE,
  ),
  'loss.nce_identity': (
    0.5,
    'cut: weight of PatchNCE between a picture of B and the output of a2b for '
    "it; 0: no such loss; paper: 0.5 (half of CUT's lambda_NCE of 1)",
    _NOT_NEGATIVE,
  ),
  'contrast.taps': (
    '',
    "PatchNCE: names of the generator's layers whose features are compared, "
    'separated by commas: padded, down_1, down_2, block_0, block_1, ...; '
    'empty: those of the official code, padded,down_1,down_2,block_0,block_4 '
    '(without padded in dclgan)',
  ),
  'contrast.patches': (
    256,
    'PatchNCE: number of positions that are compared in each layer; paper: 256',
    _AT_LEAST_1,
  ),
  'contrast.features': (
    256,
    'PatchNCE: length of the feature vectors that are compared (netF_nc); '
    'official code: 256',
    _AT_LEAST_1,
  ),
  'contrast.temperature': (
    0.07,
    'PatchNCE: temperature, the number that similarities are divided by '
    '(nce_T); paper: 0.07',
    _POSITIVE,
  ),
  'loss.discriminator': (
    0.5,
    'factor of the loss of the discriminators; paper: 0.5; the learning rate '
    'of the discriminators is optim.lr_discriminator',
    _NOT_NEGATIVE,
  ),
  'loss.gradient_penalty': (
    10.0,
    'wgangp: weight of the gradient penalty in the loss of the '
    'discriminators; 0: no penalty',
    _NOT_NEGATIVE,
  ),
  'pool_size': (
    50,
    'number of generated images that the image pool of each discriminator '
    'stores; 0: no image pool; paper: 50; CUT, FastCUT and pix2pix: 0',
    _NOT_NEGATIVE,
  ),
  'optim.name': (
    'adam',
    'adam | sgd: optimizer of all networks; paper: Adam, 2e-4',
  ),
  'optim.lr': (
    2e-4,
    'learning rate of the generators, before the schedule; paper: 2e-4',
    _NOT_NEGATIVE,
  ),
  'optim.lr_discriminator': (
    2e-4,
    'learning rate of the discriminators, before the schedule; paper: 2e-4',
    _NOT_NEGATIVE,
  ),
  'optim.lr_heads': (
    2e-4,
    'cut, fastcut, dclgan: learning rate of the projection heads, before the '
    'schedule; official code: 2e-4 in CUT and FastCUT, 1e-3 in DCLGAN',
    _NOT_NEGATIVE,
  ),
  'optim.beta1_heads': (
    0.5,
    "cut, fastcut, dclgan: Adam's beta1 (decay of the mean of the gradients) "
    'for the projection heads; official code: 0.5 in CUT and FastCUT, 0.9 in '
    'DCLGAN',
    _BELOW_1,
  ),
  'optim.beta1': (
    0.5,
    "Adam's beta1 (decay of the mean of the gradients) for generators and "
    'discriminators; official code: 0.5',
    _BELOW_1,
  ),
  'optim.beta2': (
    0.999,
    "Adam's beta2 (decay of the mean of the squared gradients) for all "
    'networks; official code: 0.999',
    _BELOW_1,
  ),
  'schedule.name': (
    'linear',
    'linear | cosine | constant: how the learning rates fall to 0 in '
    'schedule.decay, or constant: they do not fall; paper: linear',
  ),
  'schedule.unit': (
    'epochs',
    'epochs | steps: unit of schedule.constant and schedule.decay',
  ),
  'schedule.constant': (
    100,
    'epochs (or steps, see schedule.unit) at the full learning rate; paper: '
    '100 epochs; CUT: 200; FastCUT: 150',
    _NOT_NEGATIVE,
  ),
  'schedule.decay': (
    100,
    'epochs (or steps, see schedule.unit) of decay after schedule.constant; '
    'paper: 100 epochs; CUT: 200; FastCUT: 50',
    _NOT_NEGATIVE,
  ),
  'train.batch_size': (
    1,
    'pictures of each domain in a step, over all devices together; paper: 1',
    _AT_LEAST_1,
  ),
  'train.accumulate': (
    1,
    "number of parts that a device's batch is split into; their gradients are "
    'computed one after the other and combined, to save memory; 1: no split',
    _AT_LEAST_1,
  ),
  'train.steps_per_call': (
    1,
    'steps in one call to the device; more than 1 saves time where a step '
    'takes only milliseconds',
    _AT_LEAST_1,
  ),
  'train.ema_decay': (
    0.0,
    "decay per step of the moving average of the generators' weights, which "
    'then replaces the weights in translations; 0: no moving average; paper: '
    'none',
    _BELOW_1,
  ),
  'train.on_nonfinite': (
    'stop',
    'stop | skip: what happens when a loss or gradient is NaN or infinite: '
    'the run stops with an error, or the update of the step is skipped',
  ),
  'log.every': (
    100,
    'steps between logged losses; 0: never',
    _NOT_NEGATIVE,
  ),
  'log.sample_every': (
    1000,
    'steps between sample grids in samples/; 0: never',
    _NOT_NEGATIVE,
  ),
  'log.checkpoint_every': (
    1000,
    'steps between checkpoints; 0: only at the end; the last state is always '
    'saved',
    _NOT_NEGATIVE,
  ),
  'log.keep': (
    3,
    'number of newest checkpoints that are kept',
    _AT_LEAST_1,
  ),
  'log.keep_every': (
    0,
    'steps between checkpoints that are never deleted; 0: none, only log.keep '
    'counts',
    _NOT_NEGATIVE,
  ),
  'log.samples': (
    4,
    'number of test pictures in a sample grid',
    _AT_LEAST_1,
  ),
  'log.stuck_after': (
    900,
    'seconds without a step after which the stacks of all threads are written '
    'to standard error, repeatedly; 0: never',
    _NOT_NEGATIVE,
  ),
  'log.to': (
    'tensorboard',
    'tensorboard | wandb: loggers, separated by commas, in addition to '
    'metrics.jsonl and samples/; empty: none (docs/loggers.md)',
  ),
  'log.report': (
    True,
    'write the report, report/index.html in the run folder, at the end of the '
    'run',
  ),
  'evaluate.every': (
    0,
    'epochs between evaluations on the test pictures during training; 0: never',
    _NOT_NEGATIVE,
  ),
  'evaluate.metrics': (
    'l1,ssim',
    'metrics of these evaluations, separated by commas: l1 psnr ssim dice '
    'lpips lpips_vgg fid kid fd_vgg kd_vgg fd_alex kd_alex fcn palette',
  ),
  'evaluate.best': (
    '',
    'METRIC or METRIC DIRECTION, such as "lpips b2a": keeps the weights with '
    'the best value of this metric in best/ of the run folder; empty: keeps '
    'none',
  ),
  'evaluate.on_training_pictures': (
    False,
    'evaluate on training pictures if the dataset has no test pictures',
  ),
  'evaluate.segmenter': (
    '',
    'fcn: network that reads label maps from pictures, a folder of '
    'cyclegan_jax.segmenter or an .onnx file; empty: none',
  ),
  'evaluate.inception': (
    '',
    'fid, kid: file with the Inception weights of PyTorch-FID; empty: none',
  ),
  'parallel.devices': (
    0,
    'number of devices to use; 0: all',
    _NOT_NEGATIVE,
  ),
  'parallel.map': (
    'shard_map',
    'shard_map | pmap: how JAX distributes a step over the devices; the '
    'results are the same',
  ),
}

# section -> table of networks, whose classes may declare further options
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

# Options that are paths: `~` is expanded, and config.json of a run records the
# absolute path.
PATHS = ('init_from', 'data.root', 'evaluate.segmenter', 'evaluate.inception')

# Options that may change when a run is resumed: they decide where and how it
# runs, not what it trains. An entry that ends with a dot is a whole section. A
# new number of steps changes the schedule of the steps that are left.
MAY_CHANGE = (
  'log.',
  'evaluate.',
  'parallel.',
  'data.root',  # config/identity.py compares the pictures themselves
  'data.paired',  # likewise, for methods that train on true pairs
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
  """Section `data` of the config.

  Its key `source` accepts a function of a recipe card, which is stored as the
  text CARD.py:NAME (`own_source.text_of`).
  """

  def __setitem__(self, key, value):
    if key == 'source' and own_source.is_function(value):
      value = own_source.text_of(value)
    super().__setitem__(key, value)


def get_config():
  """Returns a locked ConfigDict with the default of every option.

  Recipe cards call this function and change some of the values. A name that is
  no option raises.
  """
  config = {}
  for key, default in DEFAULTS.items():
    *sections, name = key.split('.')
    node = config
    for section in sections:
      node = node.setdefault(section, {})
    node[name] = default
  config['data'] = _Data(config['data'])
  return ml_collections.ConfigDict(config).lock()
