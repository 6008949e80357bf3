// Many photos: a grid that fills as answers arrive. Fetched when there is more than one.

const AT_ONCE = 4; // requests under way; the server works on eight at a time
const PATIENCE = 30; // retries with a busy server
const ARRANGE_MS = 250;

const DOUBTS = ['unknown', 'unsure', 'family', 'likely', 'sure'];
const least = ({ prediction: a }, { prediction: b }) => DOUBTS.indexOf(a.words.kind) - DOUBTS.indexOf(b.words.kind)
  || (a.words.confidence ?? a.confidence) - (b.words.confidence ?? b.confidence);
const ORDERS = {
  least,
  most: (a, b) => least(b, a),
  label: (a, b) => a.prediction.words.heading.localeCompare(b.prediction.words.heading) || least(a, b),
  given: () => 0,
};

// The same rows as `shopwindow predict` writes.
const asRow = ({ name, prediction, error }) => {
  const { label = null, confidence = null, sure = null, top = null, attributes = null } = prediction ?? {};
  return { path: name, label, confidence, sure, top, attributes, error: error ?? null };
};

// And one more column, once the visitor has given feedback.
const asRows = (items) => {
  if (!items.some((item) => item.opinion)) return items.map(asRow);
  return items.map((item) => ({ ...asRow(item), corrected: item.opinion ? item.opinion.label || 'none of these' : null }));
};

