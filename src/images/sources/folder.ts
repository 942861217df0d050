// `folder:DIR`: image files in class folders or flat, in train, val and test parts where the folder has them.

import { join, resolve } from 'node:path';
import { shown } from '../../base/text.js';
import { DataError, UsageError } from '../../errors.js';
import { decodeImage } from '../decode/pixels.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri, Split } from '../source.js';
import { decodingSettings, identities } from './files/contents.js';
import { type FolderLabels, folderLabels } from './files/folder_labels.js';
import { HOLD_OUT_OPTIONS, type HoldOut, heldOut, holdOutOption, holdOutSettings } from './files/hold_out.js';
import { checkFolder, type Listing, listFolder } from './files/listing.js';
import {
  askedPart,
  choosePart,
  findParts,
  isDivided,
  lacksPart,
  PART_OPTIONS,
  type Parts,
  partOf,
  refusePartsAsClasses,
  testPart,
} from './files/parts.js';
import { canonicalUri, RANGE_OPTION, rangeOption } from './uri.js';

export const folder: SourceKind = {
  reads: 'JPEG, PNG, WebP and TIFF files in class folders or flat (with labels.csv)',
  place: 'DIR',
  example: 'folder:/data/imagenet?split=train',
  options: {
    ...PART_OPTIONS,
    ...HOLD_OUT_OPTIONS,
    numbers: 'sorted: numbers in a label file are places among the sorted class names',
    classes: 'own: a test set is predicted among its own classes',
    ...RANGE_OPTION,
  },
  open,
};

const KINDS = 'JPEG, PNG, WebP or TIFF';

/**
 * Opens a folder of images. `train/`, `val/` and `test/` inside it (in any case and under their usual names, see findParts) are its parts;
 * the test split is test/, or val/ where there is none, and `?split=val` names val. Without parts it is one split, `all`; `?parts=none` says that folders
 * of such names are classes, `?holdout=0.2` makes a test split of a share of the images. Where images lie in subfolders, the first level
 * names the classes (those of the train part, sorted; see folderLabels), unless the folder of the images (of the split) holds a file
 * `labels.csv` or `labels.txt` (see readLabelFile), which counts before subfolders. Names are compared in one Unicode form. Files are ordered by
 * their path, character code by character code. `?range=0,4095` says which values of images of 16 bits or floats are black and white. `?classes=own` is for a test set of some of the classes: its images are then predicted among those
 * alone, else among all that were learnt. Throws DataError for a folder that is missing, empty, or lacks the asked split.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const decoding = { range: rangeOption(uri) };
  const numbers = uri.query.get('numbers');
  if (numbers !== undefined && numbers !== 'sorted') {
    throw new UsageError(
      `Image source '${uri.text}' has numbers=${numbers}; it must be sorted: number 0 in a label file is then the first class of the train part's sorted names`,
    );
  }
  const amongOwn = ownClasses(uri);
  const holdOut = holdOutOption(uri);
  const root = resolve(uri.place);
  await checkFolder(root);
  const parts = await findParts(root, uri);
  const { split, folder, name } = partToOpen(uri, options, root, parts, holdOut);
  const part = folder === undefined ? root : join(root, folder);
  const listing = (folder === undefined ? parts.listing : undefined) ?? (await listFolder(part));
  if (listing.files.length === 0) {
    throw new DataError(
      `${shown(part)} holds no images: put ${KINDS} files into it, in class folders or flat${sawInstead(listing)}`,
      { folder: part },
    );
  }
  const ofTrain =
    split === 'test' && !holdOut && parts.train !== undefined ? join(root, parts.train) : undefined;
  const training = ofTrain === undefined ? undefined : await listFolder(ofTrain);
  const known = training && (await folderLabels(ofTrain!, training, {}));
  if (known?.byFolder) refusePartsAsClasses(ofTrain!, known.classes ?? [], training!.files);
  const found = await folderLabels(part, listing, {
    ...(known?.classes ? { known: known.classes } : {}),
    ...(numbers ? { numbers } : {}),
  });
  if (folder !== undefined && found.byFolder) refusePartsAsClasses(part, found.classes ?? [], listing.files);
  const groups = found.labels?.map(([first]) => first);
  const chosen = holdOut && heldOut(listing.files, groups, holdOut, split as 'train' | 'test');
  const files = chosen ? chosen.map((i) => listing.files[i]!) : listing.files;
  if (files.length === 0) {
    throw new DataError(`${uri.text} leaves no ${split} images of ${listing.files.length}: change holdout`);
  }
  const own = chosen && found.labels ? chosen.map((i) => found.labels![i]!) : found.labels;
  const { classes, labels } = amongOwn
    ? occurring(found.classes, own)
    : { classes: found.classes, labels: own };
  const held = holdOutSettings(holdOut);
  const settings = {
    ...decodingSettings(decoding),
    ...held,
    ...(numbers ? { numbers } : {}),
    ...(amongOwn ? { predicted_among: 'the classes of the test set' } : {}),
  };
  return {
    uri: canonicalUri('folder', root, {
      split: holdOut ? split : name,
      parts: uri.query.get('parts'),
      ...held,
      numbers,
      classes: amongOwn ? 'own' : undefined,
      range: decoding.range?.join(','),
    }),
    split,
    length: files.length,
    ...(classes ? { classes } : {}),
    leftOut: [...parts.beside, ...listing.leftOut, ...found.leftOut],
    remarks: found.remarks,
    settings,
    ...(amongOwn ? { amongOwn } : {}),
    ...(found.unlabelled === undefined
      ? {}
      : { unlabelled: `${found.unlabelled}${await valInstead(root, parts, folder, known)}` }),
    name: (i) => join(part, files[i]!),
    label: labels ? (i) => labels[i]![0] : undefined,
    labels: labels ? (i) => labels[i]! : undefined,
    read: (i) => decodeImage(join(part, files[i]!), decoding),
    ...identities({
      decoding,
      root: part,
      images: files,
      ...(labels ? { labels: (i: number) => labels[i]!.map((label) => classes![label]!) } : {}),
      labelText: found.labelFile?.text,
    }),
  };
}

/** Whether `classes=own` stands in the URI. Throws UsageError for other words. */
function ownClasses(uri: SourceUri): true | undefined {
  const text = uri.query.get('classes');
  if (text === undefined) return undefined;
  if (text === 'own') return true;
  throw new UsageError(
    `Image source '${uri.text}' has classes=${text}; it may be classes=own, so that a test set is predicted among its own classes`,
  );
}

