import { describe, test } from 'vitest';

/**
 * Tests that need data which may be absent. A skipped `describe` still runs its body to collect the tests: what the body
 * reads must not be read then.
 * @param missing why the data is not there; undefined where it is.
 */
export function describeWith(missing: string | undefined, name: string, body: () => void): void {
  if (missing === undefined) describe(name, body);
  else test.skip(`${name} (skipped: ${missing})`, () => {});
}
