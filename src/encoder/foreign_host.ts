// Foreign models in processes of their own, which can be ended: started, asked in turn, and given up when they do not answer.
import { type ChildProcess, fork } from 'node:child_process';
import { shown } from '../base/text.js';
import { type CapiError, DataError, EngineError, UsageError } from '../errors.js';
import { type ChildAnswer, type ChildRequest, OUT_OF_MEMORY } from './foreign_protocol.js';
import type { ForeignFeatures, ReaderPlan } from './foreign_reader.js';

/** A foreign model, loaded. */
export interface ForeignModel {
  /** Features of `n` images [n, H, W, 3]. */
  run(images: Uint8Array, n: number): Promise<ForeignFeatures>;
  close(): Promise<void>;
}

export interface ForeignRequest {
  path: string;
  device: 'cpu' | 'cuda' | 'webgpu';
  threads: number | undefined;
  plan: ReaderPlan;
}

/** Seconds that a model may take to load, and for its first image. */
const SECONDS = 120;
/** Later runs may take so many times as long for an image as the slowest before, beside the seconds above. */
const SLACK = 20;

/** `CAPI_MODEL_SECONDS`, else 120. @throws UsageError */
export function modelSeconds(): number {
  const text = process.env.CAPI_MODEL_SECONDS;
  if (text === undefined || text === '') return SECONDS;
  const value = Number(text);
  if (value > 0 && value <= 2_000_000) return value; // a timer ends at 2^31 ms
  throw new UsageError(
    `CAPI_MODEL_SECONDS is '${shown(text)}'; accepted: seconds above 0, such as ${SECONDS}`,
  );
}

/** Processes start from compiled JavaScript only; from TypeScript sources (in tests) this process runs the model. */
export const canStartProcesses = (): boolean => import.meta.url.endsWith('.js');

/** Children that live; they end with this process at the latest. */
const living = new Set<ChildProcess>();
let hooked = false;

/** Loads a model in a process of its own. @throws DataError when it does not answer in time, and what the model's reader throws */
export async function hostForeign(request: ForeignRequest): Promise<ForeignModel> {
  const child = new Child(request.path, modelSeconds());
  try {
    await child.ask({ ask: 'open', ...request }, 'while it was loaded', 0);
  } catch (error) {
    child.end();
    throw error;
  }
  const { height, width } = request.plan.size;
  return {
    run: async (images, n) => {
      const on = `on ${n === 1 ? 'an image' : `${n} images`} of ${height} x ${width} px`;
      const { features } = (await child.ask({ ask: 'run', images, n }, on, n)) as {
        features: ForeignFeatures;
      };
      return features;
    },
    close: async () => child.end(),
  };
}

class Child {
  private readonly process: ChildProcess;
  private waiting: { resolve(answer: ChildAnswer): void; reject(error: Error): void } | undefined;
  /** What it wrote last before it died. */
  private words = '';
  private gone: string | undefined;
  private last: Promise<unknown> = Promise.resolve();
  /** Of the slowest run so far, seconds an image. */
  private slowest = 0;

  constructor(
    private readonly path: string,
    private readonly seconds: number,
  ) {
    this.process = fork(new URL('./foreign_child.js', import.meta.url), [String(process.pid)], {
      serialization: 'advanced',
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const child = this.process;
    living.add(child);
    if (!hooked) process.once('exit', () => living.forEach((one) => void one.kill('SIGKILL')));
    hooked = true;
    child.stderr!.on('data', (chunk: Buffer) => {
      this.words = (this.words + chunk.toString('latin1')).slice(-4096);
    });
    child.on('message', (answer: ChildAnswer) => this.waiting?.resolve(answer));
    child.on('error', (error) => this.died(`could not be started: ${shown(error.message)}`));
    child.on('close', (code, signal) => this.died(signal ?? `exit code ${code}`));
    this.rest();
  }

  /** Asks in turn; `images` are what the time of the answer is measured by, 0 where it is not. */
  ask(request: ChildRequest, doing: string, images: number): Promise<ChildAnswer> {
    const asked = this.last.then(() => this.exchange(request, doing, images));
    this.last = asked.catch(() => {});
    return asked;
  }

  private async exchange(request: ChildRequest, doing: string, images: number): Promise<ChildAnswer> {
    const begin = performance.now();
    const seconds = this.seconds + SLACK * images * this.slowest;
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = await new Promise<ChildAnswer>((resolve, reject) => {
        if (this.gone !== undefined) throw this.death(this.gone, doing);
        this.waiting = { resolve, reject: (error) => reject(this.death(error.message, doing)) };
        timer = setTimeout(() => {
          this.end();
          const text = `${shown(this.path)} gave no answer within ${Math.round(seconds)} s ${doing}, and was ended; CAPI_MODEL_SECONDS=${2 * Math.ceil(seconds)} would wait longer`;
          reject(new DataError(text, { path: this.path, seconds }));
        }, 1000 * seconds);
        this.process.ref();
        this.process.send(request, (error) => error && this.died(shown(error.message)));
      });
      if ('error' in answer) throw thrown(answer.error);
      if (images > 0) this.slowest = Math.max(this.slowest, (performance.now() - begin) / 1000 / images);
      return answer;
    } finally {
      clearTimeout(timer);
      this.waiting = undefined;
      this.rest();
    }
  }

  end(): void {
    living.delete(this.process);
    this.gone ??= 'it is closed';
    this.process.kill('SIGKILL');
  }

  /** A process that nobody waits for does not keep this one alive. */
  private rest(): void {
    this.process.unref();
    this.process.channel?.unref();
    (this.process.stderr as unknown as { unref?(): void }).unref?.();
  }

  private died(how: string): void {
    living.delete(this.process);
    this.gone ??= how;
    this.waiting?.reject(new Error(how));
  }

  private death(how: string, doing: string): CapiError {
    const lines = this.words.trim().split('\n');
    const said = lines.at(-1) ?? '';
    if (how === 'SIGKILL' || lines.includes(OUT_OF_MEMORY) || /bad_alloc|out of memory/i.test(said)) {
      return new EngineError(
        `${shown(this.path)}: the process that runs it was ended ${doing}, for it took all the memory of the machine: give it smaller images (--resolution), or a machine with more`,
        { path: this.path },
      );
    }
    const words = said === '' ? '' : `: ${shown(said).slice(0, 200)}`;
    return new DataError(`${shown(this.path)} crashed onnxruntime ${doing} (${how}${words})`, {
      path: this.path,
    });
  }
}

/** The child's error, of the class that it had there. */
function thrown({ name, message }: { name: string; message: string }): Error {
  if (name === 'UsageError') return new UsageError(message);
  if (name === 'EngineError') return new EngineError(message);
  return name === '' ? new Error(message) : new DataError(message);
}
