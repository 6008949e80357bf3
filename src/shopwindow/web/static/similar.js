// Shows the items of the gallery that came with an answer; the server may have none to show.
const { content } = document.getElementById('similar-item');

document.getElementById('main').addEventListener('answer', ({ detail: { similar } }) => {
  const items = (similar ?? []).map((item) => {
    const part = content.firstElementChild.cloneNode(true);
    part.querySelector('.title').textContent = item.title ?? item.label ?? item.id;
    part.querySelector('img').src = item.thumbnail;
    if (item.link) part.firstElementChild.href = item.link;
    return part;
  });
  document.getElementById('similar-items').replaceChildren(...items);
  document.getElementById('similar').hidden = !items.length;
});
