import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/core/duration.ts';
import { createAuditRepository } from '../../src/db/audit-repository.ts';
import { createInstallationRepository } from '../../src/db/installation-repository.ts';
import { createRecoveryMode } from '../../src/sessions/recovery-mode.ts';
import type { Backup } from '../support/memory-store.ts';
import type { BrokerProcess, DeathPosition } from './broker-process.ts';
import type { Deployment } from './deployment.ts';
import type { Dice } from './dice.ts';
import type { Fate } from './faults.ts';
import type { Intents } from './intents.ts';
import type { SimClock } from './sim-clock.ts';
import type { Trace } from './trace.ts';

interface TormentDeps {
  readonly clock: SimClock;
  readonly fate: Fate;
  readonly dice: Dice;
}

/** What happens to a machine until there is peace; then it is started for good. */
export async function torment(
  process: BrokerProcess,
  deployment: Pick<Deployment, 'isClosed'>,
  { clock, fate, dice }: TormentDeps,
): Promise<void> {
  const positions: readonly DeathPosition[] = ['before', 'after', 'unheard'];
  while (!fate.isOver) {
    await clock.sleep(dice.between(10, 90) * SECOND_MS);
    if (fate.isOver) break;
    if (deployment.isClosed) continue;
    if (!process.isUp) {
      if (process.replica === undefined) await process.start();
      continue;
    }
    if (fate.strikes('process.dies')) process.doom(dice.whole(0, 25), dice.pick(positions));
    else if (fate.strikes('process.freezes')) process.freezeAt(dice.whole(0, 25), dice.between(5, 300) * SECOND_MS);
    else if (fate.strikes('machine.suspends')) process.suspendAt(dice.whole(0, 25), dice.between(0.2, 20) * MINUTE_MS);
    else if (fate.strikes('process.ends')) await process.end();
    else if (fate.strikes('clock.jumps')) {
      process.machine.jump(dice.between(-2, 2) * HOUR_MS);
      await clock.sleep(dice.between(0.2, 8) * MINUTE_MS);
      process.machine.setRight();
    }
  }
  process.doom(Number.MAX_SAFE_INTEGER, 'before');
  while (deployment.isClosed) await clock.sleep(SECOND_MS);
  if (!process.isUp) await process.start();
}

const BACKUPS_KEPT = 4;
const BACKUP_EVERY = 2;

interface OperatorDeps extends TormentDeps {
  readonly intents: Intents;
  readonly trace: Trace;
}

/** The person who replaces a broken database by a backup, as docs/recovery.md says or without having read it, and later ends recovery mode. */
export async function operate(deployment: Deployment, { clock, fate, dice, intents, trace }: OperatorDeps): Promise<void> {
  const { memory, processes, judge, consumers } = deployment;
  const { store } = memory;
  const recovery = createRecoveryMode({
    installation: createInstallationRepository(store),
    audit: createAuditRepository(store),
    clock,
  });
  const backups: Backup[] = [memory.backup()];

  async function restore(): Promise<void> {
    deployment.isClosed = true;
    for (const process of processes) process.kill();
    await clock.sleep(dice.between(1, 3) * SECOND_MS); // what was on its way to the database is there, or never
    memory.restore(dice.pick(backups));
    judge.rolledBack();
    consumers.rollBack(judge.told);
    const isByTheBook = dice.chance(0.5);
    if (!isByTheBook) intents.forget(deployment.id);
    trace.note(deployment.id, 'restores a backup', isByTheBook ? 'with recovery mode on' : '');
    await clock.sleep(dice.between(5, 60) * SECOND_MS);
    if (isByTheBook) await recovery.begin('operator', 'LIFECYCLE_RECOVERY_MODE=on');
    deployment.isClosed = false;
  }

  let looksAfterMs = 0;
  for (let minute = 1; ; minute += 1) {
    await clock.sleep(MINUTE_MS);
    if (!fate.isOver && fate.strikes('database.restored')) await restore();
    else if (!fate.isOver && minute % BACKUP_EVERY === 0)
      backups.splice(0, Math.max(0, backups.push(memory.backup()) - BACKUPS_KEPT));
    const state = await recovery.read();
    if (!state.isOn) looksAfterMs = dice.between(1, 8) * MINUTE_MS;
    else if (clock.now() - state.since > looksAfterMs) {
      await recovery.end('looked at');
      trace.note(deployment.id, 'ends recovery mode');
    }
  }
}
