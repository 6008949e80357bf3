// Asks the server, and says what went wrong, wherever it did. Fetched with the first photo.

// For refusals that do not come from this app but from a proxy, a firewall or a sign-in.
const REFUSED = {
  0: 'The server sent another page instead of the answer; your sign-in may have expired. Please reload this page.',
  401: 'You are not signed in, or your sign-in has expired (401). Please reload this page.',
  403: 'You are not allowed to do this (403). Reload this page, or ask whoever runs this site.',
  413: 'That is too large for a server along the way (413). Please choose a smaller picture.',
  429: 'Too many requests in a short time for a server along the way (429). Please wait a minute.',
  502: 'The server behind this address is not running, or is just starting (502). Please try again in a minute.',
  503: 'The server is busy, or is just starting (503). Please try again in a minute.',
  504: 'The server took too long to answer (504). Please try again in a minute.',
};

// Resolves to this app's answer as JSON; rejects with a sentence, a status, the whole problem and when to retry.
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
  const sentence = problem?.detail ?? REFUSED[reply.ok ? 0 : status] ?? `The server, or one along the way, refused this (${status}). Please try again.`;
  throw Object.assign(new Error(sentence), { status, problem, retryAfterS: Number(reply.headers.get('Retry-After')) || 1 });
};
