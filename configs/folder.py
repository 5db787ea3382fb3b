r"""Your own two folders of pictures.

    python -m cyclegan_jax.main --config=configs/folder.py \
      --config.data.root=FOLDER

FOLDER holds trainA and trainB, and testA and testB if you have them; the
pictures need no pairs and any size will do. The run is in runs/folder_FOLDER,
or where --workdir says. Test pictures of the same names in testA and testB are
taken for true pairs and measured at the end; if they are none:
--config.data.paired=no. Small or many pictures, 128 px:
--config.data.load_size=143 --config.data.crop_size=128
--config.generator.name=resnet_6blocks. Settings: the official code's.
"""

from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'folder'
  return config
