import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

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

/** Adds one flag for each option of a schema: `seqLen` becomes `--seq-len`. Values are checked by the schema. */
export function addFlags(command: Command, schema: z.ZodObject): void {
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
        throw new InvalidArgumentError(result.error.issues.map((issue) => issue.message).join('; '));
      });
    }
    if (field instanceof z.ZodDefault) {
      const fallback: unknown = field.parse(undefined);
      option.default(fallback, Array.isArray(fallback) ? fallback.join(',') : String(fallback));
    }
    command.addOption(option);
  }
}

function valueName(schema: z.ZodType): string {
  return schema instanceof z.ZodNumber ? 'number' : 'name';
}
