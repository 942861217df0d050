// Two suites, one of which needs a tool that its run hides: test/support/suites.test.ts runs this file by itself.

import { expect, it } from 'vitest';
import { suiteNeeding } from '../suites.js';

it('runs everywhere', () => expect(1).toBe(1));

suiteNeeding('python')('compares with PyTorch', () => {
  it('one', () => {});
  it('two', () => {});
});
