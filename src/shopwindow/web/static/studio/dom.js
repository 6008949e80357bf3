// Small things that every part of the page uses.

export const $ = (id) => document.getElementById(id);
export const main = $('main');

// An element: `make('button', { class: 'link', text: 'Undo', onclick: undo }, ...children)`. Keys with
// a dash, `class`, `role` and `for` are attributes; the others are properties.
export const make = (tag, given = {}, ...children) => {
  const element = document.createElement(tag);
  Object.entries(given).forEach(([key, value]) => {
    if (value === undefined || value === null) return;
    if (key === 'text') element.textContent = value;
    else if (key === 'class') element.className = value;
    else if (key.includes('-') || key === 'role' || key === 'for') element.setAttribute(key, value);
    else element[key] = value;
  });
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
};

export const button = (text, onclick, more = {}) => make('button', { type: 'button', text, onclick, ...more });

export const counted = (number, thing) => `${number.toLocaleString('en')} ${thing}${number === 1 ? '' : 's'}`;

// The same rules as messages.py: never "0 %", never "100 %".
export const perCent = (share, decimals = 0) => {
  const step = 10 ** -decimals;
  const value = share * 100;
  if (value > 100 - step / 2) return `>${(100 - step).toFixed(decimals)}\u202f%`;
  if (value < step / 2) return `<${step.toFixed(decimals)}\u202f%`;
  return `${value.toFixed(decimals)}\u202f%`;
};

// The same of a whole number of per cent.
export const wholePerCent = (number) => (number > 99 ? '>99\u202f%' : `${number}\u202f%`);

// A measured share may well be 0 or 100 %.
export const measured = (share) => (share === 0 || share === 1 ? `${share * 100}\u202f%` : perCent(share));

const SVG = 'http://www.w3.org/2000/svg';
export const bar = (share) => {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'bar');
  svg.setAttribute('aria-hidden', 'true');
  [['rail', 1], ['fill', share]].forEach(([kind, part]) => {
    const rect = document.createElementNS(SVG, 'rect');
    rect.setAttribute('class', kind);
    rect.setAttribute('width', `${(100 * part).toFixed(2)}%`);
    rect.setAttribute('height', '100%');
    svg.append(rect);
  });
  return svg;
};

// Replaces what an element shows only if it has changed, so that nothing loses the focus for nothing.
const shown = new WeakMap();
export const redraw = (element, key, draw) => {
  const text = JSON.stringify(key);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  const name = element.contains(document.activeElement) ? document.activeElement.dataset.keep : undefined;
  element.replaceChildren(...draw());
  if (name) element.querySelector(`[data-keep="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
};

// Says something at the foot of the page; an action is a button beside it.
let timer = 0;
export const tell = (sentence, { act = '', onact = null, bad = false, stays = bad || Boolean(onact) } = {}) => {
  clearTimeout(timer);
  const place = $('notice');
  place.classList.toggle('bad', bad);
  $('said').textContent = sentence;
  $('do').replaceChildren(...[
    onact && button(act, () => { hush(); onact(); }),
    sentence && button('Close', () => hush(), { class: 'link' }),
  ].filter(Boolean));
  place.hidden = !sentence;
  if (sentence && !stays) timer = setTimeout(hush, 8000);
};
export const hush = () => tell('');
