import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { BrokerError } from '../../core/errors.ts';
import type { Session } from '../../db/tables.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { configPath, SshConfigBody, sshConfigOf } from '../schemas/ssh-config.ts';
import { DATABASE_TIME_MS } from './handler-times.ts';
import { sessionOf } from './session-access.ts';

const KNOWN_HOSTS_FILE = '~/.ssh/known_hosts.berth';

export const sessionSshConfigRoute: FastifyPluginAsyncZod<Pick<HttpDeps, 'sessions'>> = async (app, { sessions }) => {
  app.get(
    '/api/v1/sessions/:id/ssh-config',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'getSshConfig',
        summary: 'How to reach a running session with the stock ssh client',
        description:
          'A block for ~/.ssh/config and a line for the known_hosts file that it names, with the host key pinned: `ssh <host>` then reaches this machine or none. With Accept: text/plain the part that is asked for, and nothing else.',
        tags: ['sessions'],
        params: z.object({ id: z.string() }),
        querystring: z.strictObject({
          identity_file: configPath.optional().describe('Where the private key is; the block then uses it and no other.'),
          known_hosts_file: configPath
            .optional()
            .describe(`Where the known_hosts line will be; ${KNOWN_HOSTS_FILE} unless given.`),
          part: z.enum(['config', 'known_hosts']).optional().describe('What to answer as text; config unless given.'),
        }),
        response: {
          200: {
            description: 'How to reach a session with the stock ssh client, its host key pinned.',
            content: { 'application/json': { schema: SshConfigBody }, 'text/plain': { schema: z.string() } },
          },
          ...errorAnswers(400, 401, 404, 409, 429, 500, 503),
        },
      },
    },
    async (request, reply) => {
      const {
        identity_file: identityFile,
        known_hosts_file: knownHostsFile = KNOWN_HOSTS_FILE,
        part = 'config',
      } = request.query;
      const { session } = await sessionOf(sessions, request, request.params.id);
      const body = session.status === 'running' ? sshConfigOf(session, { identityFile, knownHostsFile }) : undefined;
      if (!body) throw noWayIn(session);
      void reply.header('vary', 'accept');
      if (!prefersText(request.headers.accept)) return reply.type('application/json; charset=utf-8').send(body);
      return reply.type('text/plain; charset=utf-8').send(body[part]);
    },
  );
};

function noWayIn(session: Session): BrokerError {
  return new BrokerError({
    code: 'invalid_state',
    message: `ssh config: ${whyNot(session)}`,
    details: present({
      session_id: session.id,
      status: session.status,
      phase: session.phase,
      reason: session.reason ?? undefined,
    }),
  });
}

function whyNot({ id, status, phase, reason }: Session): string {
  switch (status) {
    case 'pending':
    case 'provisioning':
      return `the session is ${status} (${phase}) and has no address yet; GET /api/v1/sessions/${id}?wait=300 waits until it runs`;
    case 'running':
      return 'the session runs, but has no address now that a client can use; its events tell when it has one';
    case 'stopping':
      return `the session is stopping (${reason}) and lets nobody in any more`;
    case 'stopped':
    case 'failed':
      return `the session has ended (${status}, ${reason})`;
  }
}

/** Whether plain text is named, and JSON is not or comes after it; what takes anything gets JSON. */
function prefersText(accept = ''): boolean {
  const weightOf = (type: string): number => {
    for (const entry of accept.toLowerCase().split(',')) {
      const [name = '', ...parameters] = entry.split(';').map((part) => part.trim());
      if (name !== type) continue;
      const weight = parameters.find((parameter) => parameter.startsWith('q='));
      return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
    }
    return 0;
  };
  const text = weightOf('text/plain');
  return text > 0 && text >= weightOf('application/json');
}
