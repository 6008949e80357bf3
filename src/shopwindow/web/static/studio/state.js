// What the page knows of the project: a copy of the server's, kept up to date by one long poll.

import { failed, forgetRevision, read, sawRevision } from './api.js';
import { tell } from './dom.js';

export const READING = 1;
export const UNREADABLE = 2;
const RETRY_MS = 2000;

/** photos: by id, {id, label, guess, confidence, twin, doubt, status, group}; labels: [{label, photos}]. */
export const project = { photos: new Map(), labels: [], server: null, model: null };

// Sends `photos`, `state` and `model` whenever they have changed.
const news = new EventTarget();
export const on = (name, act) => news.addEventListener(name, act);
const announce = (name) => news.dispatchEvent(new Event(name));

let seen = null; // {session, version} of the photos that are here

const take = (columns) => {
  const { photos } = project;
  const isNew = columns.all || columns.session !== seen?.session;
  if (isNew) photos.clear();
  columns.removed?.forEach((id) => photos.delete(id));
  const name = (index) => (index < 0 ? '' : columns.labels[index]);
  columns.ids.forEach((id, at) => {
    photos.set(id, { // keeps the place of one that is there
      id,
      label: name(columns.label[at]),
      guess: name(columns.guess[at]),
      confidence: columns.confidence[at],
      twin: columns.twin[at],
      doubt: Boolean(columns.doubt[at]),
      status: columns.status[at],
      group: columns.group[at],
    });
  });
  if (columns.session !== seen?.session) forgetRevision();
  sawRevision(columns.revision);
  seen = { session: columns.session, version: columns.version };
  if (isNew || columns.ids.length || columns.removed?.length) announce('photos');
};

const takePhotos = async (session) => {
  const since = seen && seen.session === session ? `?since=${seen.version}` : '';
  take(await read(`/photos${since}`));
};

const takeState = (state) => {
  const before = project.server;
  project.server = state;
  project.labels = state.project.labels;
  const key = ({ session, model, revision }) => `${session} ${model.version} ${model.status} ${model.accuracy} ${revision}`;
  announce('state');
  return !before || key(before) !== key(state);
};

export const readModel = async () => {
  project.model = await read('/model');
  announce('model');
};

// Applies a change at once; the server's own news follow.
export const expect = (ids, label) => {
  ids.forEach((id) => {
    const photo = project.photos.get(id);
    if (photo) project.photos.set(id, { ...photo, label, doubt: false });
  });
  announce('photos');
};

// After a change that the server refused.
export const readAgain = async () => {
  seen = null;
  await takePhotos('').catch(failed);
};

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export const follow = async () => {
  let lost = false;
  for (;;) {
    try {
      const since = project.server ? `?since=${project.server.version}&wait=20` : '';
      const state = await read(`/state${since}`);
      if (lost) tell('The studio is back.');
      lost = false;
      const isNew = state.version !== project.server?.version || state.session !== project.server?.session;
      const modelIsNew = takeState(state);
      if (isNew) await takePhotos(state.session);
      if (modelIsNew) await readModel();
    } catch (error) {
      lost = true;
      failed(error);
      await pause(RETRY_MS);
    }
  }
};

export const address = (kind, id) => project.server?.[kind].replace('{id}', encodeURIComponent(id)) ?? '';
