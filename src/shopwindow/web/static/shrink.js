// Makes a photo smaller before it travels: 12 million pixels as some 50 kB instead of 5 MB.

const SMALL_BYTES = 100_000; // such files travel in no time as they are
const LARGE_BYTES = 200_000_000; // and such ones are no photos
const QUALITY = 0.85;
const MAX_SCANS = 100; // of a JPEG; the server takes no more

// As the server tells formats: from how a file begins.
const begins = (bytes, ...mark) => mark.every((value, at) => bytes[at] === value);

// From marker to marker up to the end of the image; what phones put behind that is not looked at.
const isWholeJpeg = (bytes) => {
  let at = 2;
  let scans = 0;
  while (at >= 2 && at + 1 < bytes.length) {
    if (bytes[at] !== 0xff) return false;
    const marker = bytes[at + 1];
    if (marker === 0xff) at += 1; // a filling
    else if (marker === 0xd9) return scans > 0 && scans <= MAX_SCANS;
    else {
      at += 2 + (bytes[at + 2] << 8 | bytes[at + 3]);
      if (marker !== 0xda) continue;
      scans += 1;
      // In a scan, 0xff is followed by a marker unless by 0, or by a restart.
      do {
        at = bytes.indexOf(0xff, at) + 1;
      } while (at && (bytes[at] === 0 || (bytes[at] >= 0xd0 && bytes[at] <= 0xd7)));
      at -= 1;
    }
  }
  return false;
};

const CRC = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

// Every chunk as its checksum says, up to the last.
const isWholePng = (bytes) => {
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > bytes.length) return false;
    let sum = -1;
    for (let place = at + 4; place < end; place += 1) sum = CRC[(sum ^ bytes[place]) & 255] ^ (sum >>> 8);
    if (~sum !== view.getInt32(end)) return false;
    if (view.getUint32(at + 4) === 0x49454e44) return true; // IEND
    at = end + 4;
  }
  return false;
};

// Whether these are all the bytes of a JPEG or PNG; of other formats, and in doubt, false. Browsers draw
// what there is of a picture and say nothing of the rest, so what they make of half a one looks whole.
const isWhole = (bytes) => {
  if (begins(bytes, 0xff, 0xd8, 0xff)) return isWholeJpeg(bytes);
  return begins(bytes, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a) && isWholePng(bytes);
};

/**
 * Return a photo with no more pixels than the server looks at, as a JPEG, upright.
 *
 * Whatever cannot be made smaller comes back as it is: files that this browser cannot decode, what is
 * small already, and what would only grow. So does what is not certain to be whole: the server must see
 * the damage, which the photo that is made here would hide.
 *
 * @param {File} file What the visitor chose.
 * @param {number} leastPx Pixels that are enough for the shorter side.
 * @returns {Promise<File>}
 * @throws {DOMException} The file cannot be read any more.
 */
export async function shrink(file, leastPx) {
  if (file.size <= SMALL_BYTES || file.size > LARGE_BYTES) return file;
  if (!isWhole(new Uint8Array(await file.arrayBuffer()))) return file;
  // An image and no bitmap: of a JPEG that is drawn small, browsers decode only as much as they need,
  // which takes half the time. Both turn it upright by its EXIF.
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => { image.onload = resolve; image.onerror = reject; });
    const { naturalWidth, naturalHeight } = image;
    const scale = leastPx / Math.min(naturalWidth, naturalHeight);
    if (scale >= 1) return file;
    const blob = await draw(image, Math.round(naturalWidth * scale), Math.round(naturalHeight * scale));
    return blob && blob.size < file.size ? new File([blob], 'photo.jpg', { type: blob.type }) : file;
  } catch {
    return file;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

function draw(image, width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  context.fillStyle = 'white'; // where the picture is transparent, as the server sees it
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'medium'; // averages; 'high' decodes all of it first
  context.drawImage(image, 0, 0, width, height);
  return new Promise((resolve) => { canvas.toBlob(resolve, 'image/jpeg', QUALITY); });
}
