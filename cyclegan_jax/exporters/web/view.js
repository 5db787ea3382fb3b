// Shows the picture before and after translation, with a divider between them.
const LARGEST_FIT = 8; // largest factor by which a small picture is enlarged

function layOut() {
  const { width, height } = byId('after');
  const zoom = Number(byId('zoom').value);
  const box = byId('window');
  const high = Math.max(240, innerHeight * 0.7);
  const fit = Math.min(box.clientWidth / width, high / height, LARGEST_FIT);
  const scale = zoom || fit;
  const stack = byId('stack');
  stack.style.width = `${Math.max(1, Math.round(width * scale))}px`;
  stack.style.height = `${Math.max(1, Math.round(height * scale))}px`;
  stack.classList.toggle('small', scale >= 2);
  box.classList.toggle('fit', !zoom);
}

function setSplit(percent) {
  const split = byId('split');
  split.value = Math.min(100, Math.max(0, percent));
  byId('stack').style.setProperty('--split', `${split.value}%`);
}

function moveSplit(by) {
  setSplit(Number(byId('split').value) + by);
}

function zoomBy(by) {
  const zoom = byId('zoom');
  const last = zoom.options.length - 1;
  zoom.selectedIndex = Math.min(last, Math.max(0, zoom.selectedIndex + by));
  layOut();
}

// Moves the divider, or scrolls a picture that is larger than its window.
function drag(e) {
  if (e.pointerType === 'mouse' && !e.buttons) return;
  const box = byId('window');
  if (box.classList.contains('fit')) {
    const { left, width } = byId('stack').getBoundingClientRect();
    setSplit((100 * (e.clientX - left)) / width);
  } else if (e.type === 'pointermove' && e.pointerType === 'mouse') {
    box.scrollBy(-e.movementX, -e.movementY);
  }
}

function prepareView() {
  byId('split').addEventListener('input', (e) => setSplit(e.target.value));
  byId('zoom').addEventListener('change', layOut);
  const stack = byId('stack');
  stack.addEventListener('pointerdown', drag);
  stack.addEventListener('pointermove', drag);
  addEventListener('resize', () => {
    if (!byId('compare').hidden) layOut();
  });
  setSplit(50);
}

function showView() {
  byId('compare').hidden = false;
  byId('drop').classList.add('used');
  layOut();
  byId('compare').scrollIntoView({ block: 'nearest' });
}
