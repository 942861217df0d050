// A real browser for pages that we write: Chromium without a window, spoken to over a pipe in its DevTools protocol.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { chromium } from './tools.js';

type Message = {
  id?: number;
  method?: string;
  params?: Record<string, never>;
  result?: never;
  error?: never;
};

/** One page in one browser. What the page complains about (console errors, exceptions, failed loads) is collected. */
export class BrowserPage {
  readonly complaints: string[] = [];
  /** Addresses that the page asked for. */
  readonly requests: string[] = [];
  private last = 0;
  private rest = '';
  private session = '';
  private readonly waiting = new Map<number, { done(value: never): void; failed(error: Error): void }>();
  private readonly events: { name: string; seen(): void }[] = [];

  private constructor(
    private readonly browser: ChildProcess,
    private readonly profile: string,
  ) {
    const out = browser.stdio[4] as Readable;
    out.setEncoding('utf8');
    out.on('data', (text: string) => {
      const messages = (this.rest + text).split('\0');
      this.rest = messages.pop()!;
      for (const message of messages) this.receive(JSON.parse(message) as Message);
    });
    browser.on('exit', (code) => {
      for (const { failed } of this.waiting.values()) failed(new Error(`chromium ended with code ${code}`));
    });
  }

  static async open(): Promise<BrowserPage> {
    const profile = mkdtempSync(join(tmpdir(), 'capi-chromium-'));
    const flags = [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-dev-shm-usage',
      '--no-first-run',
      `--user-data-dir=${profile}`,
      '--remote-debugging-pipe',
      'about:blank',
    ];
    const browser = spawn(chromium, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    const page = new BrowserPage(browser, profile);
    const { targetId } = await page.call<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
    const attached = { targetId, flatten: true };
    page.session = (await page.call<{ sessionId: string }>('Target.attachToTarget', attached)).sessionId;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.call(`${domain}.enable`);
    return page;
  }

  /** Calls a method of the protocol. */
  call<T>(method: string, params: object = {}): Promise<T> {
    const id = ++this.last;
    const session = this.session ? { sessionId: this.session } : {};
    (this.browser.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise<T>((done, failed) => void this.waiting.set(id, { done: done as never, failed }));
  }

  /** Opens an address and waits until everything in it has loaded. */
  async go(url: string): Promise<void> {
    const loaded = new Promise<void>((seen) => void this.events.push({ name: 'Page.loadEventFired', seen }));
    await this.call('Page.navigate', { url });
    await loaded;
  }

  /** The value of an expression in the page (what JSON can hold). */
  async value<T>(expression: string): Promise<T> {
    const answer = await this.call<{ result: { value: T }; exceptionDetails?: { text: string } }>(
      'Runtime.evaluate',
      { expression, returnByValue: true, awaitPromise: true },
    );
    if (answer.exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(answer.exceptionDetails)}`);
    return answer.result.value;
  }

  /** Presses and releases a key, by its name in the standard (`Tab`, `Enter`, `ArrowRight`). */
  async press(key: string): Promise<void> {
    const code = { Tab: 9, Enter: 13, Escape: 27, ArrowLeft: 37, ArrowRight: 39, ' ': 32 }[key] ?? 0;
    const text = key === 'Enter' ? '\r' : key === ' ' ? ' ' : undefined;
    const common = { key, code: key, windowsVirtualKeyCode: code };
    await this.call('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...common, text });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  /** Sets the window's size in pixels and whether the reader prefers dark pages. */
  async look(width: number, height: number, dark = false): Promise<void> {
    await this.call('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
    await this.call('Emulation.setEmulatedMedia', { features });
  }

  /** A PNG of the window. */
  async screenshot(): Promise<Uint8Array> {
    const { data } = await this.call<{ data: string }>('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.browser.once('exit', resolve));
    this.session = '';
    this.call('Browser.close').catch(() => {});
    await ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  private receive({ id, method, params, result, error }: Message): void {
    if (id !== undefined) {
      const { done, failed } = this.waiting.get(id)!;
      this.waiting.delete(id);
      if (error) failed(new Error(JSON.stringify(error)));
      else done(result as never);
      return;
    }
    const p = (params ?? {}) as Record<string, { [key: string]: unknown }>;
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(p.exceptionDetails));
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(String(p.type))) {
      this.complaints.push(JSON.stringify(p.args));
    }
    if (method === 'Log.entryAdded' && p.entry!.level !== 'info') {
      this.complaints.push(`${p.entry!.text} ${p.entry!.url ?? ''}`);
    }
    if (method === 'Network.requestWillBeSent') this.requests.push(String(p.request!.url));
    const at = this.events.findIndex(({ name }) => name === method);
    if (at >= 0) this.events.splice(at, 1)[0]!.seen();
  }
}
