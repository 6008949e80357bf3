// In the window: versions of the model, the gate between them and the public page, and the way back.

import { failed, read, send } from './api.js';
import { $, button, counted, main, make, measured, redraw, tell } from './dom.js';
import { on, project } from './state.js';

let versions = [];
let canRollBack = false;

const day = (text) => new Date(text).toLocaleString('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

const put = async (version, anyway = false) => {
  try {
    await send(`/versions/${version}/promote`, { anyway });
    tell(`${version} is in the window.`);
  } catch (error) {
    if (error.status === 409 && error.problem?.objections) tell(error.message, { bad: true, act: 'Put it in all the same', onact: () => put(version, true) });
    else failed(error);
  }
};

const gateInWords = (gate) => {
  if (!gate) return 'The first one: there is nothing to compare it with.';
  if (gate.sentence) return gate.sentence;
  const points = Math.abs(gate.difference * 100).toFixed(1);
  const change = points === '0.0' ? 'the same' : `this is ${points} points ${gate.difference < 0 ? 'lower' : 'higher'}`;
  return `${measured(gate.new)} right on ${counted(gate.images, 'photo')} that neither had seen. ${gate.against ?? 'The model'}, in the window then, had ${measured(gate.in_service)}: ${change}.`;
};

const drawVersion = (one) => make('li', { class: one.in_window ? 'version shown-now' : 'version' },
  make('p', { class: 'line' },
    make('b', { text: one.version }),
    one.in_window ? make('span', { class: 'now', text: 'in the window' }) : '',
    one.accuracy !== null && one.accuracy !== undefined ? make('span', { class: 'share', text: measured(one.accuracy) }) : ''),
  make('p', { class: 'fine', text: `${day(one.created)} · ${counted(one.photos, 'photo')} · ${one.labels.join(', ')}` }),
  make('p', { class: 'fine', text: gateInWords(one.gate) }),
  ...(one.gate?.objections ?? []).map((text) => make('p', { class: 'objection', text })),
  make('label', { class: 'note-of' }, make('span', { class: 'unseen', text: `Note on ${one.version}` }),
    make('input', {
      type: 'text',
      value: one.note,
      placeholder: 'Add a note',
      maxLength: 200,
      'data-keep': `note ${one.version}`,
      onchange: (event) => send(`/versions/${one.version}`, { note: event.target.value }, { method: 'PATCH' }).catch(failed),
    })),
  make('p', { class: 'acts' },
    one.in_window ? '' : button('Put it in', () => put(one.version), { 'data-keep': `put ${one.version}`, 'aria-label': `Put ${one.version} in the window` }),
    make('a', { href: `${main.dataset.studio}/versions/${one.version}/model.onnx`, text: 'Download', 'aria-label': `Download ${one.version} as an ONNX file` })));

const draw = () => {
  $('versions-part').hidden = !versions.length;
  $('roll-back').hidden = !canRollBack;
  redraw($('versions'), versions, () => versions.map(drawVersion));
};

export const readVersions = async () => {
  try {
    ({ versions, can_roll_back: canRollBack } = await read('/versions'));
    draw();
  } catch (error) {
    failed(error);
  }
};

const drawState = () => {
  const { window: shown, job, model } = project.server;
  $('shown-now').textContent = shown
    ? `Visitors see ${shown.version ?? shown.name}${shown.since ? `, since ${day(shown.since)}` : ''}.`
    : 'Visitors still see the bundled model.';
  const isRunning = job?.status === 'running';
  $('put').disabled = isRunning || !model.photos || !(model.labels > 1);
  $('stop-job').hidden = !isRunning;
  $('job').textContent = isRunning ? `${job.version}: ${job.step ?? ''} …` : job?.sentence ?? '';
  $('job').classList.toggle('bad', job?.status === 'failed');
  $('fine-tuning').textContent = project.server.fine_tuning?.sentence ?? '';
};

export const startWindow = () => {
  let before = '';
  on('state', () => {
    drawState();
    const { window: shown, job } = project.server;
    const now = JSON.stringify([shown, job?.version, job?.status]);
    if (now !== before) readVersions();
    before = now;
  });
  $('put').addEventListener('click', async () => {
    $('put').disabled = true;
    try {
      await send('/versions', { promote: true, note: '' });
    } catch (error) {
      failed(error);
      drawState();
    }
  });
  $('stop-job').addEventListener('click', () => send('/job/stop', {}).catch(failed));
  $('roll-back').addEventListener('click', async () => {
    try {
      await send('/rollback', {});
      tell('Rolled back: the one before is in the window again.');
      readVersions();
    } catch (error) {
      failed(error);
    }
  });
};
