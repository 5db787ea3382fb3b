const NO_CAMERA = {
  NotAllowedError: 'There is no permission to use the camera: allow it for ' +
    'this page in the browser, or open a picture.',
  NotFoundError: 'This device has no camera: open a picture.',
  NotReadableError: 'The camera is in use: close the other program, or open ' +
    'a picture.',
};

async function openCamera() {
  const media = navigator.mediaDevices;
  if (!media?.getUserMedia) {
    // A phone takes the picture in its own camera's program.
    if (matchMedia('(pointer: coarse)').matches) return byId('shot').click();
    return showProblem('This browser gives a page from a disk no camera: ' +
      'open a picture.');
  }
  const video = { facingMode: 'environment', width: { ideal: 1280 } };
  try {
    byId('video').srcObject = await media.getUserMedia({ video });
  } catch (e) {
    return showProblem(NO_CAMERA[e.name] ||
      `The camera does not start (${e.name}): open a picture.`);
  }
  hideProblem();
  byId('viewfinder').showModal();
}

function stopCamera() {
  const video = byId('video');
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  video.srcObject = null;
}

function shoot() {
  const video = byId('video');
  if (!video.videoWidth) return; // it shows nothing yet
  const canvas = make('canvas');
  drawBitmap(canvas, video, video.videoWidth, video.videoHeight);
  byId('viewfinder').close();
  canvas.toBlob((blob) => take(new File([blob], 'camera.png')), 'image/png');
}

function prepareCamera() {
  byId('camera').addEventListener('click', openCamera);
  byId('shoot').addEventListener('click', shoot);
  byId('leave').addEventListener('click', () => byId('viewfinder').close());
  byId('viewfinder').addEventListener('close', stopCamera);
}
