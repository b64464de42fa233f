/** Talk goes to standard error: results alone are on standard output. */
export function say(line: string): void {
  clearStatus();
  process.stderr.write(`${line}\n`);
}

let statusShown = false;

/** A line that the next one overwrites, on a terminal; nothing elsewhere. */
export function showStatus(line: string): void {
  if (!process.stderr.isTTY) return;
  const width = process.stderr.columns ?? 80;
  process.stderr.write(`\r\u001b[K${line.slice(0, width - 1)}`);
  statusShown = true;
}

export function clearStatus(): void {
  if (statusShown) process.stderr.write('\r\u001b[K');
  statusShown = false;
}

/** This command as it can be typed again. */
export function commandLine(): string {
  const quoted = (part: string): string =>
    /^[\w@%+=:,./-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`;
  return ['dsf', ...process.argv.slice(2).map(quoted)].join(' ');
}

export function printResult(text: string): void {
  clearStatus();
  process.stdout.write(`${text}\n`);
}
