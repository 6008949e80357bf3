// The studio: photos in, names, a model that follows them, and the window.

import { startBurst } from './burst.js';
import { $, main } from './dom.js';
import { setFilter, startGrid } from './grid.js';
import { startIntake } from './intake.js';
import { startKeys } from './keys.js';
import { drawSelection, setLabel, startLabels } from './labels.js';
import { look, startLooking } from './look.js';
import { startQuality } from './quality.js';
import { select, startSelecting } from './select.js';
import { follow } from './state.js';
import { startTrying, tryPhoto } from './try.js';
import { startWindow } from './window.js';

const ids = (photos) => photos.map((photo) => photo.id);

document.documentElement.classList.add('js');
$('app').hidden = false;

// One part is shown beside the photos, and on small screens instead of them.
const tabs = [...document.querySelectorAll('[data-shows]')];
const wide = matchMedia('(min-width: 58.01rem)');
const show = (pane) => {
  main.dataset.pane = pane;
  const shown = wide.matches && pane === 'photos' ? 'quality' : pane;
  tabs.forEach((tab) => tab.setAttribute('aria-pressed', tab.dataset.shows === shown));
};
tabs.forEach((tab) => tab.addEventListener('click', () => show(tab.dataset.shows)));
wide.addEventListener('change', () => show(main.dataset.pane));
show('photos');

startGrid({ confirm: (photos, label) => setLabel(ids(photos), label), select: (photos) => select(ids(photos)) });
startSelecting({ onchange: drawSelection, look });
startLabels();
startLooking();
startKeys();
startIntake({ place: $('try'), other: tryPhoto });
startBurst();
startQuality({ look });
startTrying();
startWindow();
$('search').addEventListener('input', (event) => setFilter(event.target.value));
follow();
