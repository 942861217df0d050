// Setups that cannot learn: refused where that is certain, a warning where it is likely, and what the metrics of a run say of it afterwards.
import { type Config, isAssigned, lossOf, patchCounts } from '../config/index.js';
import { UsageError } from '../errors.js';
import { warmupSteps } from '../optim/schedule.js';
import type { Health } from './health.js';
import type { Line, StepReport } from './metrics.js';

/** Targets whose entropy is this share of ln K say next to nothing of an image. */
const UNIFORM = 0.98;
/** Share of a run before which targets are not judged. */
const GRACE = 0.25;
/** Prototypes for each target that Sinkhorn-Knopp spreads over them at once, from which a run warns. */
const SPARSE = 8;
/** Share of its way to the student below which a teacher has stayed where it began. */
const STILL = 0.01;
/** Steps of a run that is more than a trial of whether everything works. */
const TRIAL = 100;

/** Targets that one run of Sinkhorn-Knopp spreads evenly over the prototypes; undefined without it. */
function spreadTogether(config: Config): number | undefined {
  const { sinkhorn } = config.clustering;
  if (!isAssigned(config) || sinkhorn === 'none') return undefined;
  return config.train.batch * (sinkhorn === 'positionwise' ? 1 : patchCounts(config).patches);
}

/**
 * Refuses a run whose targets are uniform whatever the images show: Sinkhorn-Knopp over a single target gives every prototype the same share
 * of it, and the loss stays at ln K.
 * @throws UsageError
 */
export function checkLearning(config: Config): void {
  if (spreadTogether(config) !== 1) return;
  const { sinkhorn, prototypes } = config.clustering;
  throw new UsageError(
    `train.batch is ${config.train.batch}, and clustering.sinkhorn=${sinkhorn} spreads the images of a batch evenly over the prototypes at each position: with one image all targets are uniform, the loss stays at ln ${prototypes} = ${Math.log(prototypes).toFixed(3)} and nothing is learnt; accepted: a train.batch of at least 2, better ${prototypes} or more, or clustering.sinkhorn=standard`,
  );
}

/** What makes it likely that a run learns little, known before it begins; one line each, which says what helps. */
export function learningWarnings(config: Config): string[] {
  const { optim, clustering, train } = config;
  const found: string[] = [];
  const together = spreadTogether(config);
  if (together !== undefined && together > 1 && clustering.prototypes >= SPARSE * together) {
    const standard = clustering.sinkhorn === 'positionwise' ? ', or clustering.sinkhorn=standard' : '';
    found.push(
      `${clustering.sinkhorn === 'positionwise' ? `train.batch ${train.batch} is` : `the ${together} patches of a batch are`} far below clustering.prototypes ${clustering.prototypes}: Sinkhorn-Knopp spreads ${together} targets evenly over ${clustering.prototypes} prototypes, so that they stay near uniform; what helps: a larger train.batch, clustering.prototypes of at most ${Math.max(2, together)}${standard}`,
    );
  }
  if (optim.lr === 0) found.push('optim.lr is 0: the student stays as it began; what helps: a value above 0');
  if (lossOf(config).targets === 'clustering' && optim.clustering_lr === 0) {
    found.push(
      'optim.clustering_lr is 0: the prototypes stay random; what helps: a value above 0, such as half of optim.lr',
    );
  }
  const momentum = lossOf(config).targets === 'pixels' ? 0 : optim.momentum; // pixels have no teacher
  if (momentum === 1) {
    found.push(
      'optim.momentum is 1: the teacher stays as it began, random; what helps: a value below 1, such as 0.999',
    );
  } else if (train.steps >= TRIAL && train.steps * (1 - momentum) < STILL) {
    found.push(
      `optim.momentum ${momentum} over ${train.steps} steps: the teacher goes less than ${100 * STILL} % of its way to the student; what helps: more steps, or a lower momentum`,
    );
  }
  if (train.steps > 1 && warmupSteps({ steps: train.steps, warmup: optim.warmup }) >= train.steps) {
    found.push(
      `optim.warmup ${optim.warmup} makes all ${train.steps} steps warm-up: rates never fall; what helps: a smaller share, such as 0.1`,
    );
  }
  return found;
}

/** How targets have collapsed, if they have: at most one prototype, or one in a hundred, is in use, or all target features are one vector. */
export function deadTargets(
  health: Pick<Health, 'deadShare' | 'spread'>,
  prototypes: number,
): string | undefined {
  const { deadShare, spread } = health;
  if (deadShare !== undefined && (1 - deadShare) * prototypes <= Math.max(1.5, 0.01 * prototypes))
    return `${Math.round((1 - deadShare) * prototypes)} of ${prototypes} prototypes in use`;
  if (spread !== undefined && spread < 0.01)
    return `the target features vary by ${(100 * spread).toFixed(2)} % of their square`;
  return undefined;
}

/** Why the targets of a step say next to nothing, if so, and what helps; steps are counted from 1. */
export function poorTargets(
  config: Config,
  { step, targetEntropy, health }: Pick<StepReport, 'step' | 'targetEntropy' | 'health'>,
): string | undefined {
  const { steps } = config.train;
  if (step < Math.max(GRACE * steps, warmupSteps({ steps, warmup: config.optim.warmup }))) return undefined;
  const dead = health && deadTargets(health, config.clustering.prototypes);
  if (dead === undefined) return uniformTargets(config, targetEntropy);
  const { sinkhorn } = config.clustering;
  const spreads =
    isAssigned(config) && sinkhorn !== 'positionwise' ? ', clustering.sinkhorn=positionwise' : '';
  return `the teacher's targets have collapsed: ${dead}; what helps: a higher optim.momentum, a lower optim.lr${spreads}${lossOf(config).targets === 'features' ? ', loss.type=capi' : ''}`;
}

function uniformTargets(config: Config, entropy: number | null): string | undefined {
  const { prototypes } = config.clustering;
  if (entropy === null || !isAssigned(config)) return undefined;
  const most = Math.log(prototypes);
  if (!(entropy >= UNIFORM * most)) return undefined;
  return `the targets are near uniform: their entropy is ${entropy.toFixed(3)} of at most ln ${prototypes} = ${most.toFixed(3)}, so that there is nothing to learn from them; what helps: a larger train.batch, fewer clustering.prototypes, or a lower clustering.target_temperature`;
}

/** What a run that was trained up to `lines` leaves to be said of its learning: for records and reports. */
export function learningNotes(config: Config, lines: readonly Line[]): string[] {
  const last = lines.at(-1);
  const number = (key: string): number | undefined => last?.[key] ?? undefined;
  const poor =
    last &&
    poorTargets(config, {
      step: last.step!,
      targetEntropy: number('target_entropy') ?? null,
      health: { deadShare: number('dead_share'), spread: number('spread') } as Health,
    });
  const still = lines.length > 0 && lines.every((line) => line.gradient_norm === 0);
  return [
    ...learningWarnings(config),
    ...(poor === undefined ? [] : [poor]),
    ...(still ? ['the gradient was 0 in every step: nothing was learnt'] : []),
  ];
}
