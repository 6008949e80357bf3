// The photos: a grid that holds only what is in sight, so that 20,000 scroll like 20.

import { firstBelow, layOut, sections } from './arrange.js';
import { $, button, counted, main, make, redraw, wholePerCent } from './dom.js';
import { address, on, project, READING, UNREADABLE } from './state.js';

const BEYOND_PX = 600; // above and below what is in sight
const SETTLED_MS = 120; // after this long without scrolling
const CALM_MS = 3000; // guesses are sorted anew only when nobody has touched anything for so long

const scroller = $('photos');
const canvas = $('canvas');
const drawn = new Map(); // key to element
let layout = { items: [], height: 0, order: [], places: new Map() };
let guesses = new Map();
let filter = '';
let lastTouch = 0;
let selection = new Set();
let current = ''; // the photo that has, or would get, the focus
let acts = {}; // of the other parts: confirm(photos), look(id)

export const order = () => layout.order;
export const placeOf = (id) => layout.places.get(id);
export const currentId = () => current;

const sizes = () => {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const width = canvas.clientWidth;
  return { width, tile: Math.min(7.5 * rem, width / 3.8), gap: 0.5 * rem, head: 3.25 * rem, tick: 3 * rem };
};

const TITLES = { new: 'No label yet', unread: 'Being read', bad: 'Cannot be read' };
const HINTS = {
  new: 'Select photos of the same thing, then label them.',
  bad: 'They are left out.',
};

const drawHead = (element, { group }) => {
  const { kind, label, photos } = group;
  const title = kind === 'guess' ? `Looks like ${label}` : TITLES[kind] ?? label;
  redraw(element, [title, photos.length], () => [
    make('h3', { class: kind === 'guess' ? 'asking' : '', text: title }),
    make('span', { class: 'count', text: photos.length.toLocaleString('en') }),
    kind === 'guess' ? button(photos.length > 1 ? `All ${photos.length} are` : 'It is', () => acts.confirm(element.group.photos, label), { 'data-keep': 'all' })
      : HINTS[kind] && make('span', { class: 'fine', text: HINTS[kind] }),
    button('Select all', () => acts.select(element.group.photos), { class: 'link', 'data-keep': 'select', 'aria-label': `Select all of ${title}` }),
  ].filter(Boolean));
  element.group = group;
};

const drawTick = (element, { row, group }) => {
  const name = row.length > 1 ? `These ${row.length} are ${group.label}` : `This is ${group.label}`;
  redraw(element, [name], () => [button('✓', () => acts.confirm(element.row, group.label), { 'aria-label': name, title: name, 'data-keep': 'tick' })]);
  element.row = row;
};

const nameOf = (photo) => {
  const guess = photo.guess && photo.guess !== photo.label ? `, looks like ${photo.guess}` : '';
  const status = photo.status === READING ? ', being read' : photo.status === UNREADABLE ? ', cannot be read' : '';
  return `${photo.id}, ${photo.label || 'no label'}${guess}${photo.twin ? ', a duplicate' : ''}${status}`;
};

const drawPhoto = (element, { photo, group }) => {
  const doubt = photo.doubt ? `${photo.guess}?` : '';
  const share = group.kind === 'guess' ? wholePerCent(guesses.get(photo.id)?.confidence ?? photo.confidence) : '';
  redraw(element, [photo, share], () => [
    photo.status === UNREADABLE ? make('span', { class: 'failed', text: photo.id })
      : make('img', { alt: '', decoding: 'async', draggable: false, onerror: (event) => event.target.remove() }),
    doubt && make('span', { class: 'doubt', text: doubt }),
    share && make('span', { class: 'share', text: share }),
    photo.twin && make('span', { class: 'twin', text: 'duplicate' }),
  ].filter(Boolean));
  element.setAttribute('aria-label', nameOf(photo));
  element.setAttribute('aria-pressed', selection.has(photo.id));
  element.tabIndex = photo.id === current ? 0 : -1;
  element.classList.toggle('waiting', photo.status === READING);
};

const DRAW = { head: drawHead, tick: drawTick, photo: drawPhoto };

const create = (item) => {
  const element = make(item.kind === 'photo' ? 'button' : 'div', { class: `cell is-${item.kind}` });
  if (item.kind === 'photo') Object.assign(element, { type: 'button' }).dataset.id = item.key;
  canvas.append(element);
  return element;
};

const place = (element, item) => {
  const where = `translate(${item.x ?? 0}px, ${item.y}px)`;
  if (element.style.transform !== where) element.style.transform = where;
  const height = `${item.height}px`;
  if (element.style.height !== height) element.style.height = height;
  if (item.kind === 'photo' && element.style.width !== height) element.style.width = height;
};

// Pictures are asked for where the scrolling stops, not for all that flies past.
const loadPictures = () => {
  drawn.forEach((element, key) => {
    const image = element.querySelector('img');
    if (image && !image.src) image.src = address('thumbnail', key);
  });
};

// Assistive technology reads in the order of the document.
const sortDocument = () => {
  const inOrder = [...drawn.entries()].sort((a, b) => a[1].at - b[1].at).map(([, element]) => element);
  const focused = document.activeElement;
  inOrder.forEach((element, at) => {
    if (canvas.children[at] !== element) canvas.insertBefore(element, canvas.children[at] ?? null);
  });
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
};

let settling = 0;
let lastTop = 0;
let isPressed = false; // on the grid, by a mouse, a pen or a finger
const settle = () => {
  if (isPressed) { // what moves in the document under a press is never clicked
    settling = setTimeout(settle, SETTLED_MS);
    return;
  }
  loadPictures();
  sortDocument();
};

