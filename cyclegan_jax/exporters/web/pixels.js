// Decodes pixels as cyclegan_jax.translate does: without colour conversion,
// with EXIF rotation, and over white where they are transparent.
const DECODING = {
  colorSpaceConversion: 'none',
  imageOrientation: 'from-image',
  premultiplyAlpha: 'none',
};
const LEAST = 5; // smallest side in pixels

function decode(file) {
  return createImageBitmap(file, DECODING);
}

// Returns [width, height], scaled so that no side is longer than the limit.
function fitted(width, height, limit) {
  const share = Math.min(1, limit / Math.max(width, height));
  return [Math.round(width * share), Math.round(height * share)];
}

const contextOf = (canvas) =>
  canvas.getContext('2d', { willReadFrequently: true });

function drawBitmap(canvas, bitmap, width, height) {
  fill(canvas, { width, height }, []);
  const context = contextOf(canvas);
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
}

// Luminance of ITU-R BT.601, in integers as Pillow computes it.
const gray = (r, g, b) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;

// Returns the pixels of a canvas: uint8 [height, width, channels].
function pixelsOf(canvas, channels) {
  const { width, height } = canvas;
  const { data } = contextOf(canvas).getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < data.length; from += 4, to += channels) {
    const [r, g, b] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 1) {
      pixels[to] = gray(r, g, b);
    } else {
      pixels[to] = r;
      pixels[to + 1] = g;
      pixels[to + 2] = b;
    }
  }
  return pixels;
}

function drawPixels(canvas, pixels, width, height) {
  fill(canvas, { width, height }, []);
  const channels = pixels.length / (width * height);
  const image = new ImageData(width, height);
  const { data } = image;
  for (let from = 0, to = 0; to < data.length; from += channels, to += 4) {
    data[to] = pixels[from];
    data[to + 1] = pixels[channels === 1 ? from : from + 1];
    data[to + 2] = pixels[channels === 1 ? from : from + 2];
    data[to + 3] = 255;
  }
  contextOf(canvas).putImageData(image, 0, 0);
}
