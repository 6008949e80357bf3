// The map on /review/figures: hover, focus or touch shows a photo. Without it, a point is a link.

const points = [...document.querySelectorAll('.map a')].sort((a, b) => across(a) - across(b));
const figure = document.getElementById('on-map');
let current = null;

function across(point) {
  return point.querySelector('circle').cx.baseVal.value;
}

function show(point) {
  if (point === current) return;
  current?.classList.remove('current');
  current = point;
  point.classList.add('current');
  figure.hidden = false;
  figure.querySelector('img').src = point.dataset.photo;
  const link = document.createElement('a');
  link.href = point.getAttribute('href');
  link.textContent = 'Label it';
  figure.querySelector('figcaption').replaceChildren(`${point.getAttribute('aria-label')}. `, link);
}

points.forEach((point, index) => {
  // One stop for the Tab key; the arrows go from left to right.
  point.setAttribute('tabindex', index ? '-1' : '0');
  point.addEventListener('pointerenter', (event) => event.pointerType === 'mouse' && show(point));
  point.addEventListener('focus', () => point.matches(':focus-visible') && show(point));
  point.addEventListener('click', (event) => {
    if (point === current) return;
    event.preventDefault(); // the first touch shows what it is
    show(point);
  });
  point.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = step && points[index + step];
    if (!step) return;
    event.preventDefault();
    if (!next) return;
    point.setAttribute('tabindex', '-1');
    next.setAttribute('tabindex', '0');
    next.focus();
  });
});
