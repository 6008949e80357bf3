// Makes the form answer in place. Without this file the page works the same, with a reload.
(() => {
  'use strict';
  document.documentElement.classList.add('js');

  addEventListener('DOMContentLoaded', () => {
    const $ = (id) => document.getElementById(id);
    const main = $('main');
    const words = main.dataset;
    const input = $('image-file');
    const preview = $('preview');
    const levels = JSON.parse(words.levels);
    let asking = null; // the AbortController of the request under way

    // The same rules as wording.py: never "0 %", never "100 %".
    const perCent = (share, decimals) => {
      const step = 10 ** -decimals;
      const value = share * 100;
      if (value > 100 - step / 2) return `>${(100 - step).toFixed(decimals)}\u202f%`;
      if (value < step / 2) return `<${step.toFixed(decimals)}\u202f%`;
      return `${value.toFixed(decimals)}\u202f%`;
    };

    const sign = (label, kind, note) => {
      $('label').textContent = label;
      $('label').className = kind + (kind !== 'asking' && label.length > 16 ? ' long' : '');
      $('note').textContent = note;
      document.title = (kind === 'asking' ? '' : label + (kind === 'unsure' ? '?' : '') + ' · ') + words.title;
    };

    const ask = () => {
      $('verdict').textContent = '';
      sign(words.question, 'asking', words.summary);
    };

    const hidePreview = () => {
      preview.hidden = true;
      $('stand').removeAttribute('hidden');
      $('hint').textContent = '';
    };

    const show = (file) => {
      if (preview.src.startsWith('blob:')) URL.revokeObjectURL(preview.src);
      preview.removeAttribute('width');
      preview.removeAttribute('height');
      preview.className = '';
      preview.hidden = false;
      $('stand').setAttribute('hidden', '');
      $('hint').textContent = '';
      preview.src = URL.createObjectURL(file); // browsers turn it upright by its EXIF
    };

    preview.addEventListener('load', () => {
      const side = Math.max(preview.naturalWidth, preview.naturalHeight);
      preview.className = side < 200 ? 'small' : '';
    });
    preview.addEventListener('error', () => {
      if (preview.hidden) return;
      hidePreview();
      $('hint').textContent = 'No preview: browsers cannot show this kind of file.';
    });

    const fail = (sentence) => {
      main.dataset.state = 'empty';
      ask();
      hidePreview();
      $('answer').hidden = true;
      $('directory').hidden = false;
      $('choose').textContent = 'Choose a photo';
      $('status').textContent = '';
      $('image-error').textContent = sentence;
      input.setAttribute('aria-invalid', 'true');
    };

    const fill = (id, texts) => {
      const part = $(id).content.firstElementChild.cloneNode(true);
      Object.entries(texts).forEach(([where, text]) => { part.querySelector(where).textContent = text; });
      return part;
    };

    const answer = (prediction) => {
      const { label, confidence, sure, top, attributes } = prediction;
      const verdict = sure ? levels.find(([least]) => confidence >= least)[1] : words.notSure;
      sign(label, sure ? 'sure' : 'unsure', sure ? words.sureNote : words.unsureNote);
      const figure = document.createElement('b');
      figure.textContent = perCent(confidence, 0);
      $('verdict').replaceChildren(figure, ` ${verdict}`);
      $('bars').replaceChildren(...top.map((score) => {
        const row = fill('bar', { '.of': score.label, '.share': perCent(score.confidence, 1) });
        row.querySelector('.fill').setAttribute('width', `${(score.confidence * 100).toFixed(2)}%`);
        return row;
      }));
      const rest = words.labelCount - top.length;
      $('rest').hidden = rest < 1;
      $('rest').firstElementChild.textContent = rest > 1 ? `${rest} others together` : `${rest} other`;
      const left = 1 - top.reduce((sum, score) => sum + score.confidence, 0);
      $('rest').lastElementChild.textContent = perCent(Math.max(left, 0), 1);
      const chips = Object.entries(attributes);
      $('chips').replaceChildren(...chips.map(([column, score]) => {
        const chip = fill('chip', { dt: column, b: score.label, '.share': perCent(score.confidence, 0) });
        chip.classList.toggle('faint', score.confidence < 0.5);
        return chip;
      }));
      $('more').hidden = !chips.length;
      $('answer').hidden = false;
      $('directory').hidden = true;
      $('choose').textContent = 'Another photo';
      main.dataset.state = 'done';
      $('status').textContent = `${sure ? '' : 'Best guess: '}${label}. ${verdict}, ${figure.textContent}`;
    };

    const send = async (file) => {
      asking?.abort();
      const mine = asking = new AbortController();
      $('image-error').textContent = '';
      input.removeAttribute('aria-invalid');
      show(file);
      ask();
      main.dataset.state = 'busy';
      $('status').textContent = 'Looking at your photo.';
      let reply;
      let result;
      try {
        const { shrink } = await import(words.shrink);
        const photo = await shrink(file, Number(words.leastPx));
        if (asking !== mine) return;
        if (photo.size > Number(words.maxBytes)) {
          fail(`That file has more than ${words.max}. Please choose a smaller picture.`);
          return;
        }
        const body = new FormData();
        body.append('image', photo);
        reply = await fetch(words.api, { method: 'POST', body, signal: mine.signal });
        result = await reply.json();
      } catch {
        if (asking === mine) fail('The server could not be reached. Is it still running? Please try again.');
        return;
      }
      if (asking !== mine) return; // another photo has been chosen meanwhile
      if (reply.ok) answer(result.predictions[0]);
      else fail(result.detail);
    };

    const take = (files, otherwise) => {
      if (files.length) send(files[0]);
      else if (otherwise) fail(otherwise);
    };

    input.addEventListener('click', () => { input.value = ''; }); // the same file counts again
    input.addEventListener('keydown', (event) => { // browsers open it with the space bar alone
      if (event.key !== 'Enter') return;
      event.preventDefault();
      input.click();
    });
    input.addEventListener('change', () => take(input.files));
    document.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      take(input.files, 'Choose a photo first.');
    });
    document.addEventListener('paste', (event) => take(event.clipboardData.files));
    const light = (on) => main.classList.toggle('dragging', on);
    document.addEventListener('dragover', (event) => {
      event.preventDefault();
      light(true);
    });
    document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) light(false); });
    document.addEventListener('drop', (event) => {
      event.preventDefault();
      light(false);
      take(event.dataTransfer.files, 'That was no file. Save the picture first, then drop it here.');
    });
  });
})();
