// How good is it: figures on photos that the model had not seen, mistakes, and what would help.

import { failed, send } from './api.js';
import { $, bar, button, counted, make, measured, perCent, redraw } from './dom.js';
import { setLabel } from './labels.js';
import { address, on, project } from './state.js';

const DOUBTS = 6; // shown at a time

const picture = (id, look) => button('', () => look(id), { class: 'thumb', 'aria-label': `Look at ${id}` });
const withImage = (element, id) => {
  element.append(make('img', { src: address('thumbnail', id), alt: '', loading: 'lazy' }));
  return element;
};

const drawFigure = () => {
  const { model } = project.server;
  const { accuracy, interval, measured_on: on_, commonest } = model;
  const has = accuracy !== null && accuracy !== undefined;
  $('accuracy').textContent = has ? measured(accuracy) : '–';
  $('accuracy-note').textContent = has
    ? `right on photos that it had not seen (${measured(interval[0])} to ${measured(interval[1])}, from ${counted(on_, 'photo')}). Always saying the commonest label would get ${measured(commonest)}.`
    : model.why ?? (model.status === 'fitting' ? 'Learning …' : 'Not measured yet.');
  $('tab-figure').textContent = has ? measured(accuracy) : '';
  $('fitted').textContent = model.status === 'fitting' ? 'Learning …'
    : model.status === 'ready' ? `Learned from ${counted(model.photos, 'photo')}${model.fit_s === null ? '' : model.fit_s < 0.1 ? ' in under 0.1 s' : ` in ${model.fit_s.toFixed(1)} s`}.` : '';
};

const drawDoubts = (look) => {
  const doubts = (project.model.doubts ?? []).filter((one) => project.photos.has(one.id));
  $('doubts-part').hidden = !doubts.length;
  $('doubts-title').textContent = doubts.length === 1 ? '1 label is probably wrong' : `${doubts.length} labels are probably wrong`;
  redraw($('doubts'), doubts.slice(0, DOUBTS), () => doubts.slice(0, DOUBTS).map((doubt) => make('li', { class: 'case' },
    withImage(picture(doubt.id, look), doubt.id),
    make('div', {},
      make('p', {}, 'Labelled ', make('b', { text: doubt.label }), doubt.why === 'twin' && doubt.twin
        ? `; the same photo is ${doubt.guess} too.` : `; looks like ${doubt.guess}, ${perCent(doubt.confidence)}.`),
      make('p', { class: 'acts' },
        button(`It is ${doubt.guess}`, () => setLabel([doubt.id], doubt.guess), { class: 'mend', 'data-keep': `mend ${doubt.id}` }),
        button(`${doubt.label} is right`, () => send('/doubts/dismiss', { ids: [doubt.id] }).catch(failed), { 'data-keep': `right ${doubt.id}` }))))));
};

const drawLabels = () => {
  const labels = project.model.labels ?? [];
  const rows = labels.filter((one) => one.recall !== null && one.recall !== undefined).map(({ label, recall, photos }) => ({ label, recall, photos }))
    .sort((a, b) => a.recall - b.recall);
  $('per-label-part').hidden = !rows.length;
  redraw($('per-label'), rows, () => rows.map(({ label, recall }) => make('li', {},
    make('span', { class: 'of', text: label }), make('span', { class: 'share', text: measured(recall) }), bar(recall))));
};

const drawConfusions = (look) => {
  const some = (project.model.confusions ?? []).slice(0, 6);
  $('confusions-part').hidden = !some.length;
  redraw($('confusions'), some, () => some.map(({ label, taken_for: other, photos, share, pairs }) => make('li', {},
    make('p', {}, make('b', { text: label }), ` taken for ${other}: ${counted(photos, 'photo')}, ${measured(share)} of them.`),
    make('div', { class: 'pairs' }, ...pairs.slice(0, 4).map(({ id, like }) => make('div', { class: 'pair' },
      withImage(picture(id, look), id), make('span', { text: 'like' }), like ? withImage(picture(like, look), like) : ''))))));
};

const drawNext = () => {
  const next = project.model.next ?? [];
  $('next-part').hidden = !next.length;
  redraw($('next'), next.map((one) => one.sentence), () => next.map((one) => make('li', { text: one.sentence })));
};

export const startQuality = ({ look }) => {
  on('state', drawFigure);
  on('model', () => {
    drawDoubts(look);
    drawLabels();
    drawConfusions(look);
    drawNext();
  });
};
