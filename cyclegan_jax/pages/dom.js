'use strict';

// What tests and people look for when the page stays empty.
function failed(reason) {
  document.documentElement.dataset.error = reason;
}
addEventListener('error', (e) => failed(e.message || 'a picture fails'), true);
addEventListener('securitypolicyviolation', (e) => failed(e.violatedDirective));

const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) {
      element.setAttribute(name, value);
    }
  }
  // Texts become text nodes, whatever they hold.
  element.append(...children.filter((child) => child != null));
  return element;
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  const space = 'http://www.w3.org/2000/svg';
  return fill(document.createElementNS(space, tag), attributes, children);
}

function note(text) {
  return make('p', { class: 'note' }, text);
}

// Four digits, short.
function short(value) {
  if (value == null) return '\u2013';
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
