// Images with a label map or a depth map each, in files: matching them by name, telling everything that does not fit at once, and what their sources have in common.

import { extname, join } from 'node:path';
import { shown } from '../../../base/text.js';
import { DataError } from '../../../errors.js';
import type { MapKind } from '../../decode/label_png.js';
import { type DecodeOptions, decodeImage, orientationOf, storedSize } from '../../decode/pixels.js';
import type { ImageSource, LeftOut, Split } from '../../source.js';
import { decodingSettings, identities } from './contents.js';
import { problem } from './label_file.js';
import { IMAGE_ENDINGS, isFolder, listFolder, sameForm, stemOf } from './listing.js';

/** An image file and its map, relative to the root of their source. */
export interface FilePair {
  image: string;
  map: string;
}

/**
 * The images and label maps of two folders below `root`, matched (see pairFiles) and relative to it. Throws one DataError for all folders that are
 * missing, or when both are empty.
 */
export async function pairsBelow(
  root: string,
  folders: { images: string; maps: string },
  expected: string,
  wanted?: string[],
): Promise<{ pairs: FilePair[]; leftOut: LeftOut[] }> {
  const [images, maps] = [join(root, folders.images), join(root, folders.maps)];
  const missing: string[] = [];
  for (const folder of [folders.images, folders.maps]) {
    if (!(await isFolder(join(root, folder)))) missing.push(folder);
  }
  if (missing.length > 0) {
    const names = missing.map((folder) => `${folder}/`).join(' and no ');
    throw new DataError(`${root} has no ${names}: ${expected}`, { folder: root, missing });
  }
  const [ofImages, ofMaps] = [await listFolder(images), await listFolder(maps)];
  if (ofImages.files.length === 0 && ofMaps.files.length === 0) {
    throw new DataError(`${images} holds no images: ${expected}`, { folder: root });
  }
  const pairs = pairFiles({ images, maps }, { images: ofImages.files, maps: ofMaps.files }, wanted);
  return {
    pairs: pairs.map(({ image, map }) => ({
      image: `${folders.images}/${image}`,
      map: `${folders.maps}/${map}`,
    })),
    leftOut: [...ofImages.leftOut, ...ofMaps.leftOut],
  };
}

/** Files of one side by stem (the path below `folder`, without its ending, in the form in which names are compared). */
interface Side {
  byStem: Map<string, string>;
  /** Names that take a stem which another file has. */
  doubled: string[];
}

function byStem(files: string[]): Side {
  const side: Side = { byStem: new Map(), doubled: [] };
  for (const file of files) {
    const stem = sameForm(stemOf(file));
    const other = side.byStem.get(stem);
    if (other === undefined) side.byStem.set(stem, file);
    else side.doubled.push(`${other} and ${file}`);
  }
  return side;
}

/** Endings of the files that are listed as maps, of those that are read, and what these are called. */
export const MAP_FILES: Record<MapKind, { endings: ReadonlySet<string>; read: string[]; called: string }> = {
  'label map': { endings: IMAGE_ENDINGS, read: ['.png'], called: 'PNG' },
  'depth map': {
    endings: new Set([...IMAGE_ENDINGS, '.npy']),
    read: ['.png', '.npy'],
    called: 'PNG or .npy',
  },
};

/**
 * Matches images with maps by the path below their folders, endings aside, in the order of that path. `wanted` restricts them to these
 * stems; without it every file must have its other half. Throws one DataError that counts everything wrong, with the first names of each
 * kind: images without a map and maps without an image, wanted ones that are missing, maps of other kinds of files, several files of one stem.
 */
export function pairFiles(
  folders: { images: string; maps: string },
  files: { images: string[]; maps: string[] },
  wanted?: string[],
  kind: MapKind = 'label map',
): FilePair[] {
  const { read, called } = MAP_FILES[kind];
  const isMap = (file: string): boolean => read.includes(extname(file).toLowerCase());
  const images = byStem(files.images);
  const maps = byStem(files.maps.filter(isMap));
  const others = files.maps.filter((file) => !isMap(file));
  const stems = (wanted?.map(sameForm) ?? [...images.byStem.keys()]).slice().sort();
  const withoutMap = stems.filter((stem) => images.byStem.has(stem) && !maps.byStem.has(stem));
  const missing = stems.filter((stem) => !images.byStem.has(stem));
  const withoutImage = wanted ? [] : [...maps.byStem.keys()].filter((stem) => !images.byStem.has(stem));
  const problems = [
    ...problem(
      `images without a ${kind} in ${folders.maps}`,
      withoutMap.map((stem) => images.byStem.get(stem)!),
    ),
    ...problem(
      `${kind}s without an image in ${folders.images}`,
      withoutImage.map((stem) => maps.byStem.get(stem)!),
    ),
    ...problem(`listed images that are not in ${folders.images}`, missing),
    ...problem(`files beside the ${kind}s that are no ${called}`, wanted ? [] : others),
    ...problem('images that differ by their ending or Unicode form only', wanted ? [] : images.doubled),
    ...problem(`${kind}s that differ by their ending or Unicode form only`, wanted ? [] : maps.doubled),
  ];
  if (problems.length > 0) {
    throw new DataError(
      `${folders.images} and ${folders.maps} do not fit: ${problems.join('; ')}. ${advice(kind, withoutMap, withoutImage)}`,
      {
        images: folders.images,
        label_maps: folders.maps,
        without_label_map: withoutMap.slice(0, 20),
        without_image: withoutImage.slice(0, 20),
        missing: missing.slice(0, 20),
      },
    );
  }
  return stems.map((stem) => ({ image: images.byStem.get(stem)!, map: maps.byStem.get(stem)! }));
}

