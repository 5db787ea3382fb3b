"""Serves a local Hugging Face Hub for its client huggingface_hub.

Repositories of models are in memory. The server answers the requests that share
and load a model: repos/create, model info, validate-yaml, preupload, LFS,
commit and resolve. As on the Hub, safetensors files and pictures are stored by
LFS.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote, urlsplit

import yaml

TOKEN, READ_ONLY = 'hf_secret_of_a_user', 'hf_secret_of_a_reader'
USER = 'ann'
_LARGE = ('.safetensors', '.png', '.bin', '.msgpack')


class Repo:
  """A repository.

  Attributes:
    private: True if only the owner can see the repository.
    gated: True if readers have to accept terms.
    commits: [(hash, {name: contents})], the newest last.
    tags: {name: hash}.
  """

  def __init__(self, private=False):
    self.private, self.gated = private, False
    self.commits, self.tags = [], {}
    self.add({'.gitattributes': b'*.safetensors filter=lfs\n'})

  def add(self, files, removed=()):
    """Commits files and returns the hash of the commit."""
    content = dict(self.commits[-1][1]) if self.commits else {}
    content = {k: v for k, v in (content | files).items() if k not in removed}
    before = self.commits[-1][0] if self.commits else ''
    digest = hashlib.sha1(before.encode())
    for name in sorted(content):
      digest.update(name.encode() + content[name])
    self.commits.append((digest.hexdigest(), content))
    return self.commits[-1][0]

  def at(self, revision):
    """Returns (hash, {name: contents}) of a revision, or None."""
    if revision in ('main', 'HEAD'):
      return self.commits[-1]
    wanted = self.tags.get(revision, revision)
    return next((c for c in self.commits if c[0] == wanted), None)


class Hub:
  """State of the server.

  Attributes:
    address: value for HF_ENDPOINT.
    repos: {'USER/NAME': Repo}.
    requests: ['GET /path'] of all requests.
    echo: if True, errors repeat the token, which a real server never does.
    down: if True, all requests are answered with 503.
  """

  def __init__(self):
    self.address, self.repos, self.blobs = '', {}, {}
    self.requests, self.echo, self.down = [], False, False


class Refused(Exception):
  """Error of the Hub: a status, and the error name that the client expects."""

  def __init__(self, status, code='', message='refused'):
    super().__init__(message)
    self.status, self.code, self.message = status, code, message


class Handler(http.server.BaseHTTPRequestHandler):
  """Handler of requests; `serving` sets `hub`."""

  hub = None

  def log_message(self, *args):
    pass

  def do(self):
    path = urlsplit(self.path).path
    self.hub.requests.append(f'{self.command} {path}')
    body = self._body()
    try:
      if self.hub.down:
        raise Refused(503)
      for pattern, methods, answer in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and self.command in methods:
          answer(self, body, *(x and unquote(x) for x in match.groups()))
          return
      raise Refused(404, 'RepoNotFound')
    except Refused as e:
      text = e.message
      if self.hub.echo:
        text += ' ' + self.headers.get('Authorization', '')
      headers = {'X-Error-Message': text}
      if e.code:
        headers['X-Error-Code'] = e.code
      self._send(e.status, json.dumps({'error': text}).encode(), headers)

  do_GET = do_HEAD = do_POST = do_PUT = do

  def _body(self):
    if self.headers.get('Transfer-Encoding') == 'chunked':
      parts = []
      while size := int(self.rfile.readline(), 16):
        parts.append(self.rfile.read(size))
        self.rfile.readline()
      self.rfile.readline()
      return b''.join(parts)
    return self.rfile.read(int(self.headers.get('Content-Length', 0)))

  def _send(self, status, body=b'', headers=()):
    self.send_response(status)
    for name, value in dict(headers).items():
      self.send_header(name, value)
    if 'Content-Length' not in dict(headers):
      self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)

  def _json(self, content):
    self._send(200, json.dumps(content).encode())

  def _user(self):
    """Returns the user of the request, or None; refuses unknown tokens."""
    token = self.headers.get('Authorization', '').removeprefix('Bearer ')
    if token and token not in (TOKEN, READ_ONLY):
      raise Refused(401, message='Invalid credentials')
    return token and (USER if token == TOKEN else 'reader')

  def _repo(self, name, writes=False):
    user, repo = self._user(), self.hub.repos.get(name)
    if repo is None or (repo.private and user != name.split('/')[0]):
      raise Refused(404 if user else 401, 'RepoNotFound')
    if repo.gated and not user:
      raise Refused(403, 'GatedRepo')
    if writes and user != name.split('/')[0]:
      raise Refused(403)
    return repo

  def create(self, body):
    asked, user = json.loads(body), self._user()
    if not user:
      raise Refused(401)
    if asked['organization'] != user or user != USER:
      raise Refused(403)
    name = f'{asked["organization"]}/{asked["name"]}'
    page = json.dumps({'url': f'{self.hub.address}/{name}'}).encode()
    if name in self.hub.repos:
      self._send(409, page)
      return
    private = asked.get('visibility') == 'private' or asked.get('private')
    self.hub.repos[name] = Repo(bool(private))
    self._send(200, page)

  def validate(self, body):
    text = json.loads(body)['content']
    metadata = yaml.safe_load(text.split('---')[1])
    errors = []
    if not isinstance(metadata.get('license', ''), str):
      errors = [{'message': '"license" must be a string'}]
    answer = json.dumps({'errors': errors, 'warnings': []}).encode()
    self._send(400 if errors else 200, answer)

  def info(self, body, name, revision):
    repo = self._repo(name)
    found = repo.at(revision or 'main')
    if not found:
      raise Refused(404, 'RevisionNotFound')
    siblings = [{'rfilename': x} for x in sorted(found[1])]
    facts = {'_id': name, 'id': name, 'modelId': name, 'private': repo.private}
    self._json(facts | {'sha': found[0], 'siblings': siblings, 'tags': []})

  def preupload(self, body, name):
    there = self._repo(name, writes=True).at('main')[1]
    found = []
    for file in json.loads(body)['files']:
      path = file['path']
      mode = 'lfs' if path.endswith(_LARGE) else 'regular'
      oid = _oid(there[path], mode) if path in there else None
      found.append({'path': path, 'uploadMode': mode, 'shouldIgnore': False})
      found[-1]['oid'] = oid
    self._json({'files': found})

  def batch(self, body, name):
    self._repo(name, writes=True)
    objects = [
      {'oid': x['oid'], 'size': x['size']}
      | (
        {}
        if x['oid'] in self.hub.blobs
        else {'actions': {'upload': {'href': self._blob(x['oid'])}}}
      )
      for x in json.loads(body)['objects']
    ]
    self._json({'transfer': 'basic', 'objects': objects})

  def _blob(self, oid):
    # On another host, as on the real Hub: requests there have no token.
    return f'{self.hub.address}/blobs/{oid}'.replace('127.0.0.1', 'localhost')

  def put_blob(self, body, oid):
    assert 'Authorization' not in self.headers
    assert hashlib.sha256(body).hexdigest() == oid
    self.hub.blobs[oid] = body
    self._send(200)

  def get_blob(self, body, oid):
    assert 'Authorization' not in self.headers
    self._send(200, self.hub.blobs[oid])

  def commit(self, body, name):
    repo, added, removed = self._repo(name, writes=True), {}, []
    for line in body.splitlines():
      action = json.loads(line)
      value = action['value']
      if action['key'] == 'file':
        added[value['path']] = base64.b64decode(value['content'])
      elif action['key'] == 'lfsFile':
        added[value['path']] = self.hub.blobs[value['oid']]
      elif action['key'] == 'deletedFile':
        removed.append(value['path'])
    oid = repo.add(added, removed)
    url = f'{self.hub.address}/{name}/commit/{oid}'
    self._json({'success': True, 'commitOid': oid, 'commitUrl': url})

  def resolve(self, body, name, revision, path):
    found = self._repo(name).at(revision)
    if not found:
      raise Refused(404, 'RevisionNotFound')
    commit, content = found
    headers = {'X-Repo-Commit': commit}
    if path not in content:
      self._send(404, headers=headers | {'X-Error-Code': 'EntryNotFound'})
      return
    data = content[path]
    if not path.endswith(_LARGE):
      self._send(200, data, headers | {'ETag': f'"{_oid(data, "regular")}"'})
      return
    oid = _oid(data, 'lfs')
    self.hub.blobs[oid] = data
    headers |= {'X-Linked-Etag': f'"{oid}"', 'X-Linked-Size': str(len(data))}
    self._send(302, headers=headers | {'Location': self._blob(oid)})


def _oid(data, mode):
  if mode == 'lfs':
    return hashlib.sha256(data).hexdigest()
  return hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()


_REPO = '([^/]+/[^/]+)'
ROUTES = [
  ('/api/repos/create', ('POST',), Handler.create),
  ('/api/validate-yaml', ('POST',), Handler.validate),
  (f'/api/models/{_REPO}(?:/revision/(.+))?', ('GET',), Handler.info),
  (f'/api/models/{_REPO}/preupload/main', ('POST',), Handler.preupload),
  (f'/api/models/{_REPO}/commit/main', ('POST',), Handler.commit),
  (f'/{_REPO}.git/info/lfs/objects/batch', ('POST',), Handler.batch),
  ('/blobs/(.+)', ('PUT',), Handler.put_blob),
  ('/blobs/(.+)', ('GET', 'HEAD'), Handler.get_blob),
  (f'/{_REPO}/resolve/([^/]+)/(.+)', ('GET', 'HEAD'), Handler.resolve),
]


@contextlib.contextmanager
def serving():
  """Yields a `Hub` without repositories that serves until the block ends."""
  hub = Hub()
  handler = type('BoundHandler', (Handler,), {'hub': hub})
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  hub.address = f'http://127.0.0.1:{server.server_port}'
  thread = threading.Thread(
    target=server.serve_forever, args=(0.02,), daemon=True
  )
  thread.start()
  try:
    yield hub
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
