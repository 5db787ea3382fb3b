"""Tests of the code that all single-file HTML pages share."""

import configparser
import json
import pathlib
import re

import pytest
import tiny

import cyclegan_jax
from cyclegan_jax.pages.render import render

ROOT = pathlib.Path(cyclegan_jax.__file__).parent
FOLDERS = sorted(
  {
    path.parent
    for kind in ('html', 'css', 'js')
    for path in ROOT.rglob(f'*.{kind}')
  }
)


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda x: x.name)
def test_all_files_of_a_page_are_installed(folder):
  package = '.'.join(folder.relative_to(ROOT.parent).parts)
  config = configparser.ConfigParser()
  config.read(tiny.CONFIGS.parent / 'setup.cfg')
  patterns = config['options.package_data'][package]
  kinds = {p.suffix for p in folder.iterdir() if p.is_file()} - {'.py'}
  assert kinds == {x.strip('* ') for x in patterns.split(',')}


def rendered(title='a title', content=None, **more):
  scripts = ('curves.js', 'pictures.js', 'page.js')
  return render('cyclegan_jax.report_page', scripts, title, content, **more)


def test_data_cannot_close_its_html_element():
  page = rendered('<b>&', {'x': '</script><!--', 'y': float('nan')})
  assert '<title>&lt;b&gt;&amp;</title>' in page
  data = re.search(r'id="data">(.*?)</script>', page)[1]
  assert json.loads(data) == {'x': '</script><!--', 'y': None}


def test_the_content_policy_allows_only_requested_sources():
  policy = re.compile(r'content="(default-src[^"]*)"')
  without = policy.search(rendered())[1]
  allow = {'script-src': 'blob:', 'worker-src': 'blob:'}
  more = policy.search(rendered(allow=allow))[1]
  assert "script-src 'sha256-" in without and 'blob:' not in without
  assert re.search(r"script-src 'sha256-\S+' blob:;", more)
  assert more.endswith('worker-src blob:')
