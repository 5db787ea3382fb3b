"""Tests of models on the Hugging Face Hub: sharing, loading and errors.

The Hub is tests/standins/hub.py; the client is the real huggingface_hub.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

import cyclegan_jax
from cyclegan_jax import evaluate, export, main, share, torch_weights, translate
from cyclegan_jax.common import weights
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import paths, program
from cyclegan_jax.config.method import build_method
from cyclegan_jax.config.options import flatten
from cyclegan_jax.defaults import DEFAULTS, PATHS, get_config
from cyclegan_jax.hub import address, client
from cyclegan_jax.inference import card, saved, sharing
from cyclegan_jax.methods import METHODS

huggingface_hub = pytest.importorskip('huggingface_hub')
yaml = pytest.importorskip('yaml')
from huggingface_hub import constants  # noqa: E402
from standins import hub as stand_in  # noqa: E402  # needs PyYAML

# A warning about how the client calls its HTTP library.
pytestmark = pytest.mark.filterwarnings(
  'ignore:Use .content=:DeprecationWarning'
)
FORMATS = pathlib.Path(__file__).parent / 'formats'
REPO = f'{stand_in.USER}/maps'
WHERE = f'hf://{REPO}'


@pytest.fixture
def hub(monkeypatch, tmp_path):
  """Hub without repositories, with a logged-in client and an empty cache."""
  with stand_in.serving() as there:
    url = f'{there.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'ENDPOINT', there.address)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', url)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path / 'token'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('HF_TOKEN', stand_in.TOKEN)
    huggingface_hub.close_session()
    yield there
    huggingface_hub.close_session()


def stored(folder, factor=1):
  """Saves a small model with weights scaled by `factor`; returns the folder."""
  model = FORMATS / 'model_2'
  config = json.loads((model / saved.CONFIG).read_text())
  config['data'] |= {'source': 'folder', 'root': f'{folder.parent}/my_pictures'}
  params = weights.read(model / saved.WEIGHTS)
  params['gen'] = jax.tree.map(lambda x: x * np.float32(factor), params['gen'])
  saved.save(folder, config, params)
  return folder


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """Folder of a small model whose config contains a local path."""
  return stored(tmp_path_factory.mktemp('models') / 'private_name')


@pytest.fixture(scope='module')
def picture():
  pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3))
  return pixels.astype(np.uint8)


def shared(model, *flags, repo=REPO):
  return program.run(
    share.main, ['share', f'--model={model}', f'--repo={repo}', *flags]
  )


def refused(capsys, code):
  """Checks that an error is one line without a token; returns the line."""
  out, err = capsys.readouterr()
  assert code == 2 and err.startswith('error: '), err
  assert err.count('\n') == 1, err
  assert stand_in.TOKEN not in out + err
  return err


def files_at(hub, repo=REPO):
  """Returns {name: contents} of the newest commit."""
  return hub.repos[repo].at('main')[1]


def test_a_shared_model_translates_bit_identically(hub, model, picture, capsys):
  assert shared(model, '--license=mit') == 0
  out, err = capsys.readouterr()
  commit = hub.repos[REPO].commits[-1][0]
  assert f'shared at {hub.address}/{REPO}\n' in out and err == ''
  assert out.endswith(f'revision {commit}: --model={WHERE}@{commit}\n')
  assert stand_in.TOKEN not in out
  assert (
    len(hub.repos[REPO].commits) == 2
  )  # the initial commit of the Hub, and one more
  here = cyclegan_jax.load_model(model)
  for revision in ('', '@main', f'@{commit}'):
    there = cyclegan_jax.load_model(WHERE + revision)
    assert there.name == f'{WHERE}@{commit}' and there.step is None
    tiny.assert_same(there.params, here.params)
    for direction in ('a2b', 'b2a'):
      np.testing.assert_array_equal(
        there.translate(picture, direction), here.translate(picture, direction)
      )
  assert {*files_at(hub)} == {
    '.gitattributes',
    'README.md',
    'config.json',
    'model.safetensors',
  }


def test_a_second_share_updates_the_first(hub, model, picture, tmp_path):
  assert shared(model) == 0
  first = hub.repos[REPO].commits[-1][0]
  hub.repos[REPO].add({'samples.png': b'old', 'notes.txt': b'of the author'})
  other = stored(tmp_path / 'other', factor=2)
  assert shared(other) == 0
  assert len(hub.repos[REPO].commits) == 4
  assert 'samples.png' not in files_at(hub) and 'notes.txt' in files_at(hub)
  for where, folder in ((f'{WHERE}@{first}', model), (WHERE, other)):
    loaded = saved.load(where)
    assert loaded.checksum() == saved.load(folder).checksum()
  # An unchanged model makes no commit.
  assert shared(other) == 0
  assert len(hub.repos[REPO].commits) == 4


def test_private_repositories_are_supported(hub, model, monkeypatch, capsys):
  assert shared(model, '--private') == 0
  assert hub.repos[REPO].private
  assert saved.load(WHERE).directions == ('a2b', 'b2a')
  public = f'{stand_in.USER}/public'
  assert shared(model, repo=public) == 0 and not hub.repos[public].private
  count = len(hub.repos[public].commits)
  capsys.readouterr()
  err = refused(capsys, shared(model, '--private', repo=public))
  assert f'{public} is public' in err
  assert len(hub.repos[public].commits) == count
  monkeypatch.setenv('HF_TOKEN', stand_in.READ_ONLY)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(model / 'none'))
  with pytest.raises(UserError, match='no such repository on the Hub, or it'):
    saved.load(WHERE)


def test_generators_can_be_shared_alone(hub, model):
  assert shared(model, '--generators-only') == 0
  loaded = saved.load(WHERE)
  assert loaded.params['disc'] == {} and set(loaded.params['gen']) == {
    'a2b',
    'b2a',
  }
  assert 'discriminators' not in files_at(hub)['README.md'].decode()


def test_a_dry_run_writes_files_and_sends_no_request(
  hub, model, tmp_path, capsys
):
  out = tmp_path / 'out'
  for _ in range(2):  # files of the previous call are replaced
    assert shared(model, '--dry-run', f'--output={out}') == 0
    assert {x.name for x in out.iterdir()} <= set(sharing.NAMES)
    assert 'would upload' in capsys.readouterr().out
  assert shared(model, '--dry-run') == 0
  assert 'add --output' in capsys.readouterr().out
  assert hub.requests == []
  (out / 'mine.txt').touch()
  err = refused(capsys, shared(model, '--dry-run', f'--output={out}'))
  assert 'holds other files' in err
  copy = stored(tmp_path / 'copy')
  for flag in (f'--output={copy}', f'--output={copy}/../copy'):
    assert 'is the model itself' in refused(
      capsys, shared(copy, '--dry-run', flag)
    )
  # A model folder without a model card is not replaced.
  err = refused(capsys, shared(model, '--dry-run', f'--output={copy}'))
  assert 'holds other files' in err and saved.load(copy).directions
  assert 'needs --dry-run' in refused(
    capsys, shared(model, f'--output={tmp_path / "new"}')
  )


def test_local_paths_are_not_shared(hub, model, capsys):
  assert shared(model) == 0
  out = capsys.readouterr().out
  assert 'not shared, blanked in config.json: data.root\n' in out
  for name, content in files_at(hub).items():
    for private in (str(model.parent), 'my_pictures', model.name):
      assert private.encode() not in content, name
  config = flatten(json.loads(files_at(hub)['config.json']))
  assert not any(config[key] for key in PATHS)


@pytest.mark.parametrize(
  ('options', 'expected'),
  [
    (
      {'data.source': '/home/ann/card.py:mine'},
      {'data.source': 'card.py:mine'},
    ),
    ({'data.source': 'hf', 'data.name': '/home/ann/x'}, {'data.name': ''}),
    ({'data.source': 'hf', 'data.name': 'o/n; ~/x'}, {'data.name': ''}),
    ({'data.source': 'hf', 'data.name': 'o/n:s; o/m'}, {}),
    ({'data.source': 'tfds', 'data.name': 'cycle_gan/maps'}, {}),
    ({'data.source': 'aligned', 'data.name': 'ann/x'}, {'data.name': ''}),
    ({'init_from': '/home/ann/run'}, {'init_from': ''}),
    ({'init_from': WHERE}, {}),
    ({'evaluate.inception': '~/x.pth'}, {'evaluate.inception': ''}),
  ],
)
def test_private_options_of_a_config_are_blanked(options, expected):
  config = get_config().to_dict()
  for key, value in options.items():
    section, _, name = key.rpartition('.')
    (config[section] if section else config)[name] = value
  found, hidden = sharing.public(config)
  assert flatten(found) == DEFAULTS | options | expected
  assert hidden == list(expected)


# Programs that accept an address.


def run(program_main, *flags):
  return program.run(program_main, ['program', *flags])


@pytest.fixture
def on_hub(hub, model, capsys):
  """Address of a shared model, including its commit."""
  assert shared(model) == 0
  capsys.readouterr()
  return f'{WHERE}@{hub.repos[REPO].commits[-1][0]}'


def test_translate_records_the_commit(on_hub, hub, pictures, tmp_path, capsys):
  flags = ['--direction=a2b', f'--input={pictures}/testA']
  out = tmp_path / 'out'
  assert run(translate.main, f'--model={WHERE}', f'--output={out}', *flags) == 0
  record = json.loads((out / 'translate.json').read_text())
  assert record['model'] == on_hub
  capsys.readouterr()
  code = run(
    translate.main, f'--model={WHERE}', f'--output={out}', '--step=3', *flags
  )
  assert 'leave out the step' in refused(capsys, code)


def test_a_shared_model_is_evaluated(on_hub, pictures, tmp_path, capsys):
  flags = [
    f'--model={WHERE}',
    '--config.data.source=folder',
    f'--config.data.root={pictures}',
    '--config.data.paired=yes',
  ]
  assert run(evaluate.main, *flags) == 0
  out, err = capsys.readouterr()
  assert 'translated' in out and 'written to' not in out and err == ''
  file = tmp_path / 'rows.json'
  assert run(evaluate.main, *flags, f'--output={file}') == 0
  assert json.loads(file.read_text())['model'] == on_hub
  capsys.readouterr()
  # The config of the shared model names no local pictures.
  err = refused(capsys, run(evaluate.main, f'--model={WHERE}'))
  assert 'does not say which pictures' in err


@pytest.mark.slow
def test_a_shared_model_is_exported(on_hub, tmp_path):
  file = tmp_path / 'a2b.stablehlo'
  flags = ['--direction=a2b', '--format=stablehlo', f'--output={file}']
  assert run(export.main, f'--model={WHERE}', *flags) == 0
  assert file.stat().st_size > 1000


def test_a_shared_model_becomes_official_files(on_hub, model, tmp_path):
  folder = tmp_path / 'official'
  flags = [f'--model={WHERE}', f'--output={folder}']
  assert run(torch_weights.main, 'export', *flags) == 0
  again = saved.load(folder / 'latest_net_G_A.pth').params['gen']['a2b']
  tiny.assert_same(again, saved.load(model).params['gen']['a2b'])


def test_a_started_run_keeps_its_commit(on_hub, hub, model, tmp_path):
  """The model may have a newer commit now, and the Hub may be unreachable."""
  work = tmp_path / 'run'
  assert saved.pinned(WHERE, work) == on_hub
  shutil.copytree(FORMATS / 'run_1', work)
  config = json.loads((work / 'config.json').read_text())
  (work / 'config.json').write_text(json.dumps(config | {'init_from': on_hub}))
  newest = hub.repos[REPO].add({'README.md': b'changed'})
  hub.requests.clear()
  for where in (WHERE, f'{WHERE}@main', on_hub):
    assert saved.pinned(where, work) == on_hub
  assert hub.requests == []
  other = f'{WHERE}@{newest}'
  assert saved.pinned(other, work) == other
  for where in ('', str(model)):
    assert saved.pinned(where, work) == where


@pytest.mark.slow
def test_training_starts_from_a_shared_model_and_keeps_its_commit(
  on_hub, hub, model, pictures, tmp_path, capsys
):
  def train(init_from, **options):
    argv = tiny.command(
      'folder', tmp_path / 'run', pictures, init_from=init_from, **options
    )
    return program.run(main.main, argv)

  def recorded():
    return json.loads((tmp_path / 'run' / 'config.json').read_text())

  rest = {
    'generator__width': 2,
    'loss__identity_a': 0.0,  # without these, a third less to compile
    'loss__identity_b': 0.0,
    'optim__lr': 0.0,
    'optim__lr_discriminator': 0.0,
  }
  assert train(WHERE, **rest) == 0
  assert recorded()['init_from'] == on_hub
  tiny.assert_same(
    saved.load(tmp_path / 'run').params, saved.load(model).params
  )
  stored(tmp_path / 'other', factor=2)
  assert shared(tmp_path / 'other') == 0
  hub.requests.clear()
  assert train(WHERE, schedule__constant=3, **rest) == 0
  assert recorded()['init_from'] == on_hub and hub.requests == []
  capsys.readouterr()
  newest = hub.repos[REPO].commits[-1][0]
  err = refused(capsys, train(f'{WHERE}@{newest}', **rest))
  assert f'init_from was {on_hub!r}' in err


# Revisions, the cache, and errors.


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, model, tmp_path):
  assert shared(model) == 0
  first = hub.repos[REPO].commits[-1][0]
  hub.repos[REPO].tags |= {'v1': first, 'refs/pr/1': first}
  stored(tmp_path / 'other', factor=2)
  assert shared(tmp_path / 'other') == 0
  for revision in ('v1', 'refs/pr/1'):
    assert saved.load(f'{WHERE}@{revision}').name == f'{WHERE}@{first}'
  assert saved.load(WHERE).name != f'{WHERE}@{first}'
  with pytest.raises(UserError, match='@v2: there is no such revision'):
    saved.load(f'{WHERE}@v2')


def test_offline_the_cache_is_used(on_hub, hub, model, monkeypatch, capsys):
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  with pytest.raises(UserError, match='not in the cache, and HF_HUB_OFFLINE'):
    saved.load(WHERE)
  err = refused(capsys, shared(model))
  assert 'HF_HUB_OFFLINE is set: unset HF_HUB_OFFLINE' in err
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
  huggingface_hub.close_session()  # the session remembers the offline mode
  expected = saved.load(WHERE).checksum()
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  huggingface_hub.close_session()
  hub.requests.clear()
  for where in (WHERE, on_hub):
    assert saved.load(where).checksum() == expected
    assert saved.load(where).name == on_hub
  with pytest.raises(UserError, match='not in the cache'):
    saved.load(f'{WHERE}@v2')
  assert hub.requests == []


def test_without_a_network_the_cache_is_used(
  on_hub, hub, monkeypatch, capsys, model
):
  monkeypatch.setattr('time.sleep', lambda seconds: None)  # between retries
  saved.load(WHERE)
  hub.down = True
  assert saved.load(WHERE).name == on_hub  # from the cache
  with pytest.raises(UserError, match='Hub cannot be reached .*: check'):
    saved.load(f'hf://{stand_in.USER}/other')
  refused(capsys, shared(model))


@pytest.mark.parametrize('token', ['', 'hf_secret_of_nobody'])
@pytest.mark.parametrize('echo', [False, True])
def test_a_missing_or_wrong_token_is_one_line(
  token, echo, hub, model, monkeypatch, capsys
):
  hub.echo = echo
  monkeypatch.setenv('HF_TOKEN', token)
  err = refused(capsys, shared(model))
  assert 'hf auth login' in err and 'HF_TOKEN' in err
  assert 'hf_secret' not in err
  monkeypatch.setenv('HF_TOKEN', stand_in.READ_ONLY)
  err = refused(capsys, shared(model))
  assert 'the token does not allow this' in err and 'hf_secret' not in err
  assert not hub.repos


def test_tokens_are_removed_from_error_messages(
  hub, model, monkeypatch, capsys
):
  hub.echo = True
  monkeypatch.setattr(stand_in.Repo, 'add', no_room)
  err = refused(capsys, shared(model))
  assert '507' in err and '***' in err and stand_in.TOKEN not in err


def no_room(self, *args):
  raise stand_in.Refused(507, message='no room')


def test_repositories_without_a_model_are_refused(hub, model, capsys):
  repo = hub.repos[REPO] = stand_in.Repo()
  config = (model / 'config.json').read_bytes()
  for files in (
    {'pytorch_model.bin': b'pickle', 'weights.msgpack': b'x'},
    {'config.json': config, 'latest_net_G_A.pth': b'pickle', 'm.pt': b'x'},
  ):
    repo.add(files)
    with pytest.raises(UserError) as e:
      saved.load(WHERE)
    words = 'does not contain the files config.json and model.safetensors'
    assert words in str(e.value)
    assert '\n' not in str(e.value)
  names = {'config.json', 'model.safetensors'}
  assert {x.rpartition('/')[2] for x in hub.requests} <= names


def test_gated_repositories_ask_to_accept_the_terms(hub, model, monkeypatch):
  assert shared(model) == 0
  hub.repos[REPO].gated = True
  monkeypatch.setenv('HF_TOKEN', '')
  with pytest.raises(UserError, match='accept the terms'):
    saved.load(WHERE)


@pytest.mark.parametrize(
  ('name', 'content', 'words'),
  [
    ('model.safetensors', b'', 'model.safetensors cannot be read as weights'),
    ('model.safetensors', b'\xff' * 80, 'cannot be read as weights'),
    (
      'model.safetensors',
      b'\x02\0\0\0\0\0\0\0{}',
      'holds no generator',
    ),
    ('config.json', b'{', 'config.json is not the config'),
    ('config.json', b'[' * 100_000, 'config.json is not the config'),
    ('config.json', b'{"generator": {"width": 5}}', 'does not fit the'),
    ('config.json', b'{"generator": {"name": "x"}}', 'x'),
  ],
)
def test_damaged_files_of_a_repository_are_refused(
  name, content, words, hub, model
):
  assert shared(model) == 0
  hub.repos[REPO].add({name: content})
  with pytest.raises(UserError, match=words) as e:
    saved.load(WHERE)
  assert '\n' not in str(e.value)


def test_other_files_in_the_cache_are_not_read(on_hub, hub, tmp_path):
  """The cache may contain a full download of the repository."""
  loaded = saved.load(WHERE)
  (snapshot,) = (tmp_path / 'cache').glob('*/snapshots/*')
  (snapshot / 'checkpoints' / '7').mkdir(parents=True)
  (snapshot / 'latest_net_G_A.pth').write_bytes(b'pickle')
  (snapshot / 'weights.msgpack').write_bytes(b'other')
  again = saved.load(WHERE)
  assert again.checksum() == loaded.checksum() and again.step is None


def test_local_paths_in_a_shared_config_are_ignored(hub, model, tmp_path):
  assert shared(model) == 0
  config = json.loads(files_at(hub)['config.json'])
  config['data']['root'] = config['evaluate']['segmenter'] = '/etc'
  config['init_from'] = 'hf://eve/trap'
  hub.repos[REPO].add({'config.json': json.dumps(config).encode()})
  found = flatten(saved.load(WHERE).config.to_dict())
  assert not any(found[key] for key in PATHS)


def test_a_missing_package_names_the_extra(model, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[hub\]'"):
    saved.load(WHERE)
  assert "'.[hub]'" in refused(capsys, shared(model))


@pytest.mark.parametrize(
  'text',
  [
    'hf://',
    'hf://maps',
    'hf://a/b/c',
    'hf://a/b@',
    'hf://a/b@../x',
    'hf://a/../b',
    'hf://a/b--c',
    'hf://a/.b',
    'hf://a/b.git',
    'hf://a/b@v 1',
    f'hf://a/{"b" * 96}',
    'hf://ä/b',
  ],
)
def test_invalid_addresses_are_refused(text):
  with pytest.raises(UserError, match='hf://'):
    address.parse(text)
  with pytest.raises(UserError):
    saved.load(text)


def test_invalid_repository_names_are_refused(hub, model, capsys):
  for repo in ('maps', 'ann/maps@main', 'ann/ma ps', 'hf://ann/maps'):
    assert f'--repo={repo}: give' in refused(capsys, shared(model, repo=repo))
  assert 'no --repo' in refused(capsys, run(share.main, f'--model={model}'))
  err = refused(capsys, shared(model, '--license=My License'))
  assert '--license=My License' in err
  assert hub.requests == []


def test_equivalent_addresses_are_equal():
  old, new = 'a' * 40, 'b' * 40
  for before, now, expected in (
    (f'hf://a/b@{old}', 'hf://a/b', True),
    (f'hf://a/b@{old}', 'hf://a/b@main', True),
    (f'hf://a/b@{old}', f'hf://a/b@{old}', True),
    (f'hf://a/b@{old}', f'hf://a/b@{new}', False),
    (f'hf://a/b@{old}', 'hf://a/c', False),
    (f'hf://a/b@{old}', 'runs/b', False),
  ):
    assert paths.same(before, now) is expected, now
  assert paths.absolute('hf://a/b') == 'hf://a/b'


# Model card.


def facts(**changes):
  config = get_config().to_dict()
  config['data'] |= {'source': 'folder', 'name': ''}
  return card.Facts(
    repo=REPO,
    license='mit',
    config=config,
    step=1200,
    directions=('a2b', 'b2a'),
    groups=('gen', 'disc'),
    pictures={},
    rows=[],
    sample_step=None,
  )._replace(**changes)


def metadata(text):
  return yaml.safe_load(text.split('---\n')[1])


def test_a_model_card_has_metadata():
  assert metadata(card.text(facts())) == {
    'license': 'mit',
    'library_name': 'cyclegan_jax',
    'pipeline_tag': 'image-to-image',
    'tags': ['image-to-image', 'cyclegan', 'jax', 'flax'],
  }
  text = card.text(facts(license=''))
  assert 'license' not in metadata(text) and 'No licence is given' in text
  assert metadata(card.text(facts(license='no')))['license'] == 'no'


def test_a_model_card_links_datasets_and_base_model_on_the_hub():
  config = facts().config | {'init_from': 'hf://eve/base@main'}
  config['data'] |= {'source': 'hf', 'name': 'o/horse:x; o/zebra'}
  text = card.text(facts(config=config))
  assert metadata(text)['datasets'] == ['o/horse', 'o/zebra']
  assert metadata(text)['base_model'] == 'eve/base'
  config['data'] |= {'source': 'tfds', 'name': 'cycle_gan/maps'}
  text = card.text(facts(config=config))
  assert 'datasets' not in metadata(text) and '`cycle_gan/maps`' in text


def test_a_model_card_works_without_a_run():
  text = card.text(facts(config=get_config().to_dict(), directions=('b2a',)))
  assert 'All options have their default values' in text
  assert "'b2a'" in text and 'a2b' not in text
  assert '## Test figures' not in text and '## Samples' not in text


def test_user_texts_are_escaped_in_a_model_card():
  config = facts().config
  config['train'] |= {'on_nonfinite': 'a|b`c\n---\nlicense: evil <b>'}
  text = card.text(facts(config=config))
  (line,) = (x for x in text.splitlines() if x.startswith('| `train.on_non'))
  assert line.replace('\\|', '').count('|') == 4
  assert line.count('`') == 6 and '<b>' not in line
  assert metadata(text)['license'] == 'mit'


@pytest.fixture
def trained(tmp_path):
  """Run folder with sample grids and test figures."""
  folder = tmp_path / 'secret_run'
  shutil.copytree(FORMATS / 'run_1', folder)
  config = json.loads((folder / 'config.json').read_text())
  config['data']['root'] = '/home/ann/pictures'
  pictures = json.loads((folder / 'run.json').read_text())
  pictures['pictures']['a']['files'] = pictures['pictures']['b']['files'] = 'd1'
  pictures['tests'] = {f'test{d}': {'count': 2, 'files': 'd2'} for d in 'AB'}
  rows = [{'direction': 'a2b', 'candidate': 'translated', 'L1': 0.123456}]
  for name, content in (
    ('config', config),
    ('run', pictures),
    ('test_metrics', rows),
  ):
    (folder / f'{name}.json').write_text(json.dumps(content))
  (folder / 'samples').mkdir()
  for step in (2, 4, 6):
    (folder / 'samples' / f'step_{step:07d}.png').write_bytes(b'grid %d' % step)
  return folder


def test_the_model_card_of_a_run_has_its_figures(hub, trained):
  assert shared(trained, '--license=cc-by-4.0') == 0
  files = files_at(hub)
  text = files['README.md'].decode()
  for words in (
    'trained for 4 steps',
    '| training pictures | 5 | 7 |',
    '| test pictures | 2 | 2 |',
    '| digest of the contents | `d1` | `d1` |',
    '| a2b       | translated | 0.123 |',
    '| `generator.width` | `2` | `64` |',
    'at step 4:',
  ):
    assert words in text, words
  assert files['samples.png'] == b'grid 4'
  assert 'data.root' not in text
  for content in files.values():
    assert b'/home/ann' not in content and b'secret_run' not in content
  assert shared(trained, '--no-samples', '--license=cc-by-4.0') == 0
  assert 'samples.png' not in files_at(hub)
  assert saved.load(WHERE).checksum() == saved.load(trained).checksum()


def test_a_model_card_leaves_out_figures_of_other_weights(trained, tmp_path):
  loaded = saved.load(trained)
  rows = [{'direction': 'a2b', 'candidate': 'translated', 'KD-VGG': 0.654321}]

  def card_of():
    sharing.write(tmp_path / 'out', loaded, sharing.Wanted(REPO))
    return (tmp_path / 'out' / 'README.md').read_text()

  for step, there in ((4, True), (3, False)):
    content = {'model': '/home/ann/x', 'step': step, 'rows': rows}
    (trained / 'evaluation.json').write_text(json.dumps(content))
    text = card_of()
    assert ('0.654' in text) is there and '## Test figures' in text
    assert '/home/ann' not in text
  (trained / 'test_metrics.json').write_text('[')
  (trained / 'run.json').write_text('{"pictures": 3}')
  text = card_of()
  assert '## Test figures' not in text and '| test pictures' not in text


@pytest.mark.slow
def test_the_real_client_shares_and_loads_a_model(hub, model, tmp_path):
  """Real processes use the unpatched client."""
  environment = os.environ | {
    'HF_ENDPOINT': hub.address,
    'HF_HOME': str(tmp_path / 'home'),
    'HF_HUB_DISABLE_XET': '1',
    'HF_TOKEN': stand_in.TOKEN,
    'HF_DEBUG': '',
  }

  def start(*words, **changes):
    return subprocess.run(
      [sys.executable, '-m', *words],
      capture_output=True,
      text=True,
      env=environment | changes,
      cwd=pathlib.Path(__file__).parent.parent,
      check=False,
    )

  flags = [f'--model={model}', f'--repo={REPO}']
  done = start('cyclegan_jax.share', *flags)
  assert (done.returncode, done.stderr) == (0, '')
  assert 'shared at' in done.stdout and stand_in.TOKEN not in done.stdout
  flags = [f'--model={WHERE}', f'--output={tmp_path / "official"}']
  done = start('cyclegan_jax.torch_weights', 'export', *flags)
  assert (done.returncode, done.stderr) == (0, '')
  offline = {'HF_HUB_OFFLINE': '1'}
  flags[1] = f'--output={tmp_path / "offline"}'
  done = start('cyclegan_jax.torch_weights', 'export', *flags, **offline)
  assert (done.returncode, done.stderr) == (0, '')
  flags[0] = f'--model={WHERE}_2'
  done = start('cyclegan_jax.torch_weights', 'export', *flags, **offline)
  assert done.returncode == 2 and done.stderr.count('\n') == 1


def test_all_files_are_loaded_from_one_commit(hub, model, monkeypatch):
  """The repository changes between two downloads."""
  assert shared(model) == 0
  true = huggingface_hub.hf_hub_download

  def changing(repo, name, **options):
    path = true(repo, name, **options)
    hub.repos[REPO].add({'model.safetensors': b'newer'})
    return path

  monkeypatch.setattr(huggingface_hub, 'hf_hub_download', changing)
  found, where = client.download(
    address.parse(WHERE), ('config.json', 'model.safetensors')
  )
  assert found[1].read_bytes() != b'newer'
  assert {path.parent.name for path in found} == {where.revision}


@pytest.mark.parametrize('name', tiny.plain_first(sorted(METHODS), 'cogan'))
def test_generators_of_every_method_are_recognised(name, monkeypatch):
  """Only shapes are compared; no network runs."""
  tiny.stand_in(monkeypatch, name)
  config = get_config()
  config.method = name
  config.generator.update({'name': 'resnet', 'depth': 1, 'width': 4})
  config.discriminator.update({'depth': 1, 'width': 4})
  config.data.crop_size = tiny.SIZE
  images = {
    d: np.zeros((1, tiny.SIZE, tiny.SIZE, config.data[f'channels_{d}']))
    for d in 'ab'
  }
  params = jax.eval_shape(
    build_method(config).init,
    jax.random.PRNGKey(0),
    jax.tree.map(np.float32, images),
  )
  loaded = saved.Model(config, {'gen': params['gen']}, name='hf://a/b')
  saved._check_belongs(loaded)
  assert loaded.directions
  spoilt = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((*x.shape, 2), x.dtype), params['gen']
  )
  loaded = saved.Model(config, {'gen': spoilt}, name='hf://a/b')
  with pytest.raises(UserError, match='hf://a/b: model.safetensors does not'):
    saved._check_belongs(loaded)
