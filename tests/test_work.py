"""Tests that the compiled step does no more work than its layers need.

These tests fail if a change adds a pass, an unused gradient or a term of weight
0. Work is counted in the plain forms for accelerators and with unrolled
residual blocks, because XLA counts the body of a loop once.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import pytest
import tiny

from cyclegan_jax import nets
from cyclegan_jax.nets.conv import forms
from cyclegan_jax.training import state as train_state
from cyclegan_jax.training import step as train_step

SIZE, WIDTH, BLOCKS = 64, 32, 2
LAYERS = 6 + 2 * BLOCKS  # convolutions of a generator
CRITIC = 5  # convolutions of a discriminator
IDENTITY = {'identity_a': 0.0, 'identity_b': 0.0}


@pytest.fixture
def flops(monkeypatch):
  folder = pathlib.Path(__file__).parent.parent / 'benchmarks'
  monkeypatch.syspath_prepend(folder)
  yield __import__('flops')
  sys.modules.pop('flops', None)


def compiled(monkeypatch, width=WIDTH, **weights):
  """Lowers CycleGAN's step with narrow official networks at batch size 1."""
  method = tiny.method(
    make_generator=tiny.generator(width=width, depth=BLOCKS, platform='gpu'),
    make_discriminator=tiny.discriminator(width=width, depth=3, platform='gpu'),
    **weights,
  )
  return lowered(monkeypatch, method)


def lowered(monkeypatch, method):
  """Lowers the step of a method at batch size 1."""
  monkeypatch.setattr(forms, 'loops', lambda *args: False)
  optimizers = tiny.optimizers()
  image = jnp.zeros((1, SIZE, SIZE, 3))
  batch = {'a': image, 'b': image}
  state = jax.eval_shape(
    lambda: train_state.create(
      method, optimizers, jax.random.PRNGKey(0), batch, pool_size=1
    )
  )
  return jax.jit(train_step.make_step(method, optimizers)).lower(state, batch)


@pytest.mark.parametrize('weights', [{}, IDENTITY], ids=['identity', 'none'])
def test_the_step_has_the_flops_of_its_layers(monkeypatch, flops, weights):
  analytic = flops.step_flops(SIZE, 1, BLOCKS, WIDTH, identity=not weights)
  cost = compiled(monkeypatch, **weights).compile().cost_analysis()
  share = cost['flops'] / analytic
  print(f'{share:.4f} x the analytic count')
  assert 0.9 < share <= 1.05


def cut_networks(width):
  """Returns narrow networks of CUT, with only the blocks that have features."""
  options = {'width': width, 'platform': 'gpu', 'downsampling': 'blur'}
  return {
    'make_generator': tiny.generator(depth=6, upsampling='blur', **options),
    'make_discriminator': tiny.discriminator(depth=3, **options),
  }


def test_the_step_of_cut_has_the_flops_of_its_layers(monkeypatch, flops):
  networks = cut_networks(WIDTH)
  method = tiny.method('cut', directions=('a2b',), **networks)
  gen, disc = (make() for make in networks.values())
  analytic = flops.cut_step_flops(
    gen,
    disc,
    SIZE,
    ['padded', 'down_1', 'down_2', 'block_0', 'block_4'],
    patches=tiny.CONTRAST['patches'],
    features=tiny.CONTRAST['features'],
  )
  cost = lowered(monkeypatch, method).compile().cost_analysis()
  share = cost['flops'] / analytic
  print(f'{share:.4f} x the analytic count')
  assert 0.9 < share <= 1.05


def test_flops_counted_by_verbs_equal_a_count_by_hand(flops):
  gen = tiny.generator(width=WIDTH, depth=BLOCKS)()
  by_hand = flops.generator_macs(SIZE, BLOCKS, WIDTH)
  assert list(flops._macs(gen, SIZE, 3)[0].values()) == by_hand
  disc = tiny.discriminator(width=WIDTH, depth=3)()
  by_hand = flops.discriminator_macs(SIZE, WIDTH)
  assert list(flops._macs(disc, SIZE, 3)[0].values()) == by_hand


@pytest.mark.parametrize('weights', [{}, IDENTITY], ids=['identity', 'none'])
def test_the_step_has_as_many_convolutions_as_its_layers(monkeypatch, weights):
  text = compiled(monkeypatch, width=4, **weights).as_text()
  # Identity images and translations share passes: four passes in both cases.
  generators = 4 * 3 * LAYERS - 2  # no gradient with respect to input images
  fooling = 2 * 2 * CRITIC
  critics = 2 * (3 * CRITIC - 1)  # real and fake in one pass
  assert text.count('stablehlo.convolution') == generators + fooling + critics


def test_a_term_of_weight_0_is_not_computed(monkeypatch):
  def convolutions(**weights):
    text = compiled(monkeypatch, width=4, **weights).as_text()
    return text.count('stablehlo.convolution')

  everything = convolutions()
  assert everything - convolutions(cycle_a=0.0) == 3 * LAYERS
  without = convolutions(adversarial=0.0)
  assert everything - without == 2 * 2 * CRITIC + 2 * (3 * CRITIC - 1)


def test_accessed_bytes_do_not_grow(monkeypatch):
  # Measured with the versions of constraints.txt, as XLA counts bytes on a CPU.
  # If a change saves bytes, write the new figure here.
  cost = compiled(monkeypatch).compile().cost_analysis()
  assert cost['bytes accessed'] <= 1.05 * BYTES


BYTES = 7.38e8


def test_remat_blocks_recomputes_only_the_blocks():
  images = jnp.zeros((1, 16, 16, 3))

  def convolutions(remat):
    net = nets.constructor(
      nets.GENERATORS, 'resnet', 'generator', width=4, depth=3, remat=remat
    )(out_channels=3)
    params = tiny.init(net, images)

    def loss(params):
      return nets.apply(net, params, images, key=jax.random.PRNGKey(0)).mean()

    text = jax.jit(jax.grad(loss)).lower(params).as_text()
    return text.count('stablehlo.convolution')

  assert convolutions('blocks') - convolutions('none') == 2 * 3
