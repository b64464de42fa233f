import { extname } from 'node:path';
import { DoubleSparseError } from '../../errors.js';
import { PositionalFile } from '../../formats/positional-file.js';

/** Lines of ten million images, and still a string that the engine can hold. */
const maximumTextBytes = 400e6;

/**
 * Labels by names of images from lines `name,label` (or a tab between). A heading `name,label`, empty lines, and
 * quotation marks around a part are allowed.
 * @throws DoubleSparseError `file-unreadable`, `file-unsupported` (size), `file-malformed` naming the line
 */
export function readLabelLines(path: string): Map<string, string> {
  const labels = new Map<string, string>();
  for (const [index, line] of readText(path).split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const end = Math.max(line.lastIndexOf(','), line.lastIndexOf('\t'));
    const name = unquoted(line.slice(0, Math.max(0, end)));
    const label = unquoted(line.slice(end + 1));
    if (index === 0 && extname(name) === '' && /^(label|class|target)$/i.test(label)) continue;
    if (name === '' || label === '') throw malformed(path, index, 'is not name,label');
    if ((labels.get(name) ?? label) !== label) throw malformed(path, index, `gives ${name} a second label`);
    labels.set(name, label);
  }
  return labels;
}

function malformed(path: string, index: number, problem: string): DoubleSparseError {
  return new DoubleSparseError('file-malformed', `${path}, line ${index + 1} ${problem}`, {
    data: { path, line: index + 1 },
  });
}

function unquoted(part: string): string {
  const trimmed = part.trim();
  const inner = /^"(.*)"$/.exec(trimmed)?.[1];
  return (inner?.replaceAll('""', '"') ?? trimmed).replace(/^\.\//, '');
}

function readText(path: string): string {
  const file = new PositionalFile(path);
  try {
    if (file.size > maximumTextBytes) {
      throw new DoubleSparseError('file-unsupported', `${path} has ${file.size} bytes, at most ${maximumTextBytes}`, {
        data: { path, size: file.size, limit: maximumTextBytes },
        hint: 'give labels as a .npy or IDX file',
      });
    }
    const bytes = new Uint8Array(file.size);
    file.readFully(bytes, 0);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    if (cause instanceof DoubleSparseError) throw cause;
    throw new DoubleSparseError('file-malformed', `${path} is neither an array nor UTF-8 text`, {
      data: { path },
      cause,
    });
  } finally {
    file.close();
  }
}
