import type { ProviderModule } from '../src/provider/provider-module.ts';
import { hakuriver } from './hakuriver/index.ts';
import { pool } from './pool/index.ts';
import { simulated } from './simulated/index.ts';
import { tensordock } from './tensordock/index.ts';
import { vastai } from './vastai/index.ts';

/** Every provider that there is: two lines for each, its import and its place here. */
export const providerModules: readonly ProviderModule[] = [vastai, tensordock, hakuriver, pool, simulated];
