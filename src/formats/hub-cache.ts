import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What a hub id looks like: "name" or "organisation/name". */
const idPattern = /^[A-Za-z0-9][\w.-]{0,95}(?:\/[A-Za-z0-9][\w.-]{0,95})?$/;

export function isHubId(text: string): boolean {
  return idPattern.test(text) && !text.includes('..');
}

/** Where Hugging Face tools keep downloads: HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub. */
export function hubCacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = environment;
  const explicit = HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE;
  if (explicit) return explicit;
  return join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'hub');
}

/**
 * The snapshot folder of a model in the hub cache: the revision that refs/main names, else the only one there is.
 * Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 * @returns undefined when the model is not there.
 */
export function findSnapshot(id: string, cache: string = hubCacheFolder()): string | undefined {
  if (!isHubId(id)) return undefined;
  const folder = join(cache, `models--${id.replace('/', '--')}`);
  const snapshots = join(folder, 'snapshots');
  if (!existsSync(snapshots)) return undefined;
  const reference = join(folder, 'refs', 'main');
  if (existsSync(reference)) {
    const revision = readFileSync(reference, 'utf8').trim();
    if (/^[\w.-]{1,128}$/.test(revision) && !revision.includes('..') && existsSync(join(snapshots, revision)))
      return join(snapshots, revision);
  }
  const revisions = readdirSync(snapshots).sort();
  return revisions.length === 1 ? join(snapshots, revisions[0] as string) : undefined;
}