/** Labels by the classes that occur among them alone. */
function occurring(
  classes: string[] | undefined,
  labels: number[][] | undefined,
): { classes?: string[] | undefined; labels?: number[][] | undefined } {
  if (!classes || !labels) return { classes, labels };
  const used = [...new Set(labels.flat())].sort((a, b) => a - b);
  const place = new Map(used.map((label, i) => [label, i]));
  return {
    classes: used.map((label) => classes[label]!),
    labels: labels.map((list) => list.map((label) => place.get(label)!)),
  };
}

/** The split that is opened, its folder below the root (undefined: the root), and the split's name in the canonical URI. */
function partToOpen(
  uri: SourceUri,
  options: SourceOptions,
  root: string,
  parts: Parts,
  holdOut: HoldOut | undefined,
): { split: Split; folder?: string | undefined; name?: string } {
  const asked = askedPart(uri, options.split);
  if (holdOut) {
    const own = testPart(parts);
    if (own !== undefined) {
      throw new UsageError(
        `Image source '${uri.text}' holds images out, but ${shown(root)} has a test part, ${shown(own)}/: leave out holdout, or name the folder ${shown(parts.train ?? '')}/ itself`,
      );
    }
    return { split: asked === undefined || asked === 'train' ? 'train' : 'test', folder: parts.train };
  }
  if (!isDivided(parts)) {
    if (!lacksPart(uri, options, asked)) return { split: 'all' };
    throw new DataError(
      `${shown(root)} has no ${asked} images: it needs a subfolder test or val beside train; as it is, all its images are one split (folder:DIR?holdout=0.2 holds a fifth of them out)`,
      { folder: root },
    );
  }
  const chosen = choosePart(parts, asked);
  if (chosen.folder !== undefined) return chosen;
  const there = [parts.train, parts.val, parts.test].filter((name) => name !== undefined);
  throw new DataError(
    `${shown(root)} has no ${chosen.wanted} images: it has ${there.map((name) => `${shown(name)}/`).join(' and ')} but no subfolder ${chosen.wanted === 'test' ? 'test or val beside it (folder:DIR?holdout=0.2 holds a fifth of the images out)' : chosen.wanted}`,
    { folder: root },
  );
}

/** Where a test part without labels lies beside a val part that has them: what to ask for. */
async function valInstead(
  root: string,
  { val, test }: Parts,
  folder: string | undefined,
  known: FolderLabels | undefined,
): Promise<string> {
  if (!known?.classes || val === undefined || folder !== test || test === undefined) return '';
  const { classes } = await folderLabels(join(root, val), await listFolder(join(root, val)), {});
  if (!classes || partOf(classes[0]!)) return '';
  return `; ${shown(val)}/ beside it has: test on folder:${shown(root)}?split=val`;
}

/** What an empty folder holds instead of images. */
const sawInstead = ({ leftOut }: Listing): string =>
  leftOut.length === 0 ? '' : `; it has ${leftOut.map(({ count, what }) => `${count} ${what}`).join(', ')}`;
