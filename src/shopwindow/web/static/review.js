// The keys of /review. They press the buttons, which work without them too.

const KEPT = 'shopwindow-review-keys';
const box = document.getElementById('keys');
let kept = { getItem: () => null, setItem: () => {} }; // if the browser does not allow storage
try {
  kept = localStorage;
} catch {
  // Keys work all the same.
}
let on = kept.getItem(KEPT) !== 'off';

const show = () => document.getElementById('main').classList.toggle('keyed', on);
show();

// The next photo's buttons are where the last one's were, and a double click is meant for one alone.
document.getElementById('main').classList.add('fresh');
setTimeout(() => document.getElementById('main').classList.remove('fresh'), 500);

if (box) {
  box.closest('.keys').hidden = false;
  box.checked = on;
  box.addEventListener('change', () => {
    on = box.checked;
    kept.setItem(KEPT, on ? 'on' : 'off');
    show();
  });
}

document.addEventListener('keydown', (event) => {
  const { key, target } = event;
  if (event.isComposing || target.matches('input:not([type=checkbox]), textarea, [contenteditable]')) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (target.matches('select')) { // where letters choose
    if (key === 'Enter') {
      event.preventDefault();
      target.form.requestSubmit();
    }
    if (key === 'Escape') target.blur();
    return;
  }
  const found = on && document.querySelector(`[data-key="${CSS.escape(key.toLowerCase())}"]`);
  if (!found) return;
  event.preventDefault();
  if (found.matches('select')) found.focus();
  else found.click();
});
