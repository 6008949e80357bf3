// A visitor's feedback on an answer: right, or wrong and what instead; and its undo.
// Fetched with the first photo, where the server accepts feedback.

const PAGE = 8; // options that Page Down skips

const plain = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
const squeezed = (text) => text.replace(/[^\p{L}\p{N}]/gu, '');

// The labels that match what was typed, whatever the hyphens, accents and order of words. The model's
// guesses with a word that begins with it come first, best first. Then comes the exact match, what begins
// with it, what has a word that does, and what contains it, each in alphabetical order.
export const matching = (labels, guesses, typed) => {
  const wanted = plain(typed).trim();
  const rank = (label) => {
    const text = plain(label);
    const at = text.indexOf(wanted);
    if (text === wanted) return 1;
    if (at === 0) return 2;
    if (at > 0) return squeezed(text[at - 1]) ? 4 : 3;
    if (squeezed(text).includes(squeezed(wanted) || wanted)) return 5;
    return wanted.split(/\s+/).every((word) => text.includes(word)) ? 6 : 7;
  };
  const ranked = labels.map((label) => {
    const [at, guess] = [rank(label), guesses.indexOf(label)];
    return { label, at, guess, likely: guess >= 0 && at <= 3 };
  });
  return ranked.filter(({ at }) => at < 7).sort((a, b) => b.likely - a.likely
    || (a.likely ? a.guess - b.guess : a.at - b.at) || a.label.localeCompare(b.label));
};

// The index that Enter takes: the exact match, the best guess that begins so, or the only match; -1 if
// there are several.
export const meant = (found) => {
  const exact = found.findIndex(({ at }) => at === 1);
  if (exact >= 0) return exact;
  return found[0]?.likely || found.length === 1 ? 0 : -1;
};

// The list of labels: a combobox whose list is always open, in a dialog.
// https://www.w3.org/WAI/ARIA/apg/patterns/combobox/
const makeList = ($, freshen) => {
  const dialog = $('correct');
  const search = $('search');
  const list = $('labels');
  let known = [];
  let likely = [];
  let options = [];
  let active = -1;
  let picked = () => {};

  const pick = (label) => {
    dialog.close();
    picked(label);
  };

  const activate = (index) => {
    options[active]?.setAttribute('aria-selected', 'false');
    active = index;
    const option = options[index];
    if (!option) {
      search.removeAttribute('aria-activedescendant');
      return;
    }
    option.setAttribute('aria-selected', 'true');
    option.scrollIntoView({ block: 'nearest' });
    search.setAttribute('aria-activedescendant', option.id);
  };

  const group = (name, labels) => {
    const part = document.createElement('div');
    if (name) {
      part.setAttribute('role', 'group');
      part.setAttribute('aria-label', name);
      const title = document.createElement('p');
      title.setAttribute('aria-hidden', 'true'); // said by the group's name
      title.textContent = name;
      part.append(title);
    } else part.setAttribute('role', 'presentation');
    labels.forEach((label) => {
      const option = document.createElement('div');
      option.setAttribute('role', 'option');
      option.setAttribute('aria-selected', 'false');
      option.id = `label-${options.push(option)}`;
      option.textContent = label;
      option.addEventListener('click', () => pick(label));
      part.append(option);
    });
    return part;
  };

  const fill = () => {
    const typed = search.value.trim();
    options = [];
    const others = known.filter((label) => !likely.includes(label));
    const found = typed ? matching(known, likely, typed) : [];
    const groups = typed
      ? [['', found.map(({ label }) => label)]]
      : [['Its guesses', likely], ['All others', others]];
    list.replaceChildren(...groups.filter(([, labels]) => labels.length).map(([name, labels]) => group(name, labels)));
    list.hidden = !options.length;
    list.scrollTop = 0;
    search.setAttribute('aria-expanded', String(!list.hidden));
    activate(meant(found));
    const count = `${options.length} label${options.length === 1 ? '' : 's'}`;
    $('found').textContent = !typed ? '' : list.hidden ? 'No label like this. Is it none of these?' : count;
  };

  search.addEventListener('input', fill);
  search.addEventListener('keydown', (event) => {
    const last = options.length - 1;
    const to = {
      ArrowDown: active < last ? active + 1 : 0,
      ArrowUp: active > 0 ? active - 1 : last,
      PageDown: Math.min(active + PAGE, last),
      PageUp: Math.max(active - PAGE, 0),
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      activate(to);
    } else if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      if (options[active]) pick(options[active].textContent);
      else if (options.length && search.value.trim()) $('found').textContent = `${options.length} labels match: choose one of them.`;
    }
  });
  dialog.querySelector('.none').addEventListener('click', () => pick(''));
  dialog.querySelector('.cancel').addEventListener('click', () => dialog.close());
  const image = dialog.querySelector('img');
  image.addEventListener('error', () => { image.style.visibility = 'hidden'; }); // its place stays
  // A phone's keyboard covers the page without making it smaller.
  const fit = () => dialog.style.setProperty('--seen', `${visualViewport.height}px`);
  visualViewport?.addEventListener('resize', fit);

  return (labels, guesses, url, act) => {
    [known, likely, picked] = [labels, guesses, act];
    image.style.visibility = url ? '' : 'hidden';
    if (url) image.src = url;
    search.value = '';
    dialog.showModal();
    freshen(dialog);
    fill();
    // On a phone the keyboard would cover the guesses before anybody has read them.
    if (matchMedia('(pointer: fine)').matches) search.focus();
  };
};

