// Photos come in: dropped, pasted, chosen, by the phone's camera; folders, zips and tables too.

import { failed, sawRevision, send } from './api.js';
import { $, counted, main, make, tell } from './dom.js';

const AT_ONCE = 2; // requests under way
const FILES = 16; // in a request, so that the first photos are seen soon
const BYTES = 20_000_000;
const MOST = 50_000;
const TABLE = /\.csv$/i;

const words = { ...main.dataset, maxBytes: main.dataset.maxUploadBytes, max: `${Math.round(main.dataset.maxUploadBytes / 1e6)} MB` };
const refused = []; // {name, why}
let left = 0;
let added = 0;
let duplicates = 0;

const show = () => {
  $('coming').hidden = !left;
  $('coming').textContent = left ? `${counted(left, 'photo')} on the way …` : '';
  $('refused').hidden = !refused.length;
  $('refused-title').textContent = `${counted(refused.length, 'file')} left out`;
  $('refused-list').replaceChildren(...refused.slice(-200).map(({ name, why }) => make('li', {}, make('b', { text: name }), ` ${why}`)));
};

const refuse = (name, why) => { refused.push({ name, why }); };

const upload = async (photos, { label = '', group = '' }) => {
  const form = new FormData();
  const inFolders = photos.some(({ name }) => name.includes('/'));
  if (label) form.append('label', label);
  if (group) form.append('group', group);
  if (inFolders && !label) form.append('folders', 'true');
  for (const { name, open } of photos) {
    try {
      form.append('file', await open(), name);
    } catch (error) {
      refuse(name, error instanceof DOMException ? 'It was changed, moved or deleted after it was chosen.' : error.message);
    }
  }
  if (!form.has('file')) return;
  for (;;) {
    try {
      const answer = await send('/photos', form);
      sawRevision(answer.revision);
      added += answer.added.length;
      duplicates += answer.duplicates.length;
      answer.duplicates.forEach(({ name, of }) => refuse(name, `It is in the project already, as ${of}.`));
      answer.refused.forEach(({ name, why }) => refuse(name, why));
      return;
    } catch (error) {
      if (error.status !== 503) throw error;
      await new Promise((resolve) => { setTimeout(resolve, error.retryAfterS * 1000); });
    }
  }
};

const parcels = (photos) => {
  const all = [];
  let some = [];
  let bytes = 0;
  photos.forEach((photo) => {
    if (photo.size > Number(words.maxBytes)) {
      refuse(photo.name, `It is larger than ${words.max}.`);
      return;
    }
    if (some.length >= Math.min(FILES, Number(words.maxFiles)) || (some.length && bytes + photo.size > Math.min(BYTES, Number(words.maxBytes) * 0.9))) {
      all.push(some);
      some = [];
      bytes = 0;
    }
    some.push(photo);
    bytes += photo.size;
  });
  if (some.length) all.push(some);
  return all;
};

const finish = () => {
  const parts = [
    added && `${counted(added, 'photo')} added.`,
    duplicates && `${counted(duplicates, 'photo')} ${duplicates === 1 ? 'was' : 'were'} here already.`,
    refused.length > duplicates && 'Some files were left out: open their list to see why.',
  ].filter(Boolean);
  if (parts.length) tell(parts.join(' '));
  added = 0;
  duplicates = 0;
};

/** Adds `{name, size, open}` to the project; `label` and `group` as in the API. */
export const add = async (photos, about = {}) => {
  left += photos.length;
  show();
  const queue = parcels(photos).values(); // shared: each worker takes the next one
  const work = async () => {
    for (const some of queue) {
      try {
        await upload(some, about);
      } catch (error) {
        some.forEach(({ name }) => refuse(name, 'It did not arrive.'));
        failed(error);
      }
      left -= some.length;
      show();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (left < 0 || photos.length) show();
  if (!left) finish();
};

const takeTable = async (file) => {
  const form = new FormData();
  form.append('file', file);
  const answer = await send('/table', form);
  sawRevision(answer.revision);
  answer.refused.forEach(({ name, why }) => refuse(name, why));
  answer.unknown.forEach((name) => refuse(name, 'The table names it, but there is no such photo.'));
  show();
  tell(`${counted(answer.changed, 'photo')} labelled by the table.`);
};

export const asPhotos = (files) => [...files].map((file) => ({ name: file.name, size: file.size, open: async () => file }));

// Files of an input or the clipboard, or entries of a drop: everything that may hold photos.
export const takeIn = async (files, entries = []) => {
  try {
    const tables = [...files].filter((file) => TABLE.test(file.name) && !file.webkitRelativePath);
    const others = [...files].filter((file) => !tables.includes(file));
    for (const table of tables) await takeTable(table);
    const nested = entries.some((entry) => entry.isDirectory);
    if (!others.length && !nested) return;
    $('coming').hidden = false;
    $('coming').textContent = 'Looking for photos …';
    const { gather } = await import(words.gather);
    const { photos, skipped } = await gather(others, nested ? entries : [], words, MOST);
    if (skipped) refuse('Not pictures:', skipped);
    await add(photos);
  } catch (error) {
    show();
    failed(error instanceof DOMException ? new Error('A file was changed, moved or deleted after it was chosen. Please choose it again.') : error);
  }
};

const isField = ({ target }) => Boolean(document.querySelector('dialog[open]')
  ?? target.closest?.('input:not([type=file], [type=checkbox]), textarea'));

// `other(files)` gets what is dropped on, or pasted into, its own place.
export const startIntake = ({ place, other }) => {
  document.querySelectorAll('input[data-takes]').forEach((input) => {
    input.addEventListener('click', () => { input.value = ''; }); // the same file counts again
    input.addEventListener('change', () => {
      takeIn(input.files);
    });
  });
  $('dismiss-refused').addEventListener('click', () => {
    refused.length = 0;
    show();
  });
  const isOthers = ({ target }) => place.contains(target);
  const light = (event) => {
    main.classList.toggle('dragging', Boolean(event) && !isOthers(event));
    place.classList.toggle('dragging', Boolean(event) && isOthers(event));
  };
  document.addEventListener('dragover', (event) => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault(); // or the browser would leave the page for the file
    light(event);
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) light(null); });
  document.addEventListener('drop', (event) => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault();
    light(null);
    const { files, items } = event.dataTransfer;
    if (isOthers(event)) other([...files]);
    else takeIn(files, [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean));
  });
  document.addEventListener('paste', (event) => {
    const { files } = event.clipboardData;
    if (!files.length || isField(event)) return;
    if (place.contains(document.activeElement)) other([...files]);
    else takeIn(files);
  });
};
