// Makes a photo smaller before it travels: 12 million pixels as some 50 kB instead of 5 MB.

const SMALL_BYTES = 100_000; // such files travel in no time as they are
const QUALITY = 0.85;

/**
 * Return a photo with no more pixels than the server looks at, as a JPEG, upright.
 *
 * Whatever cannot be made smaller comes back as it is: files that this browser cannot decode, what is
 * small already, and what would only grow.
 *
 * @param {File} file What the visitor chose.
 * @param {number} leastPx Pixels that are enough for the shorter side.
 * @returns {Promise<File>}
 */
export async function shrink(file, leastPx) {
  if (file.size <= SMALL_BYTES) return file;
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
