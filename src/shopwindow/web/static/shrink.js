// Makes a photo smaller before it travels: 12 million pixels as some 50 kB instead of 5 MB.

const SMALL_BYTES = 100_000; // smaller files are sent unchanged: they travel in no time
const LARGE_BYTES = 200_000_000; // larger ones are not photos
const QUALITY = 0.85;
const MAX_SCANS = 100; // of a JPEG; the server takes no more

// Like the server, by how a file begins.
const begins = (bytes, ...mark) => mark.every((value, at) => bytes[at] === value);

// From marker to marker up to the end of the image; what phones append to it is not checked.
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

// Whether a JPEG or PNG is complete; false for other formats, and in doubt. Browsers draw what there is
// of a picture and do not report the rest, so half a picture would be sent as a whole one.
const isWhole = (bytes) => {
  if (begins(bytes, 0xff, 0xd8, 0xff)) return isWholeJpeg(bytes);
  return begins(bytes, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a) && isWholePng(bytes);
};

/**
 * Return a photo with no more pixels than the server looks at, as a JPEG, upright.
 *
 * Files that this browser cannot decode, that are small already or would only grow come back unchanged.
 * So do those that may be damaged: the server must see the damage, which re-encoding would hide.
 *
 * @param {File} file What the visitor chose.
 * @param {number} leastPx Pixels that are enough for the shorter side.
 * @returns {Promise<File>}
 * @throws {DOMException} The file cannot be read any more.
 */
export async function shrink(file, leastPx) {
  if (file.size <= SMALL_BYTES || file.size > LARGE_BYTES) return file;
  if (!isWhole(new Uint8Array(await file.arrayBuffer()))) return file;
  // An image rather than a bitmap: browsers decode a JPEG only as far as its drawn size needs, which
  // takes half the time. Both turn it upright by its EXIF.
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
