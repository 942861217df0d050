// `folder:DIR`: image files in class folders or flat, in train and test parts where the folder has them.

import { join, resolve } from 'node:path';
import { DataError } from '../errors.js';
import { type LabelFile, numberLabels, readLabelFile } from './label-file.js';
import { checkFolder, findParts, identityOfFiles, listImages } from './listing.js';
import { decodeImage } from './pixels.js';
import type { ImageSource, SourceOptions } from './source.js';
import { canonicalUri, checkOptions, type SourceUri, splitOption } from './uri.js';

const KINDS = 'JPEG, PNG, WebP or TIFF';

/**
 * Opens a folder of images. `train/` and `test/` (or `val/`) inside it are its splits; without them it is one split, `all`. Where
 * all images lie in subfolders, the first level names the classes (those of the train part, sorted); otherwise there are no labels, unless
 * the folder of the images (of the split) holds a file `labels.csv` or `labels.txt` (see readLabelFile), which counts before subfolders.
 * Files are ordered by their path, character code by character code. Throws DataError for a folder that is missing, empty, or lacks the asked split.
 */
export async function openFolder(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  checkOptions(uri, ['split']);
  const root = resolve(uri.place);
  await checkFolder(root);
  const { train, test } = await findParts(root);
  const divided = train !== undefined || test !== undefined;
  const wanted = splitOption(uri, options.split) ?? (train || !test ? 'train' : 'test');
  const whole = !divided && options.whole && !uri.query.has('split');
  if (wanted === 'test' && !test && !whole) {
    throw new DataError(
      `${root} has no test images: it needs a subfolder test or val${divided ? '' : ' beside train; as it is, all its images are one split'}`,
      { folder: root },
    );
  }
  if (divided && wanted === 'train' && !train) {
    throw new DataError(`${root} has no train images: it has ${test}/ but no subfolder train`, {
      folder: root,
    });
  }
  const split = divided ? wanted : 'all';
  const part = divided ? join(root, (wanted === 'train' ? train : test)!) : root;
  const files = await listImages(part);
  if (files.length === 0) {
    throw new DataError(`${part} holds no images: put ${KINDS} files into it, in class folders or flat`, {
      folder: part,
    });
  }
  const trainClasses = split === 'test' && train ? await classesOfPart(join(root, train)) : undefined;
  const { classes, labels, labelFile } = await labelsOfPart(part, files, trainClasses);
  return {
    uri: canonicalUri('folder', root, { split: divided ? split : undefined }),
    split,
    length: files.length,
    classes,
    name: (i) => join(part, files[i]!),
    label: labels ? (i) => labels[i]![0] : undefined,
    labels: labels ? (i) => labels[i]! : undefined,
    read: (i) => decodeImage(join(part, files[i]!)),
    identity: () => identityOfFiles(part, files, ...(labelFile ? [labelFile.text] : [])),
  };
}

/** Class names of the train part, by which its test part is labelled. */
async function classesOfPart(part: string): Promise<string[] | undefined> {
  return (await labelsOfPart(part, await listImages(part), undefined)).classes;
}

/** Labels of a part's images: those of its label file, else of its class folders, else none. */
async function labelsOfPart(
  part: string,
  files: string[],
  known: string[] | undefined,
): Promise<{ classes?: string[]; labels?: number[][]; labelFile?: LabelFile }> {
  const own = classesOf(files);
  const labelFile = await readLabelFile(part, files, own !== undefined);
  if (labelFile) return { ...numberLabels(labelFile, known), labelFile };
  if (!own) return {};
  const classes = known ?? own;
  return { classes, labels: labelFiles(files, classes, part) };
}

/** The sorted first-level folder names, where every file lies in one. */
function classesOf(files: string[]): string[] | undefined {
  const names = new Set<string>();
  for (const file of files) {
    const slash = file.indexOf('/');
    if (slash < 0) return undefined;
    names.add(file.slice(0, slash));
  }
  return [...names].sort();
}

function labelFiles(files: string[], classes: string[], part: string): number[][] {
  const lists = new Map(classes.map((name, i) => [name, [i]]));
  return files.map((file) => {
    const name = file.slice(0, file.indexOf('/'));
    const list = lists.get(name);
    if (list === undefined) {
      throw new DataError(`${part} has the class folder '${name}', which the train images do not have`, {
        folder: part,
      });
    }
    return list;
  });
}
