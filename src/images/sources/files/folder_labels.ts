// The labels of a folder's images: those of its label file, else of its class folders, else none; with everything that is odd about them.

import { shown } from '../../../base/text.js';
import { DataError } from '../../../errors.js';
import type { LeftOut } from '../../source.js';
import { LABEL_FILES, type LabelFile, numberLabels, readLabelFile } from './label_file.js';
import { type Listing, leftOut, phrase, sameForm } from './listing.js';
import { quoted } from './parts.js';

/** Labels of a part's images. */
export interface FolderLabels {
  classes?: string[];
  /** For every file; empty where it has none. */
  labels?: number[][];
  labelFile?: LabelFile;
  /** Whether class folders gave the labels. */
  byFolder: boolean;
  leftOut: LeftOut[];
  remarks: string[];
  /** Why there are no labels. */
  unlabelled?: string;
}

/**
 * Labels of the files of `part`. `known` are the classes of the train part, by which a test part is labelled; `numbers` says that numbers in a
 * label file are places among their sorted names. With two class folders or more, images that lie beside them have no label.
 * Throws DataError for labels and class folders that are no class.
 */
export async function folderLabels(
  part: string,
  listing: Listing,
  { known, numbers }: { known?: string[]; numbers?: string },
): Promise<FolderLabels> {
  const { files, folders } = listing;
  const names = files.map(folderOf);
  const own = [...new Set(names.filter((name) => name !== undefined))].sort();
  const loose = files.filter((_, i) => names[i] === undefined);
  const byFolder = own.length > 0 && (loose.length === 0 || own.length > 1);
  const labelFile = await readLabelFile(part, files, byFolder);
  const base = { byFolder: false, leftOut: [] as LeftOut[], remarks: [] as string[] };
  if (labelFile) {
    const numbered = numberLabels(labelFile, known, numbers);
    const without = files.filter((_, i) => numbered.labels[i]!.length === 0);
    return {
      ...base,
      ...numbered,
      labelFile,
      leftOut: leftOut('images without a label', without),
      remarks: alike(part, numbered.classes),
    };
  }
  const lists = listing.labelFiles.filter((name) => LABEL_FILES.includes(name));
  base.leftOut.push(...leftOut('label files that name none of the images', lists));
  if (!byFolder) {
    return {
      ...base,
      unlabelled: `${whyNone(part, files, loose, own)}${unread(listing)}`,
      remarks: backslashes(part, files),
    };
  }
  const classes = known ?? own;
  const index = new Map(classes.map((name, i) => [name, i]));
  const strange = own.filter((name) => !index.has(name));
  if (strange.length > 0) {
    const near = classes.find((name) => loosely(name) === loosely(strange[0]!));
    throw new DataError(
      `${shown(part)} has ${strange.length === 1 ? 'the class folder' : `${strange.length} class folders,`} ${quoted(strange)}${strange.length === 1 ? ', which' : ', that'} the train images do not have${near === undefined ? '' : `; theirs is called '${shown(near)}'`}`,
      { folder: part },
    );
  }
  const empty = folders.filter((name) => !own.includes(sameForm(name)));
  return {
    classes,
    labels: names.map((name) => (name === undefined ? [] : [index.get(name)!])),
    byFolder: true,
    leftOut: [
      ...base.leftOut,
      ...leftOut(
        'class folders without images',
        empty.map((name) => `${name}/`),
      ),
      ...leftOut('images beside the class folders, without a label', loose),
    ],
    remarks: alike(part, own),
  };
}

/** The first-level folder of a path, in the form in which names are compared. */
function folderOf(file: string): string | undefined {
  const slash = file.indexOf('/');
  return slash < 0 ? undefined : sameForm(file.slice(0, slash));
}

const loosely = (name: string): string => name.normalize('NFKC').trim().toLowerCase();

/** A remark on classes whose names differ in case or white space only. */
function alike(part: string, classes: readonly string[]): string[] {
  const first = new Map<string, string>();
  const pairs: string[] = [];
  for (const name of classes) {
    const other = first.get(loosely(name));
    if (other === undefined) first.set(loosely(name), name);
    else pairs.push(`'${shown(other)}' and '${shown(name)}'`);
  }
  if (pairs.length === 0) return [];
  return [
    `${shown(part)} has classes whose names differ in upper and lower case or white space only: ${pairs.slice(0, 3).join(', ')}${pairs.length > 3 ? ', …' : ''}`,
  ];
}

/** Lists that hold labels under names that are not read: labels.tsv, Labels.csv. */
function unread({ leftOut }: Listing): string {
  const lists = leftOut
    .flatMap(({ examples }) => examples)
    .filter((name) => /\.(csv|tsv|txt|jsonl?)$/i.test(name));
  return lists.length === 0
    ? ''
    : `; labels are read from ${LABEL_FILES.join(' or ')} alone, not from ${quoted(lists)}`;
}

/** A remark on names that an archive made on Windows gave: `train\\cat\\1.png` is one name here, without folders. */
function backslashes(part: string, files: readonly string[]): string[] {
  const names = files.filter((file) => file.includes('\\'));
  if (names.length === 0) return [];
  return [
    `${shown(part)} has ${names.length} images with a backslash in their names (${shown(names[0]!)}), which makes no folders here: unpack the archive again with a program that does, such as bsdtar or 7z`,
  ];
}

function whyNone(part: string, files: string[], loose: string[], own: string[]): string {
  if (own.length === 0) return `${shown(part)} has no class folders and no labels.csv`;
  const [stray] = leftOut(
    `of its ${files.length} images lie beside its one class folder ${quoted(own)}`,
    loose,
  );
  return `${shown(part)} has no classes, since ${phrase(stray!)}`;
}
