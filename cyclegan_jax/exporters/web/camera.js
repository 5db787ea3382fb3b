const NO_CAMERA = {
  NotAllowedError: 'This page has no permission to use the camera: allow the ' +
    'camera for this page in the browser, or open a picture.',
  NotFoundError: 'This device has no camera: open a picture.',
  NotReadableError: 'The camera is in use: close the program that uses the ' +
    'camera, or open a picture.',
};

async function openCamera() {
  const media = navigator.mediaDevices;
  if (!media?.getUserMedia) {
    // A phone opens its camera app instead.
    if (matchMedia('(pointer: coarse)').matches) return byId('shot').click();
    return showProblem('This browser does not let a page from a file use the ' +
      'camera: open a picture.');
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
  if (!video.videoWidth) return; // the video has no frame yet
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
