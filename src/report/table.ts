/**
 * Lays rows out in columns: the first left-aligned, the others right-aligned (but not one whose heading begins with a
 * space, for text), two spaces between.
 */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      widths
        .map((width, column) =>
          column === 0 || header[column]?.startsWith(' ')
            ? (row[column] ?? '').padEnd(width)
            : (row[column] ?? '').padStart(width),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Three significant digits, without an exponent for the sizes that layer errors have. */
export function formatError(value: number): string {
  if (value === 0) return '0';
  return value >= 1e-5 ? value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(value)))) : value.toExponential(2);
}

export function formatSeconds(seconds: number): string {
  return seconds < 10
    ? `${seconds.toFixed(2)} s`
    : seconds < 120
      ? `${seconds.toFixed(1)} s`
      : `${(seconds / 60).toFixed(1)} min`;
}

export function formatBytes(bytes: number): string {
  return bytes < 1e6
    ? `${(bytes / 1e3).toFixed(1)} kB`
    : bytes < 1e9
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Below a table with cells of {@link secondsCell}, where one has a star. */
export const resumedNote = '* interrupted: the seconds since it went on';

/** Seconds of what may have been interrupted. */
export function secondsCell({ seconds, resumed }: { readonly seconds: number; readonly resumed: boolean }): string {
  return `${formatSeconds(seconds)}${resumed ? ' *' : ''}`;
}
