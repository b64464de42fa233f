import { DoubleSparseError } from '../errors.js';

/** Far beyond what any context holds. */
const maximumBytes = 64 * 2 ** 20;

/**
 * The text on standard input, without the line end that editors and echo put behind it.
 * @throws DoubleSparseError `file-malformed` for text that is not UTF-8 or too long
 */
export async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maximumBytes) throw malformed(`has more than ${maximumBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, '');
  } catch {
    throw malformed('is not UTF-8');
  }
}

function malformed(problem: string): DoubleSparseError {
  return new DoubleSparseError('file-malformed', `the text on standard input ${problem}`);
}
