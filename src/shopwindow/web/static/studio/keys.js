// The keys of the studio; those of single letters can be turned off, as in /review.

import { $ } from './dom.js';
import { acceptGuesses, labelOfKey, setLabel, remove, undo } from './labels.js';
import { lookedAt } from './look.js';
import { clear, meant } from './select.js';

const KEPT = 'shopwindow-review-keys';
let kept = { getItem: () => null, setItem: () => {} }; // if the browser does not allow storage
try {
  kept = localStorage;
} catch {
  // Keys work all the same.
}

const act = (key) => {
  const ids = lookedAt().length ? lookedAt() : meant();
  const label = labelOfKey(key);
  if (key === 'Escape') clear();
  else if (key === '/') $('search').focus();
  else if (key === 'u') undo();
  else if (!ids.length) return false;
  else if (label !== undefined) setLabel(ids, label);
  else if (key === 'a') acceptGuesses(ids);
  else if (key === 'n') setLabel(ids, null);
  else if (key === 'd' || key === 'Delete') remove(ids);
  else if (key === 'c') (lookedAt().length ? $('look-field') : $('name-field')).focus();
  else return false;
  return true;
};

export const startKeys = () => {
  const box = $('keys');
  box.checked = kept.getItem(KEPT) !== 'off';
  const show = () => document.documentElement.classList.toggle('keyed', box.checked);
  show();
  box.addEventListener('change', () => {
    kept.setItem(KEPT, box.checked ? 'on' : 'off');
    show();
  });
  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (event.isComposing || event.altKey || target.matches('input:not([type=checkbox], [type=file]), textarea, select')) return;
    if ((event.ctrlKey || event.metaKey) && /^[zy]$/i.test(key)) {
      event.preventDefault();
      undo(key.toLowerCase() === 'y' || event.shiftKey ? '/redo' : '/undo');
      return;
    }
    if (event.ctrlKey || event.metaKey || event.repeat) return;
    const other = document.querySelector('dialog[open]');
    if (other && other.id !== 'look') return;
    if (other && key === 'Escape') return;
    if (!box.checked && !['Escape', 'Delete'].includes(key)) return;
    if (act(key.length === 1 ? key.toLowerCase() : key)) event.preventDefault();
  });
};
