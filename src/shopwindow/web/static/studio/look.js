// One photo, large.

import { $, wholePerCent } from './dom.js';
import { goTo, order } from './grid.js';
import { setLabel, remove } from './labels.js';
import { address, on, project } from './state.js';

let id = '';

const draw = () => {
  const photo = project.photos.get(id);
  if (!photo) {
    $('look').close();
    return;
  }
  const source = address('preview', id);
  if (!$('look-photo').src.endsWith(source)) $('look-photo').src = source;
  $('look-title').textContent = photo.label || 'No label yet';
  $('look-title').className = photo.label ? '' : 'asking';
  const differs = photo.guess && photo.guess !== photo.label;
  $('look-note').textContent = `${photo.id}${photo.guess ? ` · the model says ${photo.guess}, ${wholePerCent(photo.confidence)}` : ''}${photo.twin ? ` · the same as ${photo.twin}` : ''}`;
  $('look-guess').hidden = !differs;
  $('look-guess').textContent = `It is ${photo.guess}`;
};

const step = (by) => {
  const ids = order();
  id = ids[ids.indexOf(id) + by] ?? id;
  draw();
};

export const look = (which) => {
  id = which;
  draw();
  if (!$('look').open) $('look').showModal();
};

export const lookedAt = () => ($('look').open ? [id] : []);

export const startLooking = () => {
  $('look-next').addEventListener('click', () => step(1));
  $('look-last').addEventListener('click', () => step(-1));
  $('look-close').addEventListener('click', () => $('look').close());
  $('look-guess').addEventListener('click', () => setLabel([id], project.photos.get(id).guess));
  $('look-delete').addEventListener('click', () => {
    remove([id]);
    $('look').close();
  });
  $('look-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const label = $('look-field').value.trim();
    if (label) setLabel([id], label);
    $('look-field').value = '';
  });
  $('look').addEventListener('keydown', (event) => {
    if (event.target.matches('input')) return;
    if (event.key === 'ArrowRight') step(1);
    if (event.key === 'ArrowLeft') step(-1);
  });
  $('look').addEventListener('close', () => goTo(id));
  on('photos', () => { if ($('look').open) draw(); });
};
