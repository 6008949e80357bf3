// Finds the pictures in folders and zips. Fetched when it is needed.

const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|dib|tiff?|hei[cf]s?|hif|avif)$/i;
const NAMED = 3; // skipped files that are named
const ZIP = /\.zip$/i;
const HIDDEN = /(^|\/)(\.|__MACOSX\/)/;
const MAX_PHOTOS = 2_000; // on the public page
const MAX_ZIP_BYTES = 500_000_000; // it is held in memory while its pictures are taken out

const tooMany = (most) => new Error(`That is more than ${most} pictures. Please choose fewer; the command "shopwindow predict" takes any number.`);

const inWords = (names) => {
  if (!names.length) return '';
  const count = `${names.length} ${names.length === 1 ? 'file' : 'files'}`;
  const more = names.length - NAMED;
  return `${count} skipped, not ${names.length === 1 ? 'a picture' : 'pictures'}: ${names.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}.`;
};

// All files under a dropped folder, with their paths as names.
const readEntry = async (entry, found, most) => {
  if (found.length > 2 * most) throw tooMany(most);
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ name: entry.fullPath.replace(/^\//, ''), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // browsers hand out a hundred at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const inner of some) await readEntry(inner, found, most);
  }
};

// The pictures of a zip. Each is unpacked only when its turn comes, and not if it is too large.
const readZip = async (name, file, words, most) => {
  if (file.size > MAX_ZIP_BYTES) throw new Error(`${name} is larger than ${MAX_ZIP_BYTES / 1e6} MB. Please unpack it and choose the folder.`);
  await import(words.unzip);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const photos = [];
  const skipped = [];
  let place = -1; // two files in a zip may have the same name
  try {
    self.fflate.unzipSync(bytes, {
      filter: (inner) => {
        place += 1;
        if (inner.name.endsWith('/') || HIDDEN.test(inner.name)) return false;
        if (PICTURE.test(inner.name)) photos.push({ ...inner, place });
        else skipped.push(inner.name);
        return false;
      },
    });
  } catch {
    throw new Error(`${name} could not be unpacked: it is damaged or not a zip. Please unpack it and choose the folder.`);
  }
  if (photos.length > most) throw tooMany(most);
  const open = (inner) => async () => {
    if (inner.originalSize > Number(words.maxBytes)) throw new Error(`This picture is larger than ${words.max}.`);
    try {
      // Packing makes nothing larger: such a picture claims to be smaller than it is.
      if (inner.size > inner.originalSize + 1024) throw new RangeError();
      // Memory is set aside for the size that it claims, and the rest is cut off.
      let at = -1;
      const taken = self.fflate.unzipSync(bytes, { filter: () => { at += 1; return at === inner.place; } });
      return new File([taken[inner.name]], inner.name);
    } catch {
      throw new Error('This picture could not be unpacked. Is the zip encrypted or damaged?');
    }
  };
  return { photos: photos.map((inner) => ({ name: inner.name, size: inner.originalSize, open: open(inner) })), skipped };
};

// Returns { photos: [{ name, size, open: () => Promise<File> }], skipped: a sentence, or nothing }.
export const gather = async (files, entries, words, most = MAX_PHOTOS) => {
  let found = files.map((file) => ({ name: file.webkitRelativePath || file.name, file }));
  if (entries.length) {
    found = [];
    for (const entry of entries) await readEntry(entry, found, most);
  }
  found = found.filter(({ name }) => !HIDDEN.test(name));
  const photos = [];
  const skipped = [];
  for (const { name, file } of found) {
    if (ZIP.test(name)) {
      const unpacked = await readZip(name, file, words, most);
      photos.push(...unpacked.photos);
      skipped.push(...unpacked.skipped);
    } else if (PICTURE.test(name) || file.type.startsWith('image/')) {
      photos.push({ name, size: file.size, open: async () => file });
    } else skipped.push(name);
  }
  if (!photos.length) throw new Error(`No pictures found.${skipped.length ? ` ${inWords(skipped)}` : ''}`);
  if (photos.length > most) throw tooMany(most);
  photos.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return { photos, skipped: inWords(skipped) };
};
