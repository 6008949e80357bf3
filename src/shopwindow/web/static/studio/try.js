// Try it: a photo, or the live camera, answered as the public page answers.

import { send } from './api.js';
import { $, bar, make, perCent, redraw } from './dom.js';
import { on, project } from './state.js';
import { openCamera, takeFrame } from './webcam.js';

const LONG_SIDE_PX = 512; // of a frame of the camera
const REST_MS = 120; // between frames, so that others are served too
const WAIT_MS = 1000; // after a busy server

let close = null; // the camera
let asking = new AbortController();

const answer = async (file, signal) => {
  const form = new FormData();
  form.append('image', file);
  const { predictions: [found] } = await send('/try', form, { signal });
  return found;
};

const show = ({ words, top, heatmap }) => {
  const part = $('tried');
  part.className = `tried ${words.kind}`;
  $('try-label').textContent = words.heading;
  $('try-share').textContent = words.share;
  $('try-verdict').textContent = words.verdict;
  $('try-note').textContent = words.note;
  redraw($('try-bars'), top, () => top.map((score) => make('li', {},
    make('span', { class: 'of', text: score.label }), make('span', { class: 'share', text: perCent(score.confidence, 1) }), bar(score.confidence))));
  $('try-why').hidden = !heatmap || Boolean(close);
  $('try-heat').hidden = !heatmap;
  if (heatmap) $('try-heat').src = heatmap;
  $('try-error').textContent = '';
  part.hidden = false;
};

const fail = (error) => {
  if (error.name === 'AbortError') return;
  $('tried').hidden = true;
  $('try-error').textContent = error.message;
};

const picture = (source) => {
  const image = $('try-photo');
  if (image.src.startsWith('blob:')) URL.revokeObjectURL(image.src);
  image.hidden = !source;
  $('try-invite').hidden = Boolean(source) || Boolean(close);
  if (source) image.src = URL.createObjectURL(source);
};

export const tryPhoto = async (files) => {
  if (!files.length) return;
  stop();
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  $('try-why').querySelector('input').checked = false;
  picture(files[0]);
  try {
    const found = await answer(files[0], signal);
    show(found);
    const { kind, heading, verdict, share } = found.words;
    $('try-status').textContent = `${kind === 'unsure' ? 'Best guess: ' : ''}${heading}. ${verdict} ${share}`;
  } catch (error) {
    fail(error);
  }
};

const stop = () => {
  close?.();
  close = null;
  $('try-video').hidden = true;
  $('try-live').textContent = 'Use the camera';
  $('try-live').setAttribute('aria-pressed', 'false');
  $('try-rate').textContent = '';
};

const live = async () => {
  const video = $('try-video');
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  picture(null);
  $('try-invite').hidden = true;
  video.hidden = false;
  try {
    close = await openCamera(video);
  } catch (error) {
    stop();
    $('try-invite').hidden = false;
    fail(error);
    return;
  }
  $('try-live').textContent = 'Stop the camera';
  $('try-live').setAttribute('aria-pressed', 'true');
  while (close && !signal.aborted) {
    const begun = performance.now();
    let rest = REST_MS;
    try {
      const found = await answer(await takeFrame(video, 'frame.jpg', LONG_SIDE_PX), signal);
      if (!close) break;
      show(found);
      $('try-rate').textContent = `${(1000 / (performance.now() - begun + REST_MS)).toFixed(1)} a second`;
    } catch (error) {
      if (error.status !== 503) fail(error);
      rest = WAIT_MS;
    }
    await new Promise((resolve) => { setTimeout(resolve, rest); });
  }
};

export const startTrying = () => {
  const input = $('try-file');
  input.addEventListener('click', () => { input.value = ''; });
  input.addEventListener('change', () => tryPhoto([...input.files]));
  $('try-live').addEventListener('click', () => {
    if (!close) {
      live();
      return;
    }
    asking.abort();
    stop();
    $('try-invite').hidden = false;
  });
  on('state', () => {
    const { model } = project.server;
    const isReady = model.photos > 0;
    input.disabled = !isReady;
    $('try-live').disabled = !isReady;
    $('try-hint').textContent = isReady ? 'Drop a photo here that it has not seen, or paste one.' : 'As soon as there is a model, try it here.';
  });
};