export const draw = () => {
  const top = scroller.scrollTop - canvas.offsetTop;
  const foot = top + scroller.clientHeight + BEYOND_PX;
  const wanted = new Set();
  for (let at = firstBelow(layout.items, top - BEYOND_PX); at < layout.items.length; at += 1) {
    const item = layout.items[at];
    if (item.y > foot) break;
    wanted.add(item.key);
    const element = drawn.get(item.key) ?? create(item);
    drawn.set(item.key, element);
    element.at = at;
    place(element, item);
    DRAW[item.kind](element, item);
  }
  const focused = document.activeElement;
  drawn.forEach((element, key) => {
    if (wanted.has(key) || (element === focused && layout.places.has(key))) return;
    element.remove();
    drawn.delete(key);
  });
  if (Math.abs(scroller.scrollTop - lastTop) < scroller.clientHeight) loadPictures();
  lastTop = scroller.scrollTop;
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLED_MS);
};

const visible = () => {
  const wanted = filter.toLowerCase();
  const all = [...project.photos.values()];
  if (!wanted) return all;
  return all.filter(({ id, label, guess }) => [id, label, label ? '' : guess].some((text) => text.toLowerCase().includes(wanted)));
};

// Keeps the photo at the top of the window where it is, unless the grid is at its beginning.
export const arrange = () => {
  const from = scroller.scrollTop - canvas.offsetTop;
  const anchor = scroller.scrollTop > 0
    && layout.items.slice(firstBelow(layout.items, Math.max(0, from))).find((item) => item.kind === 'photo' && project.photos.has(item.key));
  const photos = visible();
  layout = layOut(sections(photos, guesses), sizes());
  canvas.style.height = `${layout.height}px`;
  if (!layout.places.has(current)) current = layout.order[0] ?? '';
  const now = anchor && layout.places.get(anchor.key);
  if (now && now.group.key === anchor.group.key) scroller.scrollTop += now.y - anchor.y;
  $('invite').hidden = project.photos.size > 0 || !project.server;
  main.classList.toggle('is-empty', !project.photos.size);
  $('nothing').hidden = !(filter && !photos.length);
  draw();
};

const currentGuesses = () => new Map([...project.photos.values()]
  .filter((photo) => !photo.label && photo.guess)
  .map(({ id, guess, confidence }) => [id, { guess, confidence }]));

const isStale = () => [...project.photos.values()].some((photo) => !photo.label
  && (guesses.get(photo.id)?.guess ?? '') !== photo.guess);

const sortAnew = () => {
  guesses = currentGuesses();
  $('sort').hidden = true;
  scroller.classList.add('fresh'); // a click on what has just moved was meant for something else
  setTimeout(() => scroller.classList.remove('fresh'), 500);
  arrange();
};

const sortWhenCalm = () => {
  if (!isStale()) {
    $('sort').hidden = true;
    return;
  }
  const isFirst = !guesses.size && !selection.size;
  const isCalm = !selection.size && performance.now() - lastTouch > CALM_MS;
  if (isFirst || isCalm) sortAnew();
  else $('sort').hidden = false;
};

export const setFilter = (text) => {
  filter = text.trim();
  scroller.scrollTop = 0;
  arrange();
};

export const showSelection = (ids) => {
  selection = ids;
  draw();
};

export const scrollTo = (item) => {
  const top = canvas.offsetTop + item.y;
  const foot = top + item.height;
  const room = parseFloat(getComputedStyle(scroller).paddingBottom); // of the bar at the foot
  if (top < scroller.scrollTop) scroller.scrollTop = top - 8;
  else if (foot > scroller.scrollTop + scroller.clientHeight - room) scroller.scrollTop = foot - scroller.clientHeight + room;
};

export const goTo = (id, { focus = true, scroll = true } = {}) => {
  const item = layout.places.get(id);
  if (!item) return;
  current = id;
  if (scroll) scrollTo(item);
  draw();
  if (focus) drawn.get(id)?.focus({ preventScroll: true });
};

export const goToLabel = (label) => {
  const head = layout.items.find((item) => item.kind === 'head' && item.group.kind === 'label' && item.group.label === label);
  if (head) scroller.scrollTop = canvas.offsetTop + head.y;
};

const tally = () => {
  const { reading, missing } = project.server.project;
  $('tally').textContent = reading ? `Reading ${counted(reading, 'photo')} …`
    : `${counted(project.photos.size, 'photo')}${missing ? `; ${missing.toLocaleString('en')} more in labels.csv, whose files are gone` : ''}`;
};

export const startGrid = (others) => {
  acts = others;
  let due = 0;
  const soon = (act) => { due ||= requestAnimationFrame(() => { due = 0; act(); }); };
  scroller.addEventListener('scroll', () => soon(draw), { passive: true });
  new ResizeObserver(arrange).observe(scroller);
  ['pointermove', 'pointerdown', 'keydown', 'wheel'].forEach((kind) => {
    scroller.addEventListener(kind, () => { lastTouch = performance.now(); }, { passive: true });
  });
  scroller.addEventListener('pointerdown', () => { isPressed = true; });
  ['pointerup', 'pointercancel', 'dragend'].forEach((kind) => {
    addEventListener(kind, () => { isPressed = false; });
  });
  on('photos', () => {
    arrange();
    sortWhenCalm();
  });
  setInterval(sortWhenCalm, CALM_MS);
  $('sort').addEventListener('click', sortAnew);
  on('state', tally);
  on('photos', tally);
};
