"""Writes translations and reconstructions of some test pictures, for figures:

    python -m cyclegan_jax.paper.pictures --config=configs/NAME.py \
      --model=RUN --output=FOLDER

Writes the inputs a_I.png and b_I.png, the translations a2b_I.png and b2a_I.png,
and the reconstructions a2b2a_I.png and b2a2b_I.png, for I from 0 to 5.
`cyclegan_jax.experiments` starts this program.
"""

import sys

from cyclegan_jax.config import changes, flags, program

COUNT = 6
FLAGS = {
  'model': ('PATH', '', 'run folder, model folder or .pth file'),
  'output': ('DIR', '', 'folder to write'),
}


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  flags.require(values, 'model', 'output')
  program.quiet()
  from cyclegan_jax.common import files, images
  from cyclegan_jax.config.run import build_data
  from cyclegan_jax.inference import saved

  a_model = saved.load(values['model'])
  dataset = build_data(changes.with_values(config, a_model.config))
  output = files.place(values['output'])
  with files.writing(output), files.made(output) as folder:
    for domain in 'ab':
      for i, image in enumerate(dataset.test_images(domain, COUNT)):
        for name, picture in _made(a_model, domain, image).items():
          png = images.png(images.to_rgb(picture, dataset.show[name[-1]]))
          files.write(folder / f'{name}_{i}.png', png)


def _made(model, domain, image):
  """Returns {name: image} of an input, its translation and its reconstruction.

  Translation and reconstruction are left out if the model lacks a direction.

  Args:
    model: a `Model`.
    domain: 'a' or 'b'.
    image: test image of the domain.
  """
  there, back = ('a2b', 'b2a') if domain == 'a' else ('b2a', 'a2b')
  made = {domain: image}
  if there in model.directions:
    made[there] = model.translate(image, there)
  if set(model.directions) == {there, back}:
    made[there + back[1:]] = model.translate(made[there], back)
  return made


if __name__ == '__main__':
  sys.exit(program.run(main))
