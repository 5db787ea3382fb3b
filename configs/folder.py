r"""Own pictures in two folders.

    python -m cyclegan_jax.main --config=configs/folder.py \
      --config.data.root=FOLDER

FOLDER has the folders trainA and trainB and, if you have test pictures, testA
and testB. Pictures may have any size and need no pairs. The run folder is
runs/folder_FOLDER, or the value of --workdir. If the file names in testA and
testB agree, the pictures count as true pairs and are evaluated at the end; add
--config.data.paired=no if they are not. For small pictures, or to train faster,
use 128 pixels: --config.data.load_size=143 --config.data.crop_size=128
--config.generator.name=resnet_6blocks. Settings: official code.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'folder'
  return config