// An item is { prediction, picture, url }; its feedback is in `opinion`.
export const makeFeedback = ({ $, freshen, inWords, unreached, words }) => {
  const call = async (...request) => (await import(words.call)).call(unreached, ...request);
  const say = $('correct').dataset;
  const openList = makeList($, freshen);
  let labels = null;
  let shown = null; // the item in the window

  const keepsAll = (item) => Boolean(item.corner) && $('keep-all').checked;
  const copy = (id) => $(id).content.firstElementChild.cloneNode(true);
  const noted = (item) => {
    const { label } = item.opinion;
    if (label === item.prediction.label) return say.right;
    return label ? say.other.replace('{}', () => label) : say.none;
  };
  const kept = ({ photo_kept: photo, kept_until: until }) => {
    if (!photo) return say.kept;
    if (!until) return say.keptPhoto;
    const day = new Date(until).toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });
    return say.until.replace('{}', day);
  };

  const draw = (place, item) => {
    const had = place.contains(document.activeElement) ? document.activeElement.localName : '';
    let part;
    if (item.opinion) {
      part = copy('noted');
      part.querySelector('b').textContent = noted(item);
      part.querySelector('button').addEventListener('click', () => undo(item));
      const keep = part.querySelector('input');
      keep.checked = item.opinion.photo_kept;
      keep.addEventListener('change', () => save(item, item.opinion.label, keep.checked));
      part.querySelector('.fine').textContent = kept(item.opinion);
    } else {
      part = copy('asked');
      const right = part.querySelector('.right');
      const wrong = part.querySelector('.wrong');
      right.addEventListener('click', () => save(item, item.prediction.label));
      // A family, or nothing at all: then no label has been shown that could be right.
      const unnamed = item.prediction.words.heading !== item.prediction.label;
      if (unnamed) {
        right.remove();
        wrong.textContent = 'What is it?';
      }
      wrong.addEventListener('click', () => choose(item, unnamed ? 0 : 1));
    }
    if (item.fault) {
      const fault = document.createElement('p');
      fault.className = 'fault';
      fault.setAttribute('role', 'alert');
      fault.textContent = item.fault;
      part.querySelector('.what')?.after(fault) ?? part.append(fault);
    } else if (item.undone) {
      const undone = document.createElement('p');
      undone.className = 'undone';
      undone.textContent = say.undone;
      part.append(undone);
    }
    place.replaceChildren(part);
    freshen(place);
    if (had) place.querySelector(had === 'input' ? 'input' : 'button').focus({ preventScroll: true });
  };

  const redraw = (item) => {
    item.tile?.classList.toggle('corrected', Boolean(item.opinion) && item.opinion.label !== item.prediction.label);
    if (item.corner) draw(item.corner, item);
    if (shown === item && !$('opinion').hidden) draw($('opinion'), item); // else another photo came
  };

  // One change at a time for each item: a double click counts once.
  const change = async (item, act) => {
    if (item.saving) return;
    item.saving = true;
    item.fault = '';
    item.undone = false;
    try {
      await act();
    } catch (error) {
      item.fault = inWords(error);
      labels = null; // another model may be in service by now
    }
    item.saving = false;
    redraw(item);
  };

  const undo = (item) => change(item, async () => {
    const { id, undo: token } = item.opinion;
    await call(`${words.feedbackUrl}/${id}`, { method: 'DELETE', headers: { 'X-Undo-Token': token } })
      .catch((error) => { if (error.status !== 404) throw error; }); // gone already, as wanted
    item.opinion = null;
    item.undone = true;
    $('status').textContent = say.undone;
  });

  // Feedback that is sent again replaces the earlier one.
  const save = (item, label, keep = keepsAll(item)) => change(item, async () => {
    const form = new FormData();
    form.append('receipt', item.prediction.receipt);
    form.append('label', label);
    if (keep) form.append('image', new Blob([await item.picture.arrayBuffer()]), 'photo');
    item.opinion = await call(words.feedbackUrl, { method: 'POST', body: form });
    if (keep && !item.opinion.photo_kept) item.fault = say.full;
    $('status').textContent = `${noted(item)} ${kept(item.opinion)}`;
  });

  const choose = async (item, from) => {
    try {
      labels ??= (await call(words.model)).columns[0].labels;
    } catch (error) {
      item.fault = inWords(error);
      redraw(item);
      return;
    }
    const guesses = item.prediction.top.map((score) => score.label).slice(from);
    $('kept').textContent = keepsAll(item) ? say.keptPhoto : say.kept;
    openList(labels, guesses, item.url, (label) => save(item, label));
  };

  $('keep-all').addEventListener('change', () => {
    $('kept-all').textContent = $('keep-all').checked ? say.keptPhoto : say.kept;
  });

  // A key that is held down presses once, and not what appears in the same place.
  document.addEventListener('keydown', (event) => {
    if (event.repeat && event.key === 'Enter' && event.target.closest('.opinion, .correct')) event.preventDefault();
  });

  return {
    // In the window.
    show: (item) => {
      shown = item;
      item.undone = false;
      $('opinion').hidden = !item.prediction.receipt;
      redraw(item);
    },
    // In a corner of its tile, so that it is corrected without leaving the grid.
    offer: (item) => { if (item.prediction.receipt) draw(item.corner, item); },
  };
};
