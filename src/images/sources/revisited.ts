// `revisited:DIR`: ROxford and RParis, a database of images and queries with easy, hard and junk images (Radenović et al., CVPR 2018).

import { join, resolve } from 'node:path';
import { readRegular } from '../../base/files/read.js';
import { NUMPY_GLOBALS, NumpyArray } from '../../base/pickle/numpy.js';
import { PickleDict, readPickle } from '../../base/pickle/pickle.js';
import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import { decodeImage } from '../decode/pixels.js';
import { crop, type RawImage, roundHalfEven } from '../decode/resample.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri } from '../source.js';
import { decodingSettings, identities } from './files/contents.js';
import { problem, readText } from './files/label_file.js';
import { checkFolder, isFolder, leftOut, listFolder, listNames, sameForm, stemOf } from './files/listing.js';
import { canonicalUri, splitOption } from './uri.js';

export const revisited: SourceKind = {
  reads: 'ROxford and RParis, or own data in their layout (jpg/ and gnd_NAME.pkl or .json), for retrieval',
  place: 'DIR',
  example: 'revisited:/data/roxford5k',
  options: { split: 'train, the database, or test, the queries cut to their boxes' },
  open,
};

const FOLDER = 'jpg';
const MOST_BYTES = 2 ** 26;
/** Images are read as stored: boxes lie on the stored pixels. */
const STORED = { orientation: 'stored' } as const;

/** What a ground truth says: names of the database and of the queries, and for each query its box (x from, y from, x to, y to) and images. */
interface GroundTruth {
  images: string[];
  queries: string[];
  boxes: number[][];
  lists: Record<(typeof ROLES)[number], number[]>[];
}

/**
 * Opens the database (the train split) or the queries (the test split). The ground truth `gnd_*.pkl` holds `imlist`, `qimlist` and `gnd`, a list of
 * dicts with `bbx`, `easy`, `hard` and `junk` (lists or NumPy arrays); a `.json` may hold the same. Images are those of `jpg/` by name, with or
 * without their ending. Throws DataError for files that are missing or do not fit.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const split = splitOption(uri, options.split) ?? 'train';
  const root = resolve(uri.place);
  const file = await findGroundTruth(root);
  const { images, queries, boxes, lists } = await readGroundTruth(file);
  const { files, leftOut: passed } = await listFolder(join(root, FOLDER));
  const found = new Map(files.flatMap((name) => [name, stemOf(name)].map((key) => [sameForm(key), name])));
  const missing = [...images, ...queries].filter((name) => !found.has(sameForm(name)));
  if (missing.length > 0) {
    throw new DataError(
      `${shown(file)} does not fit ${shown(join(root, FOLDER))}: ${problem('images that are not there', missing)[0]}; extract them all`,
      { file, missing: missing.slice(0, 20) },
    );
  }
  const pathOf = (name: string): string => `${FOLDER}/${found.get(sameForm(name))!}`;
  const names = (split === 'train' ? images : queries).map(pathOf);
  const source = {
    uri: canonicalUri('revisited', root, { split }),
    split,
    length: names.length,
    settings: decodingSettings(STORED),
    name: (i: number) => join(root, names[i]!),
  };
  if (split === 'train') {
    const named = new Set([...images, ...queries].map(pathOf));
    const others = files.filter((name) => !named.has(`${FOLDER}/${name}`));
    return {
      ...source,
      queries: { uri: canonicalUri('revisited', root, { split: 'test' }), truth: lists },
      leftOut: [...leftOut('images that the ground truth does not name', others), ...passed],
      read: (i) => decodeImage(join(root, names[i]!), STORED),
      ...identities({ root, images: names, decoding: STORED }),
    };
  }
  // Known by boxes and lists too. There is no identity of the images alone: what features see of a file is its box.
  const said = (q: number): string[] => [JSON.stringify(boxes[q]), JSON.stringify(lists[q])];
  const { identity } = identities({ root, images: names, labels: said, decoding: STORED });
  return {
    ...source,
    identity,
    read: async (q) => cut(await decodeImage(join(root, names[q]!), STORED), boxes[q]!, source.name(q)),
  };
}

const ROLES = ['easy', 'hard', 'junk'] as const;

/** The box of a query as Pillow's `crop` takes it, its ends rounded to the even; what lies outside of the image is cut off. Throws DataError where nothing is left. */
function cut(image: RawImage, box: readonly number[], name: string): RawImage {
  const [left, top, right, bottom] = box.map((end, k) =>
    Math.min(k % 2 === 0 ? image.width : image.height, Math.max(0, roundHalfEven(end))),
  ) as [number, number, number, number];
  if (right <= left || bottom <= top) {
    throw new DataError(
      `${shown(name)} is ${image.width} x ${image.height} pixels, its query box (${box.join(', ')}) outside of it`,
    );
  }
  return crop(image, { top, left, height: bottom - top, width: right - left });
}

