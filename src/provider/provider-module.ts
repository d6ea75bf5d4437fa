import type { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { MachinePool } from './machine-pool.ts';
import type { Provider } from './provider.ts';

/** What every provider is handed; it reads nothing of the world by itself. */
export interface ProviderDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** A folder of the provider's own, beside the database; it may not exist yet. */
  readonly dataFolder: string;
  /** The machines that this installation owns, for the providers that adapt them. */
  readonly machinePool: MachinePool;
}

/** The block of the environment that a provider understands: names as people write them, each described with unit and default. */
export type EnvironmentSchema = z.ZodObject<Record<string, z.ZodType>>;

/** A provider as `providers/index.ts` lists it. */
export interface ProviderModule<Schema extends EnvironmentSchema = EnvironmentSchema> {
  readonly id: string;
  /** Parses the variables of this provider; keys are the variables' names. */
  readonly environment: Schema;
  /** Whether the configuration asks for it; `otherIsOn` tells whether any other provider was asked for. */
  isOn(environment: z.infer<Schema>, context: { readonly otherIsOn: boolean }): boolean;
  create(environment: z.infer<Schema>, deps: ProviderDeps): Promise<Provider>;
}

/** Keeps the types of a module's schema and functions together. */
export function defineProvider<Schema extends EnvironmentSchema>(module: ProviderModule<Schema>): ProviderModule<Schema> {
  return module;
}
