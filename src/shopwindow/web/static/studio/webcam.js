// The camera: its picture in a video element, and frames of it as files.

const LONG_SIDE_PX = 1280;

// Resolves to a function that ends it; rejects with a sentence.
export const openCamera = async (video) => {
  if (!navigator.mediaDevices) throw new Error('Browsers give a camera only to pages on this machine (127.0.0.1) or over https.');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1280 } } });
  } catch (error) {
    throw new Error(error.name === 'NotAllowedError'
      ? 'The browser was not allowed to use the camera. Allow it beside the address, then try again.'
      : 'There is no camera here that answers. Is another program using it?');
  }
  video.srcObject = stream;
  await video.play();
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  };
};

// What the camera sees now, as a JPEG no larger than `longest` px.
export const takeFrame = (video, name, longest = LONG_SIDE_PX) => {
  const { videoWidth, videoHeight } = video;
  const scale = Math.min(1, longest / Math.max(videoWidth, videoHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(videoWidth * scale);
  canvas.height = Math.round(videoHeight * scale);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob((blob) => resolve(new File([blob], name, { type: 'image/jpeg' })), 'image/jpeg', 0.9);
  });
};
