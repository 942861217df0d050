// Colours of the pictures: components as RGB, one component on a diverging scale, prototypes from a fixed palette.

/** Coordinates are clipped to this range in every picture, in standard deviations. Source: protocol, PCA pictures. */
export const RANGE = 2.3;

/** A whitened coordinate as a byte: -2.3 is 0, 0 is 127.5, 2.3 is 255. */
export function toByte(value: number): number {
  return Math.round((255 * (Math.min(RANGE, Math.max(-RANGE, value)) + RANGE)) / (2 * RANGE));
}

/** Stops of the diverging scale, evenly spaced from -2.3 to 2.3: blue, white in the middle, red. */
const DIVERGING = [
  [12, 44, 110],
  [33, 102, 172],
  [103, 169, 207],
  [209, 229, 240],
  [247, 247, 247],
  [253, 219, 199],
  [239, 138, 98],
  [178, 24, 43],
  [93, 0, 25],
] as const;

/** The scale sampled at every byte, [256, 3]: heat maps look their colours up by toByte. */
export const divergingColours: Uint8Array = Uint8Array.from({ length: 256 * 3 }, (_, i) => {
  const at = (Math.floor(i / 3) / 255) * (DIVERGING.length - 1);
  const low = Math.min(DIVERGING.length - 2, Math.floor(at));
  const [a, b] = [DIVERGING[low]![i % 3]!, DIVERGING[low + 1]![i % 3]!];
  return Math.round(a + (at - low) * (b - a));
});

const GOLDEN_ANGLE = 137.50776405003785;
const LIGHTNESS = [0.72, 0.56, 0.84, 0.44];
const CHROMA = [0.15, 0.12, 0.09];

/**
 * The colour of a prototype: it depends on its number alone, so that a prototype looks the same in every image and picture.
 * Hues turn by the golden angle; lightness and chroma (OKLCH) step along, so that neighbouring numbers keep apart.
 */
export function prototypeColour(index: number): [number, number, number] {
  const hue = ((index * GOLDEN_ANGLE) % 360) * (Math.PI / 180);
  const lightness = LIGHTNESS[index % LIGHTNESS.length]!;
  const chroma = CHROMA[Math.floor(index / LIGHTNESS.length) % CHROMA.length]!;
  return oklab(lightness, chroma * Math.cos(hue), chroma * Math.sin(hue));
}

/** OKLab to sRGB bytes, clipped to the gamut. Source: B. Ottosson, A perceptual color space for image processing (2020). */
function oklab(lightness: number, a: number, b: number): [number, number, number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    encode(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function encode(linear: number): number {
  const x = Math.min(1, Math.max(0, linear));
  return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
}
