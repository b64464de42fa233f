import { DoubleSparseError } from '../errors.js';
import { decodeUtf8, fileChunks } from './plain-text.js';

/** A document longer than a whole calibration text is not one: the file has no line breaks. */
const maximumLineCharacters = 1 << 28;

/**
 * The texts of a file with one JSON object a line. Empty lines are skipped.
 * @param field name of the member that holds the text.
 * @throws DoubleSparseError `file-malformed` naming the line, `not-found` when a line lacks the field
 */
export async function* jsonLines(path: string, field: string): AsyncGenerator<string> {
  let number = 0;
  for (const line of lines(path)) {
    number++;
    if (line.trim() === '') continue;
    yield textOf(line, field, path, number);
  }
}

function textOf(line: string, field: string, path: string, number: number): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new DoubleSparseError('file-malformed', `${path}, line ${number} is not JSON: ${(cause as Error).message}`, {
      data: { path, line: number },
      cause,
    });
  }
  const member = (value as Record<string, unknown> | null)?.[field];
  if (typeof member === 'string') return member;
  const fields = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  throw new DoubleSparseError('not-found', `${path}, line ${number} has no text in the field "${field}"`, {
    data: { path, line: number, field, fields },
    hint:
      fields.length > 0 ? `its fields are ${fields.join(', ')}; choose one with --text-field` : 'expected an object',
  });
}

function* lines(path: string): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  for (const chunk of fileChunks(path)) {
    const pieces = decodeUtf8(decoder, chunk, path).split('\n');
    pieces[0] = rest + pieces[0];
    rest = pieces.pop() as string;
    yield* pieces;
    if (rest.length > maximumLineCharacters) {
      throw new DoubleSparseError(
        'file-malformed',
        `${path} has a line of more than ${maximumLineCharacters} characters: not JSON lines`,
        { data: { path, limit: maximumLineCharacters } },
      );
    }
  }
  rest += decodeUtf8(decoder, undefined, path);
  if (rest !== '') yield rest;
}
