const months = 'January February March April May June July August September October November December'.split(' ');
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

const two = (value: number): string => String(value).padStart(2, '0');
const dayOfYear = (date: Date): number =>
  Math.round(
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0)) / 864e5,
  ) + 1;

/** Directives of C's strftime in its English locale. */
const directives: Readonly<Record<string, (date: Date) => string>> = {
  a: (date) => (days[date.getDay()] as string).slice(0, 3),
  A: (date) => days[date.getDay()] as string,
  b: (date) => (months[date.getMonth()] as string).slice(0, 3),
  B: (date) => months[date.getMonth()] as string,
  d: (date) => two(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2),
  F: (date) => strftime(date, '%Y-%m-%d'),
  H: (date) => two(date.getHours()),
  I: (date) => two(date.getHours() % 12 || 12),
  j: (date) => String(dayOfYear(date)).padStart(3, '0'),
  m: (date) => two(date.getMonth() + 1),
  M: (date) => two(date.getMinutes()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  S: (date) => two(date.getSeconds()),
  T: (date) => strftime(date, '%H:%M:%S'),
  y: (date) => two(date.getFullYear() % 100),
  Y: (date) => String(date.getFullYear()),
  '%': () => '%',
};

/**
 * A local time as C's strftime writes it, in English whatever the machine's language: prompts should not depend on it.
 * `%-d` leaves out padding, as in glibc.
 * @throws RangeError for a directive that is not known
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.?)/gs, (whole, dash: string, letter: string) => {
    const directive = Object.hasOwn(directives, letter) ? directives[letter] : undefined;
    if (!directive) throw new RangeError(`strftime_now: ${JSON.stringify(whole)} is not known`);
    const text = directive(date);
    return dash ? text.replace(/^[0 ]+(?=.)/, '') : text;
  });
}
