import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DoubleSparseError } from '../../errors.js';
import { readJsonObject } from '../../formats/json-file.js';

/** Conditions under which a package's file is taken, as Node's own import has them. */
const conditions = new Set(['node', 'import', 'default']);

/**
 * The file that `import NAME` takes in a folder; undefined where no such package is installed. Node resolves from
 * another folder than this program's for require() alone, which packages need not have.
 * @throws DoubleSparseError `file-malformed` when its package.json is no JSON
 */
export function findPackage(name: string, folder: string): string | undefined {
  const places = createRequire(join(folder, 'package.json')).resolve.paths(name) ?? [];
  const found = places.map((place) => join(place, name)).find((each) => existsSync(join(each, 'package.json')));
  if (found === undefined) return undefined;
  const { exports, main } = readJsonObject(join(found, 'package.json'));
  const own = (exports as Record<string, unknown> | undefined)?.['.'] ?? exports ?? main;
  const file = targetOf(own);
  return file === undefined ? undefined : join(found, file);
}

function targetOf(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (typeof target !== 'object' || target === null) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const file = conditions.has(condition) ? targetOf(inner) : undefined;
    if (file !== undefined) return file;
  }
  return undefined;
}

/**
 * A package that is no dependency.
 * @param names that it must export.
 * @throws DoubleSparseError `file-unsupported` when one is missing
 */
export async function importPackage<T>(file: string, names: readonly string[]): Promise<T> {
  const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const missing = names.filter((name) => module[name] === undefined);
  if (missing.length === 0) return module as T;
  throw new DoubleSparseError('file-unsupported', `${file} has no ${missing.join(', ')}`, {
    data: { file, missing },
    hint: 'install a newer version of the package',
  });
}
