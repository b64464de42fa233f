/**
 * A test for tensor names: `*` stands for any characters, a pattern without it for any name that contains it.
 * `model.layers.3.*`, `*down_proj*`, `mlp`.
 */
export function namePattern(pattern: string): (name: string) => boolean {
  if (!pattern.includes('*')) return (name) => name.includes(pattern);
  const source = pattern
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  const expression = new RegExp(`^${source}$`);
  return (name) => expression.test(name);
}
