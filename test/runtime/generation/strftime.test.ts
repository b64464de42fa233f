import { expect, test } from 'vitest';
import { strftime } from '../../../src/runtime/generation/strftime.js';

// Expected: Python's datetime.strftime in the C locale.
test.each([
  [new Date(2024, 1, 9, 0, 4, 7), '%Y-%m-%d %H:%M:%S', '2024-02-09 00:04:07'],
  [
    new Date(2024, 1, 9, 0, 4, 7),
    '%a %A %b %B %e|%-d|%I %p|%-I|%j|%y|%%',
    'Fri Friday Feb February  9|9|12 AM|12|040|24|%',
  ],
  [new Date(2024, 11, 31, 13, 0, 0), '%F %T %j %-j %-I %p %-M', '2024-12-31 13:00:00 366 366 1 PM 0'],
  [new Date(2005, 0, 1, 9, 8, 0), '%j %-m %-y', '001 1 5'],
])('%s %s', (date, format, text) => {
  expect(strftime(date, format)).toBe(text);
});

test.each(['%Q', '%', '%-', '%é'])('%s is refused', (format) => {
  expect(() => strftime(new Date(), format)).toThrow(RangeError);
});
