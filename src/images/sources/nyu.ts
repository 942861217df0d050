// `nyu:DIR`: NYU Depth v2 as it is extracted for depth estimation, images beside depth maps in millimetres, with its lists of files.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri } from '../source.js';
import { depthMapSource } from './files/depth_maps.js';
import { problem, readText } from './files/label_file.js';
import { checkFolder, listImages } from './files/listing.js';
import type { FilePair } from './files/map_files.js';
import { canonicalUri, SPLIT_OPTION, splitOption } from './uri.js';

export const nyu: SourceKind = {
  reads: 'NYU Depth v2 extracted to images and 16-bit PNG (the layout of BTS and AdaBins), with depth maps',
  place: 'DIR',
  example: 'nyu:/data/nyu?split=test',
  options: SPLIT_OPTION,
  open,
};

/** Where each split may lie below DIR, and the names of its list. */
const PLACES = {
  train: { folders: ['', 'train', 'sync'], lists: ['nyu_train.txt', 'nyudepthv2_train_files_with_gt.txt'] },
  test: {
    folders: ['', 'test', 'official_splits/test'],
    lists: ['nyu_test.txt', 'nyudepthv2_test_files_with_gt.txt'],
  },
} as const;
const MILLIMETRE = 0.001;

/**
 * Opens a split of `DIR`: the images of its list, whose lines are `SCENE/rgb_00045.jpg SCENE/sync_depth_00045.png 518.8579` (image, depth map, focal length,
 * which is not used; paths below DIR, or below train/, sync/, test/ or official_splits/test/ of it), in the order of the list. Without a list, all
 * `rgb_N` beside a `sync_depth_N` below train/ or test/ (or where they lie otherwise), in the order of their paths. Throws DataError for what is missing.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const split = splitOption(uri, options.split) ?? 'train';
  const root = resolve(uri.place);
  await checkFolder(root);
  const { folders, lists } = PLACES[split];
  const list = lists.find((name) => existsSync(join(root, name)));
  const pairs = list === undefined ? await listed(root, folders) : await fromList(root, list, folders);
  if (pairs.length === 0) {
    throw new DataError(
      `${shown(root)} has no ${split} images: expected ${lists[0]} with lines 'SCENE/rgb_00045.jpg SCENE/sync_depth_00045.png 518.8579', or such files below ${folders[1]}/`,
      { folder: root },
    );
  }
  return {
    ...depthMapSource({ uri: canonicalUri('nyu', root, { split }), split, root, pairs }, MILLIMETRE),
    nativeSize: { height: 480, width: 640 },
  };
}

/** The files of a list, relative to `root`. Throws DataError for lines that are none, and counts the files that are not there. */
async function fromList(root: string, list: string, folders: readonly string[]): Promise<FilePair[]> {
  const path = join(root, list);
  const lines = (await readText(path)).split(/\r\n|\n|\r/).filter((line) => line.trim() !== '');
  const written = lines.map((line) => {
    const [image, map] = line
      .trim()
      .split(/\s+/)
      .map((name) => name.replace(/^[\\/]+/, ''));
    if (image !== undefined && map !== undefined) return { image, map };
    throw new DataError(
      `${shown(path)} has the line '${shown(line.slice(0, 80))}'; expected image, depth map and focal length`,
      { file: path },
    );
  });
  const first = written[0]?.image;
  const below = first === undefined ? undefined : folders.find((name) => existsSync(join(root, name, first)));
  const pairs = written.map(({ image, map }) => ({
    image: join(below ?? '', image),
    map: join(below ?? '', map),
  }));
  const missing = pairs
    .flatMap(({ image, map }) => [image, map])
    .filter((name) => !existsSync(join(root, name)));
  if (missing.length === 0) return pairs;
  throw new DataError(
    `${shown(path)} does not fit ${shown(root)}: ${problem('files that are not there', missing)[0]}; extract them, or remove their lines`,
    { file: path, missing: missing.slice(0, 20) },
  );
}

/** Images with a depth map beside them, below the first of the folders that has any: `rgb_N` and `sync_depth_N`. */
async function listed(root: string, folders: readonly string[]): Promise<FilePair[]> {
  for (const folder of folders.filter((name) => name !== '')) {
    if (!existsSync(join(root, folder))) continue;
    const files = new Set(await listImages(join(root, folder)));
    const images = [...files].filter((name) => /(^|\/)rgb_[^/]*$/.test(name));
    const pairs = images.map((image) => ({
      image,
      map: image.replace(/rgb_([^/]*)\.[^.]*$/, 'sync_depth_$1.png'),
    }));
    const without = pairs.filter(({ map }) => !files.has(map)).map(({ image }) => image);
    if (without.length > 0) {
      throw new DataError(
        `${shown(join(root, folder))} has ${problem('images without a depth map', without)[0]}: extract them again`,
        {
          folder: root,
        },
      );
    }
    if (pairs.length > 0) {
      return pairs.map(({ image, map }) => ({ image: `${folder}/${image}`, map: `${folder}/${map}` }));
    }
  }
  return [];
}