// A spreadsheet runs text that begins so as a formula, unless an apostrophe comes first.
// https://owasp.org/www-community/attacks/CSV_Injection
const asCell = (value) => {
  let text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

// With the mark by which Excel knows UTF-8.
const asCsv = (rows) => `\ufeff${[Object.keys(rows[0]), ...rows.map(Object.values)]
  .map((cells) => `${cells.map(asCell).join(',')}\n`).join('')}`;

const save = (name, type, text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};

const count = (number, thing) => `${number} ${thing}${number === 1 ? '' : 's'}`;

// Number the files that share a name, as phones make them, and add their sizes.
const withUniqueNames = (photos) => {
  const alike = Map.groupBy(photos, ({ name }) => name);
  return photos.map((photo) => {
    const { name, size } = photo;
    const group = alike.get(name);
    const [place, all] = [group.indexOf(photo) + 1, group.length];
    return all > 1 ? { ...photo, name: `${name} (${place} of ${all}, ${size} bytes)` } : photo;
  });
};

export const showMany = (photos, skipped, signal, tools) => {
  const { $, copy, discuss, enter, freshen, inWords, predict, scale, sign } = tools;
  const takesFeedback = Boolean($('opinion'));
  const tiles = $('tiles');
  let timer = 0;
  let opened = null;
  let leaving = false; // the opened one

  const items = withUniqueNames(photos).map((photo, given) => {
    const tile = copy('tile', { '.file': photo.name });
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'open';
    button.disabled = true;
    button.append(...tile.childNodes);
    tile.append(button);
    tile.classList.add('waiting');
    const corner = document.createElement('div');
    corner.className = 'opinion';
    corner.setAttribute('role', 'group');
    corner.setAttribute('aria-label', photo.name);
    if (takesFeedback) tile.append(corner);
    return { ...photo, given, tile, button, corner };
  });

  const say = () => {
    const settled = items.filter((item) => item.prediction || item.error);
    const failed = settled.filter((item) => item.error).length;
    const unsure = settled.filter((item) => item.prediction && !item.prediction.sure).length;
    const all = settled.length === items.length;
    const notes = [
      all || !settled.length ? '' : 'Answers appear as they are ready.',
      unsure ? `Not sure about ${unsure} of them: look at those first.` : '',
      failed ? `${count(failed, 'file')} could not be read.` : '',
      skipped,
    ].filter(Boolean);
    sign({
      heading: count(items.length, 'photo'),
      kind: 'count',
      share: all ? '' : String(settled.length),
      verdict: all ? 'All answered' : 'answered so far',
      note: notes.join(' ') || (all ? 'Sure about all of them.' : 'Least sure first.'),
    });
    if (all) $('status').textContent = `All ${items.length} photos are answered. ${notes.join(' ')}`;
  };

  // In the chosen order: at once if the visitor asks for it, otherwise not while the pointer is over
  // the tiles.
  const arrange = () => {
    timer = 0;
    const order = ORDERS[$('order').value];
    // Failed photos come after answered ones, and waiting ones last.
    const rank = (item) => (item.prediction ? 0 : item.error ? 1 : 2);
    const sorted = items.toSorted((a, b) => rank(a) - rank(b) || (rank(a) ? 0 : order(a, b)) || a.given - b.given);
    const focused = document.activeElement;
    if (sorted.some((item, place) => tiles.children[place] !== item.tile)) freshen(tiles);
    sorted.forEach((item, place) => {
      if (tiles.children[place] !== item.tile) tiles.insertBefore(item.tile, tiles.children[place] ?? null);
    });
    if (focused !== document.activeElement) focused.focus({ preventScroll: true }); // moving takes it away
    if (!opened) say(); // an opened photo has a heading of its own
  };

  const rearrange = () => {
    timer = 0;
    if (signal.aborted) return;
    if (!tiles.matches(':hover')) arrange();
    else if (!opened) say();
  };

  const settle = (item) => {
    const { tile, prediction, error } = item;
    tile.classList.remove('waiting');
    if (prediction) {
      const { kind, heading, confidence } = prediction.words;
      tile.classList.add(kind);
      scale(tile, heading, confidence);
      item.button.disabled = false;
      discuss((it) => it.offer(item));
    } else {
      tile.classList.add('bad');
      item.corner.remove();
      tile.querySelector('.failed').textContent = error;
    }
    timer ||= setTimeout(rearrange, ARRANGE_MS);
  };

  const back = () => {
    if (!opened || signal.aborted) return;
    const { button } = opened;
    opened = null;
    enter('many');
    say();
    button.focus();
  };

  const open = (item) => {
    opened = item;
    leaving = false;
    tools.show(item.picture);
    tools.answer(item);
    $('back').hidden = false;
    $('back').focus();
    scrollTo({ top: 0 });
    history.pushState({ opened: true }, '');
  };

  const work = async (queue) => {
    for (const item of queue) {
      if (signal.aborted) return;
      try {
        item.picture = await tools.shrink(await item.open());
        item.url = URL.createObjectURL(item.picture);
        const image = item.tile.querySelector('img');
        image.loading = 'lazy';
        image.addEventListener('error', () => image.remove()); // a kind that browsers cannot show
        image.src = item.url;
        item.prediction = await predict(item.picture, signal, PATIENCE);
      } catch (error) {
        item.error = inWords(error);
      }
      if (!signal.aborted) settle(item);
    }
  };

  const listen = (target, event, act) => target.addEventListener(event, act, { signal });
  items.forEach((item) => listen(item.button, 'click', () => open(item)));
  listen($('order'), 'change', arrange);
  listen(tiles, 'mouseleave', rearrange);
  listen($('csv'), 'click', () => save('labels.csv', 'text/csv', asCsv(asRows(items))));
  listen($('json'), 'click', () => save('labels.json', 'application/json', JSON.stringify(asRows(items), null, 2)));
  listen($('back'), 'click', () => { // twice would leave the page
    if (!leaving) history.back();
    leaving = true;
  });
  listen(window, 'popstate', back);
  signal.addEventListener('abort', () => {
    clearTimeout(timer);
    items.forEach((item) => URL.revokeObjectURL(item.url));
  }, { once: true });

  tiles.replaceChildren(...items.map((item) => item.tile));
  tools.hidePreview('');
  enter('many');
  say();
  $('status').textContent = `${items.length} photos. Answers appear as they are ready, least sure first.`;
  const queue = items.values(); // shared: each worker takes the next one
  for (let worker = 0; worker < AT_ONCE; worker += 1) work(queue);
};
