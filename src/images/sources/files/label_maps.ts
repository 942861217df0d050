// Images with label maps in files: matching them by name, telling everything that does not fit at once, and the source made of them.

import { extname, join } from 'node:path';
import { shown } from '../../../base/text.js';
import { DataError } from '../../../errors.js';
import {
  type DecodeOptions,
  decodeImage,
  decodeLabelMap,
  orientationOf,
  storedSize,
} from '../../decode/pixels.js';
import type { LabelMap } from '../../decode/resample.js';
import { paletteCheck } from '../../read/palettes.js';
import type { ImageSource, LeftOut, Split } from '../../source.js';
import { decodingSettings, identities, mapSettings } from './contents.js';
import { problem } from './label_file.js';
import { isFolder, listFolder, sameForm, stemOf } from './listing.js';

/** An image file and its label map, relative to the root of their source. */
export interface FilePair {
  image: string;
  map: string;
}

/** Files of a folder of images and of one of label maps. Throws one DataError for all folders that are missing, or when both are empty. */
export async function listTwo(
  root: string,
  folders: { images: string; maps: string },
  expected: string,
): Promise<{ images: string[]; maps: string[]; leftOut: LeftOut[] }> {
  const missing: string[] = [];
  for (const folder of [folders.images, folders.maps]) {
    if (!(await isFolder(join(root, folder)))) missing.push(folder);
  }
  if (missing.length > 0) {
    throw new DataError(
      `${root} has no ${missing.map((folder) => `${folder}/`).join(' and no ')}: ${expected}`,
      {
        folder: root,
        missing,
      },
    );
  }
  const listed = [
    await listFolder(join(root, folders.images)),
    await listFolder(join(root, folders.maps)),
  ] as const;
  const files = {
    images: listed[0].files,
    maps: listed[1].files,
    leftOut: [...listed[0].leftOut, ...listed[1].leftOut],
  };
  if (files.images.length === 0 && files.maps.length === 0) {
    throw new DataError(`${join(root, folders.images)} holds no images: ${expected}`, { folder: root });
  }
  return files;
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

const isPng = (file: string): boolean => extname(file).toLowerCase() === '.png';

/**
 * Matches images with label maps by the path below their folders, endings aside, in the order of that path. `wanted` restricts them to these
 * stems; without it every file must have its other half. Throws one DataError that counts everything wrong, with the first names of each
 * kind: images without a label map and label maps without an image, wanted ones that are missing, label maps that are no PNG, several
 * files of one stem.
 */
export function pairFiles(
  folders: { images: string; maps: string },
  files: { images: string[]; maps: string[] },
  wanted?: string[],
): FilePair[] {
  const images = byStem(files.images);
  const maps = byStem(files.maps.filter(isPng));
  const notPng = files.maps.filter((file) => !isPng(file));
  const stems = (wanted?.map(sameForm) ?? [...images.byStem.keys()]).slice().sort();
  const withoutMap = stems.filter((stem) => images.byStem.has(stem) && !maps.byStem.has(stem));
  const missing = stems.filter((stem) => !images.byStem.has(stem));
  const withoutImage = wanted ? [] : [...maps.byStem.keys()].filter((stem) => !images.byStem.has(stem));
  const problems = [
    ...problem(
      `images without a label map in ${folders.maps}`,
      withoutMap.map((stem) => images.byStem.get(stem)!),
    ),
    ...problem(
      `label maps without an image in ${folders.images}`,
      withoutImage.map((stem) => maps.byStem.get(stem)!),
    ),
    ...problem(`listed images that are not in ${folders.images}`, missing),
    ...problem('files beside the label maps that are no PNG', wanted ? [] : notPng),
    ...problem('images that differ by their ending or Unicode form only', wanted ? [] : images.doubled),
    ...problem('label maps that differ by their ending or Unicode form only', wanted ? [] : maps.doubled),
  ];
  if (problems.length > 0) {
    throw new DataError(
      `${folders.images} and ${folders.maps} do not fit: ${problems.join('; ')}. ${advice(withoutMap, withoutImage)}`,
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
function advice(withoutMap: string[], withoutImage: string[]): string {
  const lower = new Map(withoutImage.map((stem) => [stem.toLowerCase(), stem]));
  const inCase = withoutMap.find((stem) => lower.has(stem.toLowerCase()));
  if (inCase !== undefined) {
    return `'${inCase}' and '${lower.get(inCase.toLowerCase())}' differ in upper and lower case: rename one side`;
  }
  const first = withoutImage[0];
  const prefix = first === undefined ? undefined : withoutMap.find((stem) => first.startsWith(stem));
  if (first !== undefined && prefix !== undefined) {
    return `Label maps seem to have '${first.slice(prefix.length)}' after the image's name: rename them`;
  }
  return 'An image and its label map have the same name but for the ending: rename or copy what is missing, remove what is too much';
}

/** What a source of images and label maps is made of. */
export interface LabelMapSource {
  uri: string;
  split: Split;
  /** What file names are relative to. */
  root: string;
  pairs: FilePair[];
  /** Names of the labels from 0. */
  classes: string[];
  ignoreLabels: number[];
  /** Black and white of deep images (see DecodeOptions). */
  range?: DecodeOptions['range'];
}

/**
 * The source of matched files. Its label maps throw DataError, naming the file, where they are not as large as their image or hold a label
 * that is neither of a class nor ignored.
 */
export function labelMapSource(made: LabelMapSource): ImageSource {
  const { uri, split, root, pairs, classes, ignoreLabels, range } = made;
  const allowed = new Uint8Array(256);
  allowed.fill(1, 0, classes.length);
  for (const label of ignoreLabels) allowed[label] = 1;
  const checkPalette = paletteCheck();
  const decoding: DecodeOptions = { orientation: 'stored', range };
  return {
    uri,
    split,
    length: pairs.length,
    labelMapClasses: classes,
    ignoreLabels,
    name: (i) => join(root, pairs[i]!.image),
    read: (i) => decodeImage(join(root, pairs[i]!.image), decoding),
    readUpright: (i) => decodeImage(join(root, pairs[i]!.image), { range }),
    async labelMap(i) {
      const file = join(root, pairs[i]!.map);
      const image = join(root, pairs[i]!.image);
      const map = await decodeLabelMap(file);
      await checkFit(file, map, image);
      checkLabels(file, map, allowed, made);
      checkPalette(file, map);
      return map;
    },
    settings: { ...mapSettings(classes, ignoreLabels), ...decodingSettings(decoding) },
    ...identities({
      root,
      images: pairs.map(({ image }) => image),
      maps: pairs.map(({ map }) => map),
      decoding,
    }),
  };
}

/**
 * Throws DataError where a label map is not as large as its image's stored pixels, or carries an EXIF orientation that its image does not: image and
 * map are read as stored, neither is turned (as the official evaluation opens both with Pillow), and this would lay one sideways on the other.
 */
async function checkFit(file: string, map: LabelMap & { orientation: number }, image: string): Promise<void> {
  const size = storedSize(image);
  const fits = map.height === size.height && map.width === size.width;
  if (fits && map.orientation === 1) return;
  const orientation = await orientationOf(image);
  const [ofMap, ofImage] = [shown(file), shown(image)];
  const advice =
    'images and label maps are both read as stored, not turned: write both turned upright, without the tag';
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

function checkLabels(
  file: string,
  map: LabelMap,
  allowed: Uint8Array,
  { classes, ignoreLabels }: LabelMapSource,
): void {
  if (map.data.every((label) => allowed[label] === 1)) return;
  const strange = [...new Set(map.data)].filter((label) => allowed[label] !== 1).sort((a, b) => a - b);
  const ignored = ignoreLabels.length > 0 ? `ignored are ${ignoreLabels.join(', ')}` : 'none are ignored';
  throw new DataError(
    `${file} holds ${strange.length === 1 ? 'the label' : 'the labels'} ${strange.slice(0, 5).join(', ')}${strange.length > 5 ? ', …' : ''}; labels go from 0 to ${classes.length - 1}, ${ignored}`,
    { file, labels: strange },
  );
}
