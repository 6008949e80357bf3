// Makes the form answer in place. Without this file the page works the same, with a reload.
// What only some visits need is fetched on demand: feedback.js, many.js, gather.js and fflate.js.
(() => {
  'use strict';
  document.documentElement.classList.add('js');

  // How often to retry: a busy server stays busy for a while, and one that a proxy cannot reach may
  // be restarting.
  const TRIES = { 429: Infinity, 503: Infinity, 502: 3, 504: 1 };
  const CHANGED = 'The photo could not be read: it was changed, moved or deleted after it was chosen. Please choose it again.';
  const unreached = () => (navigator.onLine
    ? 'The server could not be reached. Is it still running? Please try again.'
    : 'The server could not be reached. This device is offline. Please try again once it is online.');

  // The sentence for an error: our own, or that a file or a part of the page did not load.
  const inWords = (error) => {
    if (error instanceof DOMException) return CHANGED;
    return error instanceof TypeError ? unreached() : error.message;
  };

  addEventListener('DOMContentLoaded', () => {
    const $ = (id) => document.getElementById(id);
    const main = $('main');
    const words = main.dataset;
    const input = $('image-file');
    const preview = $('preview');
    let asking = new AbortController(); // of the request under way

    // The same rules as messages.py: never "0 %", never "100 %".
    const perCent = (share, decimals) => {
      const step = 10 ** -decimals;
      const value = share * 100;
      if (value > 100 - step / 2) return `>${(100 - step).toFixed(decimals)}\u202f%`;
      if (value < step / 2) return `<${step.toFixed(decimals)}\u202f%`;
      return `${value.toFixed(decimals)}\u202f%`;
    };

    const copy = (id, texts) => {
      const part = $(id).content.firstElementChild.cloneNode(true);
      Object.entries(texts).forEach(([where, text]) => { part.querySelector(where).textContent = text; });
      return part;
    };

    const scale = (part, label, confidence) => {
      part.querySelector('.of').textContent = label;
      part.querySelector('.share').textContent = confidence === null ? '' : perCent(confidence, 1);
      part.querySelector('.fill').setAttribute('width', `${(confidence * 100).toFixed(2)}%`);
      return part;
    };

    const sign = ({ heading, kind, share, verdict, note }) => {
      $('label').textContent = heading;
      $('label').className = kind + (kind !== 'asking' && heading.length > 16 ? ' long' : '');
      const figure = document.createElement('b');
      figure.textContent = share;
      $('verdict').replaceChildren(...(share ? [figure, ' '] : []), verdict);
      $('note').textContent = note;
      document.title = `${heading}${kind === 'unsure' ? '?' : ''} · ${words.title}`;
    };

    const ask = () => {
      sign({ heading: words.question, kind: 'asking', share: '', verdict: '', note: words.summary });
      document.title = words.title;
    };

    // Nothing in it can be pressed until a double click is over: the click was meant for what was
    // there before.
    const FRESH_MS = 500;
    const timers = new WeakMap();
    const freshen = (part) => {
      clearTimeout(timers.get(part));
      part.classList.add('fresh');
      timers.set(part, setTimeout(() => part.classList.remove('fresh'), FRESH_MS));
    };

    // One of: empty, busy, done, many. Parts that a state does not have are hidden.
    const enter = (state) => {
      freshen(main);
      main.dataset.state = state;
      $('many').hidden = state !== 'many';
      $('start').hidden = state === 'many' || state === 'busy'; // gone, rather than pushed down
      $('back').hidden = true;
      if ($('opinion')) $('opinion').hidden = true;
      if (state === 'busy') return; // the last answer stays, dimmed, until the next one is there
      $('answer').hidden = state !== 'done';
      $('directory').hidden = state === 'done';
    };

    const hidePreview = (hint) => {
      $('photo').hidden = true;
      $('stand').removeAttribute('hidden');
      $('hint').textContent = hint;
      $('why').hidden = true;
    };

    const show = (file) => {
      if (preview.src.startsWith('blob:')) URL.revokeObjectURL(preview.src);
      preview.removeAttribute('width');
      preview.removeAttribute('height');
      $('shown').checked = false;
      $('why').hidden = true;
      $('photo').hidden = false;
      $('photo').classList.add('coming'); // until its size is known, so that it does not jump
      $('stand').setAttribute('hidden', '');
      $('hint').textContent = '';
      preview.src = URL.createObjectURL(file); // browsers turn it upright by its EXIF
    };

    preview.addEventListener('load', () => {
      const { naturalWidth: width, naturalHeight: height } = preview;
      const small = Math.max(width, height) < 200;
      preview.classList.toggle('small', small);
      $('heat').classList.toggle('small', small);
      $('heat').setAttribute('viewBox', `0 0 ${width} ${height}`);
      $('photo').classList.remove('coming');
    });
    preview.addEventListener('error', () => {
      if (!$('photo').hidden) hidePreview('No preview: this browser cannot show this kind of file.');
    });

    // Feedback on answers; null where the server does not accept it. Fetched while the first photo
    // travels.
    let feedback = null;
    const wantFeedback = () => {
      if (!words.feedback) return;
      feedback ??= import(words.feedback).then((module) => module.makeFeedback({ $, freshen, inWords, unreached, words }));
      feedback.catch(() => { feedback = null; }); // then the page does without
    };
    const discuss = (act) => feedback?.then(act, () => {});

    const clearError = () => {
      $('image-error').textContent = '';
      input.removeAttribute('aria-invalid');
    };

    const fail = (sentence) => {
      enter('empty');
      ask();
      hidePreview('');
      $('status').textContent = '';
      $('image-error').textContent = sentence;
      input.setAttribute('aria-invalid', 'true');
    };

    const answer = (item) => {
      const { top, attributes, words: said, heatmap } = item.prediction;
      sign(said);
      $('bars').replaceChildren(...top.map((score) => scale(copy('bar', {}), score.label, score.confidence)));
      const rest = words.labelCount - top.length;
      $('rest').hidden = rest < 1;
      $('rest').firstElementChild.textContent = rest > 1 ? `${rest} others together` : `${rest} other`;
      const left = 1 - top.reduce((sum, score) => sum + score.confidence, 0);
      $('rest').lastElementChild.textContent = perCent(Math.max(left, 0), 1);
      const chips = Object.entries(attributes);
      $('chips').replaceChildren(...chips.map(([column, score]) => {
        const chip = copy('chip', { dt: said.names[column], b: score.label, '.share': perCent(score.confidence, 0) });
        chip.classList.toggle('faint', said.doubted.includes(column));
        return chip;
      }));
      $('more').hidden = !chips.length;
      $('why').hidden = !heatmap || $('photo').hidden;
      if (heatmap) $('heat').firstElementChild.setAttribute('href', heatmap);
      $('feedback')?.remove(); // the form of the page without a script
      enter('done');
      main.dispatchEvent(new CustomEvent('answer', { detail: item.prediction }));
      discuss((it) => { if (main.dataset.state === 'done') it.show(item); });
      $('status').textContent = `${said.kind === 'unsure' ? 'Best guess: ' : ''}${said.heading}. ${said.verdict}${said.share && ','} ${said.share}`;
    };

    // Makes a photo smaller before it travels, if it can.
    const shrink = async (file) => {
      const module = await import(words.shrink);
      return module.shrink(file, Number(words.leastPx));
    };

    // Resolves to the prediction, or rejects with a sentence. `patience` is how often to retry with
    // a busy server.
    const predict = async (file, signal, patience) => {
      if (file.size > Number(words.maxBytes)) {
        throw new Error(`That file is larger than ${words.max}. Please choose a smaller picture.`);
      }
      // The bytes alone, not the file's name; read first, because `fetch` would report an unreadable
      // file like an unreachable server.
      const body = await file.arrayBuffer();
      if (!body.byteLength) throw new Error(words.empty);
      const headers = { 'Content-Type': 'application/octet-stream' };
      try {
        const { call } = await import(words.call);
        return (await call(unreached, words.api, { method: 'POST', body, headers, signal })).predictions[0];
      } catch (error) {
        const tries = Math.min(patience, TRIES[error.status] ?? 0);
        if (!tries) throw error;
        await new Promise((resolve) => { setTimeout(resolve, error.retryAfterS * 1000); });
        if (signal.aborted) throw error;
        return predict(file, signal, tries - 1);
      }
    };

    const send = async (file, skipped, signal) => {
      show(file);
      ask();
      enter('busy');
      $('status').textContent = 'Looking at your photo.';
      try {
        const picture = await shrink(file);
        const prediction = await predict(picture, signal, 0);
        if (signal.aborted) return; // another photo has been chosen meanwhile
        answer({ picture, prediction, url: preview.src });
        if (skipped) $('note').append(` ${skipped}`);
      } catch (error) {
        if (!signal.aborted) fail(inWords(error));
      }
    };

    // `files` come from a browser's list; `entries` from a drop.
    const take = async (files, otherwise, entries = []) => {
      if (!files.length && !entries.length) {
        if (otherwise) fail(otherwise);
        return;
      }
      asking.abort();
      asking = new AbortController();
      const { signal } = asking;
      clearError();
      wantFeedback();
      let photos = [...files].map((file) => ({ name: file.name, size: file.size, open: async () => file }));
      let skipped = '';
      try {
        const nested = entries.some((entry) => entry?.isDirectory);
        if (nested || [...files].some((file) => file.webkitRelativePath || /\.zip$/i.test(file.name))) {
          const { gather } = await import(words.gather);
          ({ photos, skipped } = await gather([...files], nested ? entries : [], words));
        }
        if (signal.aborted) return;
        if (photos.length === 1) await send(await photos[0].open(), skipped, signal);
        else {
          const { showMany } = await import(words.many);
          if (!signal.aborted) showMany(photos, skipped, signal, tools);
        }
      } catch (error) {
        if (!signal.aborted) fail(inWords(error));
      }
    };

    const tools = { $, answer, copy, discuss, enter, freshen, hidePreview, inWords, predict, scale, show, shrink, sign };

    document.querySelectorAll('input[type=file]').forEach((control) => {
      control.addEventListener('click', () => { control.value = ''; }); // the same file counts again
      control.addEventListener('keydown', (event) => { // browsers open it with the space bar alone
        if (event.key !== 'Enter') return;
        event.preventDefault();
        control.click();
      });
      control.addEventListener('change', () => take(control.files));
    });
    input.accept += ',.zip';
    document.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      take(input.files, 'Choose a photo first.');
    });
    document.querySelectorAll('.examples a').forEach((link) => link.addEventListener('click', async (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return; // into another window
      event.preventDefault();
      const picture = await fetch(link.querySelector('img').src)
        .then((reply) => (reply.ok ? reply.blob() : null), () => null);
      if (picture) take([new File([picture], link.textContent.trim(), { type: picture.type })]);
      else fail(unreached());
      if (main.getBoundingClientRect().top < 0) scrollTo({ top: 0 });
    }));
    // What is pasted or dragged into a field belongs to the field, even if a picture comes with it, as
    // with a spreadsheet's cell. Nothing changes behind an open dialog.
    const isOthers = ({ target }) => Boolean(document.querySelector('dialog[open]')
      ?? target.closest?.('input:not([type=file], [type=checkbox]), textarea, [contenteditable]'));
    const isText = ({ dataTransfer }) => dataTransfer.types.includes('text/plain') && !dataTransfer.types.includes('Files');
    document.addEventListener('paste', (event) => { if (!isOthers(event)) take(event.clipboardData.files); });
    const light = (on) => main.classList.toggle('dragging', on);
    document.addEventListener('dragover', (event) => {
      if (isOthers(event) && isText(event)) return;
      event.preventDefault(); // or the browser would leave the page for the file
      if (!isOthers(event)) light(true);
    });
    document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) light(false); });
    document.addEventListener('drop', (event) => {
      if (isOthers(event) && isText(event)) return;
      event.preventDefault();
      light(false);
      if (isOthers(event)) return;
      const { files, items } = event.dataTransfer;
      const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      take(files, 'That was not a file. Save the picture first, then drop it here.', entries);
    });
  });
})();