async function findGroundTruth(root: string): Promise<string> {
  await checkFolder(root);
  const found = (await listNames(root)).filter((name) => /^gnd_.*\.(pkl|json)$/.test(name));
  const images = await isFolder(join(root, FOLDER));
  if (found.length === 1 && images) return join(root, found[0]!);
  throw new DataError(
    found.length > 1
      ? `${shown(root)} has ${found.map(shown).join(' and ')}: keep one ground truth`
      : `${shown(root)} has no ${found.length === 0 ? 'gnd_NAME.pkl or gnd_NAME.json' : `${FOLDER}/`}: expected the layout of ROxford, ${FOLDER}/ with the images beside gnd_roxford5k.pkl`,
    { folder: root },
  );
}

/** Reads a ground truth. Throws DataError, naming the file, for what it lacks or does not mean. */
async function readGroundTruth(file: string): Promise<GroundTruth> {
  const wrong = (what: string): DataError =>
    new DataError(
      `${shown(file)} ${what}; expected imlist, qimlist and gnd, a list with bbx, easy, hard and junk for each query`,
      { file },
    );
  const root = file.endsWith('.pkl') ? fromPickle(file) : await fromJson(file);
  const texts = (key: string): string[] => {
    const list = member(root, key);
    if (Array.isArray(list) && list.length > 0 && list.every((name) => typeof name === 'string')) return list;
    throw wrong(`has no names in ${key}`);
  };
  const images = texts('imlist');
  const queries = texts('qimlist');
  const gnd = member(root, 'gnd');
  if (!Array.isArray(gnd) || gnd.length !== queries.length) {
    throw wrong(`has ${Array.isArray(gnd) ? gnd.length : 'no'} entries in gnd for ${queries.length} queries`);
  }
  const boxes = gnd.map((entry, q) => {
    const box = numbers(member(entry, 'bbx'));
    if (box?.length === 4 && box.every(Number.isFinite) && box[2]! > box[0]! && box[3]! > box[1]!) return box;
    throw wrong(`has no box (x from, y from, x to, y to) in bbx of query ${q}`);
  });
  const lists = gnd.map((entry, q) => {
    const byRole = ROLES.map((role) => {
      const list = numbers(member(entry, role));
      if (list?.every((i) => Number.isInteger(i) && i >= 0 && i < images.length))
        return [role, list] as const;
      throw wrong(`has in ${role} of query ${q} what is no list of images from 0 to ${images.length - 1}`);
    });
    return Object.fromEntries(byRole) as Record<(typeof ROLES)[number], number[]>;
  });
  return { images, queries, boxes, lists };
}

function fromPickle(file: string): unknown {
  return readPickle(readRegular(file, MOST_BYTES), {
    path: shown(file),
    globals: NUMPY_GLOBALS,
    content: 'arrays of numbers',
    mend: 'load it in Python and save the same as JSON',
  });
}

async function fromJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readText(file));
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`${shown(file)} is no JSON: ${(error as Error).message}`, { file });
  }
}

/** A member of a dict of a pickle or of an object of JSON. */
function member(of: unknown, key: string): unknown {
  if (of instanceof PickleDict) return of.get(key);
  return typeof of === 'object' && of !== null && Object.hasOwn(of, key)
    ? (of as Record<string, unknown>)[key]
    : undefined;
}

/** A list or an array of numbers; undefined for anything else. */
function numbers(value: unknown): number[] | undefined {
  const list = value instanceof NumpyArray ? value.values : value;
  return Array.isArray(list) && list.every((one) => typeof one === 'number') ? [...list] : undefined;
}
