import { z } from 'zod';
import type { Reply } from '../kit/http-server.ts';
import { invalid, issuesOf, notFound, ok } from './answers.ts';
import type { Context } from './answers.ts';

const SecretBody = z.object({
  data: z.object({
    type: z.literal('secret'),
    attributes: z.object({ name: z.string().min(1), value: z.string().min(1), type: z.string() }),
  }),
});

/** `GET /secrets`: without their values. */
export function listSecrets({ world }: Context): Reply {
  return ok({ data: { secrets: [...world.secrets.values()].map(({ type, id, name }) => ({ type, id, name })) } });
}

export function addSecret({ world, body }: Context): Reply {
  const parsed = SecretBody.safeParse(body);
  if (!parsed.success) return invalid(world, issuesOf(parsed.error));
  const { attributes } = parsed.data.data;
  const secret = { id: world.nextId(), ...attributes };
  world.secrets.set(secret.id, secret);
  return ok({ data: { type: 'secret', id: secret.id, name: secret.name } });
}

export function getSecret({ world, params }: Context): Reply {
  const secret = world.secrets.get(params[0] ?? '');
  if (secret === undefined) return notFound(world, 'Secret not found');
  const { id, name, value } = secret;
  return ok({ data: { type: 'secret', id, name, value } });
}

export function deleteSecret({ world, params }: Context): Reply {
  if (!world.secrets.delete(params[0] ?? '')) return notFound(world, 'Secret not found');
  return ok({ data: { type: 'success', attributes: { message: 'Secret deleted successfully' } } });
}
