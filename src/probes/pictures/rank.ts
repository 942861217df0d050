// What is said of pictures whose features have fewer components than the pictures show.
import { type EncoderPictures, JOINT_COMPONENTS, OWN_COMPONENTS } from './draw.js';

const present = (explained: readonly number[]): number => explained.filter((share) => share > 0).length;

/** One line for the components of all images together, one for those of single images; none where all are there. */
export function rankNotes({
  images,
  jointExplained,
}: Pick<EncoderPictures, 'images' | 'jointExplained'>): string[] {
  const notes: string[] = [];
  const joint = present(jointExplained);
  if (joint < JOINT_COMPONENTS) {
    notes.push(
      joint === 0
        ? 'the features of all patches are equal: they have no principal components, and their pictures are flat'
        : `the features of all images together have ${joint} of ${JOINT_COMPONENTS} principal components; what the others would show is flat`,
    );
  }
  const own = images.map((image) => present(image.own.explained));
  const few = own.filter((n) => n < OWN_COMPONENTS);
  if (few.length > 0) {
    notes.push(
      `${few.length} of ${images.length} images have fewer than ${OWN_COMPONENTS} principal components of their own (the fewest: ${Math.min(...few)}); what the others would show is flat`,
    );
  }
  return notes;
}
