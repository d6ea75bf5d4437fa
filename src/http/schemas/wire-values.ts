import { z } from 'zod';

export const time = z.string().meta({ format: 'date-time' });
export const dollars = z.number().describe('US dollars.');
