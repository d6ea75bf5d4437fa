import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder, startBroker, type BrokerProcess } from '../broker-process.ts';

/** Two replicas: one database, one secret key, the same settings. */
export async function startTwoBrokers(
  url: string,
  env: Readonly<Record<string, string>>,
): Promise<[BrokerProcess, BrokerProcess]> {
  const settings = replicaSettings(url, env);
  return [await startBroker({ env: settings }), await startBroker({ env: settings })];
}

export function replicaSettings(url: string, env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const keyFile = join(makeFolder(), 'secret.key');
  writeFileSync(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
  return { ...env, DATABASE_URL: url, SECRET_KEY_FILE: keyFile };
}
