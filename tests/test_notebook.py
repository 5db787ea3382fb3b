"""Tests that the notebook runs from top to bottom, on a short demo run."""

import os
import pathlib

import pytest
import tiny

from cyclegan_jax import main
from cyclegan_jax.config import program

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
NOTEBOOKS = pathlib.Path(__file__).parent.parent / 'notebooks'


@pytest.mark.slow
@pytest.mark.filterwarnings('default')  # of Jupyter's own processes
def test_the_tour_notebook_runs(tmp_path, monkeypatch):
  argv = tiny.command('satellite2map', tmp_path / 'run')
  assert program.run(main.main, argv) == 0
  monkeypatch.setenv('WORKDIR', str(tmp_path / 'run'))
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(NOTEBOOKS.parent)]))
  notebook = nbformat.read(NOTEBOOKS / 'tour.ipynb', as_version=4)
  nbclient.NotebookClient(notebook, timeout=300).execute()
  outputs = [o for cell in notebook.cells for o in cell.get('outputs', [])]
  assert sum('image/png' in o.get('data', {}) for o in outputs) == 5
  assert not [o for o in outputs if o['output_type'] == 'error']


def test_the_notebook_contains_no_local_paths():
  text = (NOTEBOOKS / 'tour.ipynb').read_text()
  assert '/home/' not in text and '/root/' not in text and '/tmp/' not in text
