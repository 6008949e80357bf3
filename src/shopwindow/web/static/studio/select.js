// Which photos are selected: by click, shift and drag, and by the keyboard.

import { $ } from './dom.js';
import { currentId, goTo, order, placeOf, scrollTo, showSelection } from './grid.js';
import { on, project } from './state.js';

export const DOUBLE_MS = 500;

const selected = new Set();
let from = ''; // where a range begins
let changed = () => {};

export const selection = () => [...selected];
// What a key applies to: the selection, or else the photo with the focus.
export const meant = () => (selected.size ? selection() : [document.activeElement?.dataset.id].filter(Boolean));

const show = () => {
  showSelection(selected);
  changed();
};

export const select = (ids, isOn = true) => {
  ids.forEach((id) => (isOn ? selected.add(id) : selected.delete(id)));
  show();
};

export const clear = () => {
  if (!selected.size) return;
  selected.clear();
  show();
};

const between = (a, b) => {
  const ids = order();
  const [first, last] = [ids.indexOf(a), ids.indexOf(b)].sort((one, two) => one - two);
  return first < 0 ? [b] : ids.slice(first, last + 1);
};

const idAt = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest('[data-id]')?.dataset.id;

// With a mouse or a pen, dragging over photos selects from the first to the last; a finger scrolls.
const watchDrag = (scroller) => {
  let begun = null; // {id, isOn, before}
  let dragged = false;
  scroller.addEventListener('pointerdown', (event) => {
    const id = event.target.closest('[data-id]')?.dataset.id;
    dragged = false;
    if (!id || event.button || event.pointerType === 'touch' || event.shiftKey) return;
    begun = { id, isOn: !selected.has(id), before: new Set(selected) };
  });
  scroller.addEventListener('pointermove', (event) => {
    if (!begun) return;
    if (!event.buttons) {
      begun = null;
      return;
    }
    const id = idAt(event);
    if (!id || (id === begun.id && !dragged)) return;
    dragged = true;
    selected.clear();
    begun.before.forEach((one) => selected.add(one));
    select(between(begun.id, id), begun.isOn);
  });
  addEventListener('pointerup', () => { begun = null; });
  return () => dragged;
};

const near = (key) => {
  const ids = order();
  const at = ids.indexOf(currentId());
  if (key === 'ArrowLeft') return ids[at - 1];
  if (key === 'ArrowRight') return ids[at + 1];
  if (key === 'Home') return ids[0];
  if (key === 'End') return ids.at(-1);
  const here = placeOf(ids[at]);
  const step = key === 'ArrowUp' ? -1 : 1;
  let best;
  for (let next = at + step; next >= 0 && next < ids.length; next += step) { // the nearest in the next row
    const item = placeOf(ids[next]);
    if (item.y === here.y) continue;
    if (best && item.y !== placeOf(best).y) break;
    if (!best || Math.abs(item.x - here.x) < Math.abs(placeOf(best).x - here.x)) best = ids[next];
  }
  return best;
};

export const startSelecting = ({ onchange, look }) => {
  changed = onchange;
  const scroller = $('photos');
  const hasDragged = watchDrag(scroller);
  let last = { id: '', at: 0 };
  let scrolling = 0;
  // A photo under the bar at the foot is scrolled into sight, but not before a second click is over:
  // that would meet another photo.
  const showSoon = (id) => {
    clearTimeout(scrolling);
    scrolling = setTimeout(() => {
      if (currentId() === id && placeOf(id) && !document.querySelector('dialog[open]')) scrollTo(placeOf(id));
    }, DOUBLE_MS);
  };
  scroller.addEventListener('click', (event) => {
    const id = event.target.closest('[data-id]')?.dataset.id;
    if (!id || hasDragged()) return;
    goTo(id, { scroll: false });
    showSoon(id);
    if (event.shiftKey && from) select(between(from, id));
    else select([id], !selected.has(id));
    // Browsers count no double click on what was redrawn in between.
    if (id === last.id && (event.detail > 1 || event.timeStamp - last.at < DOUBLE_MS)) look(id);
    last = { id, at: event.timeStamp };
    from = id;
  });
  scroller.addEventListener('keydown', (event) => {
    if (!event.target.dataset.id) return;
    const { key } = event;
    if (key === 'Enter') {
      event.preventDefault();
      look(event.target.dataset.id);
    } else if (key.startsWith('Arrow') || key === 'Home' || key === 'End') {
      event.preventDefault();
      const next = near(key);
      if (!next) return;
      if (event.shiftKey) select([currentId(), next]);
      goTo(next);
      from = next;
    } else if (key.toLowerCase() === 'a' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      select(placeOf(currentId()).group.photos.map((photo) => photo.id));
    }
  });
  on('photos', () => {
    const gone = selection().filter((id) => !project.photos.has(id));
    if (gone.length) select(gone, false);
  });
};
