// Hold a button, and the camera records a burst for a label.

import { failed } from './api.js';
import { $, counted } from './dom.js';
import { add, asPhotos } from './intake.js';
import { openCamera, takeFrame } from './webcam.js';

const EVERY_MS = 200;
const MOST = 300; // frames of one burst

let close = null;
let timer = 0;
let frames = [];

const stopRecording = () => {
  if (!timer) return;
  clearInterval(timer);
  timer = 0;
  $('record').classList.remove('on');
  const label = $('burst-label').value.trim();
  const group = `burst-${Date.now().toString(36)}`;
  Promise.all(frames).then((files) => {
    $('burst-count').textContent = `${counted(files.length, 'photo')} recorded.`;
    add(asPhotos(files), { label, group });
  });
  frames = [];
};

const record = () => {
  if (timer) return;
  const label = $('burst-label').value.trim();
  if (!label) {
    $('burst-count').textContent = 'First say what the camera sees.';
    $('burst-label').focus();
    return;
  }
  $('record').classList.add('on');
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-:T]/g, '');
  const take = () => {
    if (frames.length >= MOST) {
      stopRecording();
      return;
    }
    frames.push(takeFrame($('burst-video'), `camera-${stamp}-${String(frames.length + 1).padStart(3, '0')}.jpg`));
    $('burst-count').textContent = counted(frames.length, 'photo');
  };
  timer = setInterval(take, EVERY_MS);
  take();
};

export const startBurst = () => {
  const dialog = $('burst');
  const button = $('record');
  const open = async () => {
    $('burst-count').textContent = '';
    dialog.showModal();
    try {
      close = await openCamera($('burst-video'));
      if (dialog.open) button.disabled = false;
      else close();
    } catch (error) {
      dialog.close();
      failed(error);
    }
  };
  document.querySelectorAll('[data-burst]').forEach((one) => one.addEventListener('click', open));
  dialog.addEventListener('close', () => {
    stopRecording();
    button.disabled = true;
    close?.();
    close = null;
  });
  $('end-burst').addEventListener('click', () => dialog.close());
  button.addEventListener('pointerdown', (event) => {
    button.setPointerCapture(event.pointerId);
    record();
  });
  ['pointerup', 'pointercancel', 'blur'].forEach((kind) => button.addEventListener(kind, stopRecording));
  button.addEventListener('contextmenu', (event) => event.preventDefault()); // of a long press
  button.addEventListener('keydown', (event) => {
    if (event.key !== ' ' && event.key !== 'Enter') return;
    event.preventDefault();
    record();
  });
  button.addEventListener('keyup', stopRecording);
};
