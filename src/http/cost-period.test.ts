import { describe, expect, it } from 'vitest';
import { BrokerError } from '../core/errors.ts';
import { periodOf, type PeriodQuery } from './cost-period.ts';

const now = Date.parse('2026-02-15T13:30:00Z');

describe('periodOf', () => {
  it.each<[PeriodQuery, string, string]>([
    [{}, '2026-02-01', '2026-03-01'],
    [{ period: 'daily' }, '2026-02-15', '2026-02-16'],
    [{ period: 'monthly' }, '2026-02-01', '2026-03-01'],
    [{ start_date: '2026-01-10' }, '2026-01-10', '2026-02-01'],
    [{ end_date: '2026-01-10' }, '2026-01-01', '2026-01-10'],
    [{ start_date: '2025-12-31', end_date: '2026-01-02' }, '2025-12-31', '2026-01-02'],
    [{ start_date: '2026-01-02', end_date: '2026-01-02' }, '2026-01-02', '2026-01-02'],
    [{ start_date: '2025-12-05' }, '2025-12-05', '2026-01-01'],
  ])('%j is from %s until %s, UTC', (query, from, until) => {
    expect(periodOf(query, now)).toEqual({ from: Date.parse(`${from}T00:00:00Z`), until: Date.parse(`${until}T00:00:00Z`) });
  });

  it.each([
    [{ start_date: '2026-02-30' }, 'start_date must be a date such as 2026-01-31'],
    [{ end_date: '15.02.2026' }, 'end_date must be a date such as 2026-01-31'],
    [{ start_date: '2026-02-02', end_date: '2026-02-01' }, 'start_date must not be later than end_date'],
  ])('refuses %j', (query, message) => {
    expect(() => periodOf(query, now)).toThrow(expect.objectContaining({ message, code: 'invalid_request' }) as BrokerError);
  });
});
