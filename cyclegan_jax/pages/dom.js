'use strict';

// Shows the reason of an error as data-error of the <html> element, where tests
// and users can find it if the page stays empty.
function failed(reason) {
  document.documentElement.dataset.error = reason;
}
addEventListener(
  'error', (e) => failed(e.message || 'a picture cannot be loaded'), true);
addEventListener('securitypolicyviolation', (e) => failed(e.violatedDirective));

const byId = (id) => document.getElementById(id);

// Sets attributes and appends children. An attribute onNAME is a listener of
// the event NAME; true is an attribute without a value; false, null and
// undefined are left out.
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) {
      element.setAttribute(name, value);
    }
  }
  // Strings become text nodes, so any markup in them stays text.
  element.append(...children.filter((child) => child != null));
  return element;
}

// Returns a new HTML element, see fill.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// Returns a new SVG element, see fill.
function draw(tag, attributes = {}, ...children) {
  const space = 'http://www.w3.org/2000/svg';
  return fill(document.createElementNS(space, tag), attributes, children);
}

function note(text) {
  return make('p', { class: 'note' }, text);
}

// Returns a number as short text with four significant digits, a dash for null.
function short(value) {
  if (value == null) return '\u2013';
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
