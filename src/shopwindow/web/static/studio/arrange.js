// In which order photos are shown, and where: pure functions from photos to places.

import { READING, UNREADABLE } from './state.js';

const byGroup = (photos) => {
  const place = new Map(photos.map((photo, at) => [photo.id, at]));
  const key = (photo) => place.get(photo.twin) ?? place.get(photo.id);
  return photos.map((photo, at) => [key(photo), at, photo]).sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .map(([, , photo]) => photo);
};

const surest = (photos, guesses) => photos
  .toSorted((a, b) => guesses.get(b.id).confidence - guesses.get(a.id).confidence);

/**
 * Sections in the order of the page: what has no label yet, under the model's guesses; then each label.
 *
 * @param {object[]} photos In the order of arrival.
 * @param {Map} guesses Of photos without a label: id to {guess, confidence}; kept still while somebody works.
 * @returns {{key, kind, label, photos}[]} kind: unread, new, guess, label or bad.
 */
export const sections = (photos, guesses) => {
  const groups = new Map();
  const put = (kind, label, photo) => {
    const key = `${kind} ${label}`;
    if (!groups.has(key)) groups.set(key, { key, kind, label, photos: [] });
    groups.get(key).photos.push(photo);
  };
  photos.forEach((photo) => {
    const guess = guesses.get(photo.id)?.guess ?? '';
    if (photo.status === UNREADABLE) put('bad', '', photo);
    else if (photo.label) put('label', photo.label, photo);
    else if (guess) put('guess', guess, photo);
    else if (photo.status === READING) put('unread', '', photo);
    else put('new', '', photo);
  });
  const order = ['new', 'guess', 'unread', 'label', 'bad'];
  const sorted = [...groups.values()].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)
    || a.label.localeCompare(b.label, undefined, { numeric: true }));
  sorted.forEach((group) => {
    group.photos = group.kind === 'guess' ? surest(group.photos, guesses) : byGroup(group.photos);
  });
  return sorted;
};

/**
 * Lay sections out in rows.
 *
 * @param {object} size {width, tile, gap, head, tick}, in px; tick is what a row of guesses leaves for its button.
 * @returns {{items, height, order, places}} items: {key, kind, y, height, ...}, by y; order: ids; places: id to item.
 */
export const layOut = (groups, { width, tile, gap, head, tick }) => {
  const items = [];
  const order = [];
  const places = new Map();
  let y = 0;
  groups.forEach((group) => {
    items.push({ key: `head ${group.key}`, kind: 'head', y, height: head, group });
    y += head;
    const room = width - (group.kind === 'guess' ? tick : 0);
    const columns = Math.max(1, Math.floor((room + gap) / (tile + gap)));
    const side = Math.floor((room - gap * (columns - 1)) / columns);
    for (let at = 0; at < group.photos.length; at += columns) {
      const row = group.photos.slice(at, at + columns);
      if (group.kind === 'guess') {
        items.push({ key: `tick ${row[0].id}`, kind: 'tick', y, height: side, group, row, x: width - tick + gap });
      }
      row.forEach((photo, column) => {
        const item = { key: photo.id, kind: 'photo', y, height: side, x: column * (side + gap), side, photo, group, column };
        items.push(item);
        places.set(photo.id, item);
        order.push(photo.id);
      });
      y += side + gap;
    }
    y += gap;
  });
  return { items, height: y, order, places };
};

// The first item whose foot is below `y`.
export const firstBelow = (items, y) => {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].y + items[middle].height < y) low = middle + 1;
    else high = middle;
  }
  return low;
};
