// Labels: their list, and giving, changing and taking them.

import { change } from './api.js';
import { $, button, counted, main, make, redraw, tell } from './dom.js';
import { currentId, goTo, goToLabel, order } from './grid.js';
import { clear, DOUBLE_MS, meant, select, selection } from './select.js';
import { expect, on, project, readAgain } from './state.js';

const KEYS = '123456789';
export const labelOfKey = (key) => (KEYS.includes(key) ? project.labels[KEYS.indexOf(key)]?.label : undefined);

// Gives photos a label; null takes it away. Resolves to whether it did.
export const setLabel = async (ids, label) => {
  if (!ids.length) return true;
  const goesOn = document.activeElement?.dataset.id || $('name-form').contains(document.activeElement);
  const all = order();
  const next = all.slice(all.indexOf(ids.at(-1)) + 1).find((id) => !ids.includes(id));
  clear();
  expect(ids, label ?? '');
  if (goesOn && next) goTo(next); // on to the next photo
  const answer = await change('/labels', { ids, label });
  if (!answer) {
    await readAgain();
    if (!selection().length) select(ids.filter((id) => project.photos.has(id)));
    return false;
  }
  tell(label === null ? `${counted(ids.length, 'photo')} without a label now.` : `${counted(ids.length, 'photo')} labelled ${label}.`, { act: 'Undo', onact: () => undo(), stays: false });
  return true;
};

export const acceptGuesses = async (ids) => {
  const guesses = Map.groupBy(ids.filter((id) => project.photos.get(id)?.guess), (id) => project.photos.get(id).guess);
  for (const [guess, some] of guesses) await setLabel(some, guess);
};

export const undo = async (path = '/undo') => {
  const answer = await change(path);
  if (answer) tell(`${path === '/undo' ? 'Undone' : 'Done again'}: ${answer.did}.`);
};

export const remove = async (ids) => {
  if (!ids.length) return;
  const answer = await change('/photos/delete', { ids });
  if (answer) tell(`${counted(ids.length, 'photo')} deleted.`, { act: 'Undo', onact: () => undo() });
};

const press = (label) => {
  const ids = meant();
  if (ids.length) setLabel(ids, label);
  else goToLabel(label);
};

// The dialog to rename, merge or delete a label.
const edit = (label) => {
  const dialog = $('edit');
  const field = $('new-name');
  $('edit-title').textContent = label;
  field.value = label;
  const say = () => {
    const other = project.labels.find((one) => one.label === field.value.trim() && one.label !== label);
    $('edit-note').textContent = other ? `There is “${other.label}” already: the two become one.` : '';
  };
  field.oninput = say;
  say();
  $('edit-form').onsubmit = async () => {
    const to = field.value.trim();
    if (!to || to === label) return;
    const answer = await change('/labels/rename', { from: label, to });
    if (answer) tell(answer.others ? `Renamed, also ${counted(answer.others, 'photo')} that somebody else changed meanwhile.` : `“${label}” is “${to}” now.`, { act: 'Undo', onact: () => undo() });
  };
  $('delete-label').onclick = async () => {
    dialog.close();
    const answer = await change('/labels/delete', { label });
    if (answer) tell(`“${label}” is deleted; its photos stay, without a label.`, { act: 'Undo', onact: () => undo() });
  };
  dialog.showModal();
  field.select();
};

const drawLabels = () => {
  const rows = project.labels.map(({ label, photos }, at) => ({ label, photos, key: KEYS[at] ?? '' }));
  redraw($('label-list'), rows, () => rows.map(({ label }) => make('li', {},
    button('', () => press(label), { class: 'name-it', 'data-keep': label }),
    button('⋯', () => edit(label), { class: 'edit', 'aria-label': `Rename or delete ${label}`, title: 'Rename, merge, delete' }))));
  [...$('label-list').children].forEach((row, at) => {
    const { label, photos, key } = rows[at];
    redraw(row.firstChild, [label, photos, key], () => [
      key && make('kbd', { text: key }), make('span', { class: 'of', text: label, title: label }), make('span', { class: 'count', text: photos.toLocaleString('en') }),
    ].filter(Boolean));
  });
  $('no-labels').hidden = rows.length > 0;
  $('labels-hint').hidden = !rows.length;
  redraw($('label-names'), rows.map((row) => row.label), () => rows.map((row) => make('option', { value: row.label })));
  drawChips();
};

const drawChips = () => {
  const some = project.labels.slice(0, 9).map((one) => one.label);
  redraw($('chips'), some, () => some.map((label, at) => button('', () => setLabel(selection(), label), { 'data-keep': label })));
  [...$('chips').children].forEach((chip, at) => redraw(chip, some[at], () => [make('span', { class: 'of', text: some[at] }), make('kbd', { text: KEYS[at] })]));
};

export const drawSelection = () => {
  const count = selection().length;
  const form = $('name-form');
  if (form.hidden && count) { // the second click of two was meant for the photo that it covers now
    form.classList.add('fresh');
    setTimeout(() => form.classList.remove('fresh'), DOUBLE_MS);
  }
  form.hidden = !count;
  $('how-many').textContent = `${count.toLocaleString('en')} selected`;
  $('labels-hint').textContent = count ? `Press a label to give it to ${count === 1 ? 'the photo' : `the ${count} photos`}.` : 'Press a label to see its photos.';
  $('accept').hidden = !selection().some((id) => project.photos.get(id)?.guess && !project.photos.get(id).label);
};

export const startLabels = () => {
  on('state', () => {
    drawLabels();
    $('undo').disabled = !project.server.undo;
    $('redo').disabled = !project.server.redo;
    $('undo').title = project.server.undo ? `Undo: ${project.server.undo}` : 'Nothing to undo';
    $('redo').title = project.server.redo ? `Redo: ${project.server.redo}` : 'Nothing to redo';
  });
  $('undo').addEventListener('click', () => undo());
  $('redo').addEventListener('click', () => undo('/redo'));
  $('name-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const field = $('name-field');
    const label = field.value.trim();
    if (!label) return;
    const done = setLabel(selection(), label);
    field.value = '';
    goTo(currentId());
    if (!await done) field.value ||= label; // to be mended
  });
  $('accept').addEventListener('click', () => acceptGuesses(selection()));
  $('unname').addEventListener('click', () => setLabel(selection(), null));
  $('delete').addEventListener('click', () => remove(selection()));
  $('clear').addEventListener('click', clear);
  new ResizeObserver(() => { // what is told comes above the bar
    const height = $('name-form').offsetHeight;
    main.style.setProperty('--bar', `${height && height + 12}px`);
  }).observe($('name-form'));
  $('edit').querySelector('.cancel').addEventListener('click', () => $('edit').close());
  drawSelection();
};
