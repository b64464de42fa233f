import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { DoubleSparseError } from '../errors.js';

/** `--memory` of the commands that run compressed models. */
export const memorySchema = z
  .int()
  .min(1)
  .optional()
  .describe('bytes for the compressed weights; with it, they may also be expanded (default: what they take as stored)');

/** `seqLen` as it is written in a flag: `seq-len`. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The schema under defaults and optionals. */
function core(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodOptional) inner = inner.unwrap() as z.ZodType;
  return inner;
}

/** What the schema expects of a flag's text; the schema itself then judges the value. */
function parserOf(schema: z.ZodType): (text: string) => unknown {
  const inner = core(schema);
  if (inner instanceof z.ZodNumber) return (text) => (text.trim() === '' ? Number.NaN : Number(text));
  if (inner instanceof z.ZodArray) {
    const ofPart = parserOf(inner.element as z.ZodType);
    return (text) => text.split(',').map((part) => ofPart(part.trim()));
  }
  return (text) => text;
}

/**
 * Options from flags that are there for several kinds of models.
 * @throws DoubleSparseError `option-out-of-range` naming a flag whose value this kind does not have
 */
export function parseOptions<T>(schema: z.ZodType<T>, flags: unknown): T {
  const result = schema.safeParse(flags);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const option = String(issue?.path[0] ?? '');
  throw new DoubleSparseError('option-out-of-range', `--${kebab(option)}: ${issue?.message}`, {
    data: { option },
    hint: 'dsf COMMAND --help tells which values belong to which models',
  });
}

/** Names of the flags of a schema, as in the command's options. */
export function flagNames(schema: z.ZodObject): string[] {
  return Object.keys(schema.shape);
}

/** Names of the options that were given, whatever their values. */
export function givenFlags(command: Command): string[] {
  return Object.keys(command.opts()).filter((name) => command.getOptionValueSource(name) === 'cli');
}

/**
 * Adds one flag for each option of a schema: `seqLen` becomes `--seq-len`. Values are checked by the schema.
 * @param group heading in the help (default: that of all options).
 */
export function addFlags(command: Command, schema: z.ZodObject, group?: string): void {
  for (const [name, field] of Object.entries(schema.shape as Record<string, z.ZodType>)) {
    const inner = core(field);
    const value =
      inner instanceof z.ZodBoolean ? '' : inner instanceof z.ZodArray ? ' <a,b,...>' : ` <${valueName(inner)}>`;
    const option = new Option(`--${kebab(name)}${value}`, field.description ?? '');
    if (inner instanceof z.ZodEnum) option.description += ` (${inner.options.join(', ')})`;
    const parse = parserOf(field);
    if (value !== '') {
      option.argParser((text) => {
        const result = field.safeParse(parse(text));
        if (result.success) return result.data;
        throw new InvalidArgumentError(result.error.issues.map(explained).join('; '));
      });
    }
    if (field instanceof z.ZodDefault) {
      const fallback: unknown = field.parse(undefined);
      option.default(fallback, Array.isArray(fallback) ? fallback.join(',') : String(fallback));
    }
    if (group !== undefined) option.helpGroup(group);
    command.addOption(option);
  }
}

/** What was wrong with a value, for whoever typed it. */
function explained({ code, message, ...rest }: z.core.$ZodIssue): string {
  return code === 'invalid_type' && 'expected' in rest ? `A ${rest.expected} is expected.` : message;
}

function valueName(schema: z.ZodType): string {
  return schema instanceof z.ZodNumber ? 'number' : 'name';
}
