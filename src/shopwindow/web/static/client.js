// A client for the JSON API of a shopwindow server, without dependencies. In a page or in Node.js:
//   import { Client } from 'https://photos.example/client.js';
//   const client = new Client('https://photos.example');
//   const { label, confidence } = await client.predict(file);
// A page of another site needs the server's permission: the setting cors_origins. docs/api.md has the rest.

const MAX_FILES = 10;
const TRIES = 6;
const MAX_WAIT_S = 60;
const OF_AN_IMAGE = 'urn:shopwindow:problem:';

// What the server, or a proxy on the way, refuses: `message` is a sentence for people.
export class ApiError extends Error {
  constructor({ status, title, detail, type }) {
    super(detail);
    Object.assign(this, { name: 'ApiError', status, title, type });
  }
}

export class Client {
  // url: the server's address; apiKey: its api_key, if it has one.
  constructor(url, { apiKey = '' } = {}) {
    this.url = url.endsWith('/') ? url : `${url}/`;
    this.headers = apiKey ? { Authorization: `Bearer ${apiKey}` } : {};
  }

  // Resolves to the entry of an image (a Blob or File), or to a list of entries for a list of images. In a list, an
  // image that cannot be used has the entry { error }; a single one rejects with ApiError.
  async predict(images, { top, explain = false, embedding = false } = {}) {
    const several = images instanceof Blob ? [images] : [...images];
    const address = new URL('api/v1/predict', this.url);
    if (top !== undefined) address.searchParams.set('top', top);
    for (const [name, wanted] of Object.entries({ explain, embedding })) {
      if (wanted) address.searchParams.set(name, 'true');
    }
    const entries = [];
    for (let start = 0; start < several.length; start += MAX_FILES) {
      const body = new FormData();
      for (const image of several.slice(start, start + MAX_FILES)) body.append('image', image, image.name ?? 'image');
      try {
        entries.push(...(await this.#call(address, { method: 'POST', body })).predictions);
      } catch (error) {
        if (images instanceof Blob || !error.type?.startsWith(OF_AN_IMAGE)) throw error;
        const { status, title, type, message } = error;
        entries.push({ error: { status, title, type, detail: message } });
      }
    }
    return images instanceof Blob ? entries[0] : entries;
  }

  // Says what an image shows; '' is none of the labels. With `image`, the server may keep it.
  feedback(receipt, label, { image } = {}) {
    const body = new FormData();
    body.append('receipt', receipt);
    body.append('label', label);
    if (image) body.append('image', image, image.name ?? 'image');
    return this.#call(new URL('api/v1/feedback', this.url), { method: 'POST', body });
  }

  // Withdraws what `feedback` resolved to.
  async withdraw({ id, undo }) {
    await this.#call(new URL(`api/v1/feedback/${id}`, this.url), { method: 'DELETE', headers: { 'X-Undo-Token': undo } });
  }

  // Resolves to the description of the model.
  model() {
    return this.#call(new URL('api/v1/model', this.url), {});
  }

  // A server that is busy is asked again when it says so.
  async #call(address, options) {
    for (let tries = 1; ; tries += 1) {
      const reply = await fetch(address, { ...options, headers: { ...this.headers, ...options.headers } });
      if ((reply.status === 503 || reply.status === 429) && tries < TRIES) {
        const wait = Math.max(0.5 * 2 ** (tries - 1), Number(reply.headers.get('Retry-After')) || 0);
        await new Promise((resolve) => { setTimeout(resolve, 1000 * Math.min(wait, MAX_WAIT_S)); });
        continue;
      }
      if (reply.status === 204) return null;
      if (reply.ok) return reply.json();
      const problem = await reply.json().catch(() => null);
      throw new ApiError(problem?.detail ? problem : {
        status: reply.status, title: reply.statusText, type: 'about:blank', detail: `${address} refused this (${reply.status}).`,
      });
    }
  }
}
