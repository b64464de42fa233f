import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Ends a run with one line for machines: `N passed, N failed`, and `, N skipped` if any were. Before it the names of
 * skipped tests, which vitest does not print and which say why.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const each of modules) {
      for (const test of each.children.allTests()) {
        const { state } = test.result();
        counts[state]++;
        if (state === 'skipped') console.log(`skipped: ${test.fullName}`);
      }
      // A file or suite that could not even be loaded has no failed test to show for it.
      counts.failed += each.errors().length;
      for (const suite of each.children.allSuites()) counts.failed += suite.errors().length;
    }
    const skipped = counts.skipped + counts.pending;
    console.log(`${counts.passed} passed, ${counts.failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`);
  }
}
