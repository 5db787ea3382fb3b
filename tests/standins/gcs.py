"""Serves a local bucket for all three clients of a run on gs://.

    python gcs.py FOLDER BUCKET

TensorFlow's file system has fixed addresses (www.googleapis.com, and
storage.googleapis.com to read): it uses this server as a proxy, with a
certificate made here. TensorStore and google-cloud-storage accept another
address. The certificate is written to FOLDER, and so is `environment.json`, the
environment variables that a process needs to use the bucket. The server ends
when its standard input is closed.
"""

import functools
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import threading

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

HOSTS = ('www.googleapis.com', 'storage.googleapis.com')
REFUSED = {
  'forbidden': 403,
  'nowhere': 404,
}  # a bucket of others, and a missing bucket
read_data = server._read_data
plain_download = objects.download


def download(request, response, storage, *args, **kwargs):
  """Answers a download; adds the object's generation for TensorStore."""
  plain_download(request, response, storage, *args, **kwargs)
  if response.status in (200, 206):
    path = request.params['bucket_name'], request.params['object_id']
    response['x-goog-generation'] = storage.get_file_obj(*path)['generation']


def read_body(handler, query):
  """Reads a request; an empty object (a folder) must not count as missing."""
  data = read_data(handler, query)
  return b'' if data is None and query.get('uploadType') == ['media'] else data


class Request(server.Request):
  """Request whose uploads continue through the proxy, in whole chunks."""

  def __init__(self, handler, method):
    if handler.headers.get('Transfer-Encoding') == 'chunked':
      del handler.headers['Content-Length']  # TensorFlow sends both
    super().__init__(handler, method)
    if isinstance(handler.connection, ssl.SSLSocket):
      self._full_url = self._full_url.replace('http:', 'https:', 1)


class Handler(server.RequestHandler):
  """Handler of the emulator that is also a proxy to itself."""

  def do_CONNECT(self):
    self.send_response(200)
    self.end_headers()
    self.connection = self.context.wrap_socket(
      self.connection, server_side=True
    )
    self.rfile = self.connection.makefile('rb')
    self.wfile = self.connection.makefile('wb', 0)
    self.handle_one_request()
    self.wfile.flush()
    self.connection.close()

  def parse_request(self):
    parsed = super().parse_request()
    for name, code in REFUSED.items():
      if parsed and f'/b/{name}' in self.path:
        self.send_error(code)
        return False
    if parsed and self.headers.get('Expect') == '100-continue':
      self.wfile.write(
        b'HTTP/1.1 100 Continue\r\n\r\n'
      )  # otherwise curl waits 1 s
    return parsed

  def handle_one_request(self):
    super().handle_one_request()
    self.close_connection = True


def make_certificate(folder):
  names = ','.join(f'DNS:{host}' for host in HOSTS)
  subprocess.run(
    ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2']
    + ['-subj', f'/CN={HOSTS[0]}', '-addext', f'subjectAltName={names}']
    + ['-keyout', folder / 'key.pem', '-out', folder / 'certificate.pem'],
    check=True,
    capture_output=True,
  )
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain(folder / 'certificate.pem', folder / 'key.pem')
  return context


def main(folder, bucket):
  folder = pathlib.Path(folder).absolute()
  server._read_data = read_body
  objects.download = download
  for _, methods in server.HANDLERS:
    if methods.get('GET') is plain_download:
      methods['GET'] = download
  server.Request = Request
  Handler.context = make_certificate(folder)
  storage = Storage(use_memory_fs=True)
  buckets.create_bucket(bucket, storage)
  httpd = http.server.ThreadingHTTPServer(
    ('127.0.0.1', 0), functools.partial(Handler, storage)
  )
  threading.Thread(target=httpd.serve_forever, daemon=True).start()
  address = f'http://127.0.0.1:{httpd.server_port}'
  environment = {
    'https_proxy': address,
    'no_proxy': '127.0.0.1',  # communication between processes
    'CURL_CA_BUNDLE': str(folder / 'certificate.pem'),
    'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'none',
    'TENSORSTORE_GCS_HTTP_URL': address,
    'STORAGE_EMULATOR_HOST': address,
    'GOOGLE_CLOUD_PROJECT': 'none',
  }
  part = folder / 'environment.json.part'
  part.write_text(json.dumps(environment))
  part.rename(folder / 'environment.json')
  sys.stdin.read()


if __name__ == '__main__':
  main(*sys.argv[1:])
