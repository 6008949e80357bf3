// Asks the server, and says what went wrong whoever it was. Fetched with the first photo.

// What is said for whoever refused without a word of this app: a proxy, a firewall, a sign-in.
const REFUSED = {
  0: 'Another page came in place of the answer, such as a sign-in that has run out. Please reload this page.',
  401: 'You are not signed in here, or no longer (401). Please reload this page.',
  403: 'You may not do this here (403). Reload this page, or ask whoever runs it.',
  413: 'That is more than a server on the way lets through (413). Please choose a smaller picture.',
  429: 'That was more than a server on the way allows in so short a time (429). Please wait a minute.',
  502: 'The server behind this address is not running, or is just starting (502). Please try again in a minute.',
  503: 'The server is busy, or is just starting (503). Please try again in a minute.',
  504: 'The server took too long to answer (504). Please try again in a minute.',
};

// Resolves to what this app answered as JSON; rejects with a sentence, a status and when to come back.
export const call = async (unreached, address, options = {}) => {
  let reply;
  try {
    reply = await fetch(address, { redirect: 'manual', ...options });
  } catch {
    throw new Error(unreached());
  }
  const { status } = reply;
  const type = reply.headers.get('Content-Type') ?? '';
  if (status === 204) return {};
  if (reply.ok && type.startsWith('application/json')) return reply.json();
  const problem = type.startsWith('application/problem+json') ? await reply.json().catch(() => null) : null;
  const sentence = problem?.detail ?? REFUSED[reply.ok ? 0 : status] ?? `The server, or one on the way, refused this (${status}). Please try again.`;
  throw Object.assign(new Error(sentence), { status, retryAfterS: Number(reply.headers.get('Retry-After')) || 1 });
};