/** What to do; where the two sides' names differ in one way, that way. */
function advice(kind: MapKind, withoutMap: string[], withoutImage: string[]): string {
  const lower = new Map(withoutImage.map((stem) => [stem.toLowerCase(), stem]));
  const inCase = withoutMap.find((stem) => lower.has(stem.toLowerCase()));
  if (inCase !== undefined) {
    return `'${inCase}' and '${lower.get(inCase.toLowerCase())}' differ in upper and lower case: rename one side`;
  }
  const first = withoutImage[0];
  const prefix = first === undefined ? undefined : withoutMap.find((stem) => first.startsWith(stem));
  if (first !== undefined && prefix !== undefined) {
    return `${kind === 'label map' ? 'Label' : 'Depth'} maps seem to have '${first.slice(prefix.length)}' after the image's name: rename them`;
  }
  return `An image and its ${kind} have the same name but for the ending: rename or copy what is missing, remove what is too much`;
}

/** What a source of images and maps is made of. */
export interface MapSource {
  uri: string;
  split: Split;
  /** What file names are relative to. */
  root: string;
  pairs: FilePair[];
  /** Black and white of deep images (see DecodeOptions). */
  range?: DecodeOptions['range'];
}

/** What every source of matched files has; images are read as stored, since their maps lie on the stored pixels. `settings` say what the maps mean. */
export function mapSource(
  { uri, split, root, pairs, range }: MapSource,
  settings: ImageSource['settings'],
): ImageSource {
  const decoding: DecodeOptions = { orientation: 'stored', range };
  return {
    uri,
    split,
    length: pairs.length,
    name: (i) => join(root, pairs[i]!.image),
    read: (i) => decodeImage(join(root, pairs[i]!.image), decoding),
    readUpright: (i) => decodeImage(join(root, pairs[i]!.image), { range }),
    settings: { ...settings, ...decodingSettings(decoding) },
    ...identities({
      root,
      images: pairs.map(({ image }) => image),
      maps: pairs.map(({ map }) => map),
      decoding,
    }),
  };
}

/** Decodes the map of image `i` and checks that it fits. Throws DataError naming the file. */
export async function readMap<M extends { height: number; width: number; orientation: number }>(
  { root, pairs }: MapSource,
  i: number,
  kind: MapKind,
  decode: (file: string) => Promise<M>,
): Promise<M> {
  const file = join(root, pairs[i]!.map);
  const map = await decode(file);
  await checkFit(file, kind, map, join(root, pairs[i]!.image));
  return map;
}

/**
 * Throws DataError where a map is not as large as its image's stored pixels, or carries an EXIF orientation that its image does not: image and
 * map are read as stored, neither is turned (as the official evaluation opens both with Pillow), and this would lay one sideways on the other.
 */
async function checkFit(
  file: string,
  kind: MapKind,
  map: { height: number; width: number; orientation: number },
  image: string,
): Promise<void> {
  const size = storedSize(image);
  const fits = map.height === size.height && map.width === size.width;
  if (fits && map.orientation === 1) return;
  const orientation = await orientationOf(image);
  const [ofMap, ofImage] = [shown(file), shown(image)];
  const advice = `images and ${kind}s are both read as stored, not turned: write both turned upright, without the tag`;
  if (fits && map.orientation !== orientation) {
    throw new DataError(
      `${ofMap} has the EXIF orientation ${map.orientation} but its image ${ofImage} ${orientation}; ${advice}`,
      { file },
    );
  }
  if (fits) return;
  const turned = map.height === size.width && map.width === size.height;
  const because =
    turned && (orientation >= 5 || map.orientation >= 5)
      ? `: it fits only once turned by the EXIF tag (orientation ${orientation >= 5 ? orientation : map.orientation}); ${advice}`
      : '';
  throw new DataError(
    `${ofMap} is ${map.width} x ${map.height} pixels but its image ${ofImage} is ${size.width} x ${size.height}${because}`,
    { file },
  );
}
