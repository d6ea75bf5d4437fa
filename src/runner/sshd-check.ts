import { LABEL } from './container-template.ts';
import type { DockerEngine, ImageRead } from './docker-engine.ts';

const SSH_SERVERS = [
  '/usr/sbin/sshd',
  '/usr/local/sbin/sshd',
  '/usr/bin/sshd',
  '/sbin/sshd',
  '/usr/sbin/dropbear',
  '/usr/bin/dropbear',
];

/** Whether an image holds an SSH server: by its label, else by looking into it, once, without ever starting it. */
export interface SshdCheck {
  hasSshd(name: string, image: ImageRead, signal: AbortSignal): Promise<boolean>;
}

export function createSshdCheck({ engine }: { engine: DockerEngine }): SshdCheck {
  const answers = new Map<string, boolean>();
  return {
    async hasSshd(name, image, signal) {
      if (isOurImage(image)) return true;
      const known = answers.get(image.Id);
      if (known !== undefined) return known;
      const found = await lookInto(name, signal);
      answers.set(image.Id, found);
      return found;
    },
  };

  async function lookInto(image: string, signal: AbortSignal): Promise<boolean> {
    // a crash may have left one behind
    for (const id of await engine.idsWithLabel(LABEL.probe, signal)) await engine.remove(id, signal);
    const id = await engine.create(undefined, { Image: image, Labels: { [LABEL.probe]: '1' }, NetworkDisabled: true }, signal);
    try {
      for (const path of SSH_SERVERS) if (await engine.hasFile(id, path, signal)) return true;
      return false;
    } finally {
      await engine.remove(id, signal);
    }
  }
}

/** Made by `npm run image`: its start program knows the keys' place and runs `on_start`. */
export function isOurImage(image: ImageRead): boolean {
  return image.Config?.Labels?.[LABEL.sshd] === '1';
}
