// The studio's API: reads, and changes one after the other.

import { main, tell } from './dom.js';

const { call } = await import(main.dataset.call);

const unreached = () => (navigator.onLine
  ? 'The studio could not be reached. Is it still running? What was confirmed is safe on its disk.'
  : 'This device is offline. What was confirmed is safe on the disk of the studio.');

const ask = (path, options = {}) => call(unreached, main.dataset.api + path, options);

export const read = (path, signal) => ask(path, { signal });

// `body` is an object to send as JSON, or a form.
export const send = (path, body, { method = 'POST', signal } = {}) => {
  const isForm = body instanceof FormData;
  return ask(path, {
    method,
    signal,
    headers: { 'X-CSRF-Token': main.dataset.token, ...(isForm ? {} : { 'Content-Type': 'application/json' }) },
    body: isForm ? body : JSON.stringify(body),
  });
};

export const failed = (error) => {
  if (error.name === 'AbortError') return;
  if (error.status === 401) location.reload();
  tell(error.message, { bad: true });
};

// What this page has seen; the server refuses changes to what somebody else changed after it.
let revision = 0;
export const sawRevision = (number) => { revision = Math.max(revision, number ?? 0); };
export const forgetRevision = () => { revision = 0; };

let before = Promise.resolve();

// Changes the project; resolves to the answer, or to null once the reason is told.
export const change = (path, body = {}) => {
  const act = async (more) => {
    try {
      const answer = await send(path, { revision, ...body, ...more });
      sawRevision(answer.revision ?? answer.version);
      return answer;
    } catch (error) {
      if (error.status !== 409) {
        failed(error);
        return null;
      }
      tell(error.message, {
        bad: true,
        act: 'Do it all the same',
        onact: async () => {
          sawRevision((await read('/state').catch(failed))?.revision);
          change(path, { ...body, force: true });
        },
      });
      return null;
    }
  };
  before = before.then(() => act({}));
  return before;
};
