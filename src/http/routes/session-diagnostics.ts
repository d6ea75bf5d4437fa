import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { formatDuration } from '../../core/duration.ts';
import { BrokerError } from '../../core/errors.ts';
import { currentAttempt } from '../../sessions/session-record.ts';
import type { HttpDeps } from '../http-deps.ts';
import { present } from '../present.ts';
import { errorAnswers } from '../schemas/error-body.ts';
import { sshCommandOf } from '../schemas/ssh-command.ts';
import { time } from '../schemas/wire-values.ts';
import { wireTime, wireTimeIfAny } from '../wire-time.ts';
import { DATABASE_TIME_MS } from './handler-times.ts';
import { sessionOf } from './session-access.ts';

const Diagnostics = z
  .object({
    session_id: z.string(),
    status: z.string(),
    provider: z.string(),
    gpu_type: z.string(),
    gpu_count: z.int(),
    ssh_host: z.string().optional(),
    ssh_port: z.int().optional(),
    ssh_user: z.string().optional(),
    ssh_host_key: z.string().optional(),
    ssh_command: z.string().optional(),
    launch_mode: z.string().optional(),
    created_at: time,
    running_at: time.optional(),
    expires_at: time,
    uptime: z.string().describe('Since it runs: "1h 30m" or "5m".'),
    time_to_expiry: z.string().describe('"1h 30m", "5m" or "expired".'),
    ssh_available: z.boolean(),
    instance_state: z.string().optional().describe('As the provider had it when it was last asked.'),
    last_seen_at: time.optional().describe('When the provider last showed the instance.'),
    idle_since: time.optional(),
    last_sampled_at: time.optional().describe('When its use was last read; only with idle shutdown.'),
    note: z.string(),
  })
  .meta({ id: 'Diagnostics' });

export const sessionDiagnosticsRoute: FastifyPluginAsyncZod<Pick<HttpDeps, 'sessions' | 'clock'>> = async (
  app,
  { sessions, clock },
) => {
  app.get(
    '/api/v1/sessions/:id/diagnostics',
    {
      handlerTimeout: DATABASE_TIME_MS,
      schema: {
        operationId: 'diagnoseSession',
        summary: 'What the broker knows of a running session',
        tags: ['sessions'],
        params: z.object({ id: z.string() }),
        response: { 200: Diagnostics, ...errorAnswers(400, 401, 404, 429, 500, 503) },
      },
    },
    async (request) => {
      const record = await sessionOf(sessions, request, request.params.id);
      const { session } = record;
      if (session.status !== 'running')
        throw new BrokerError({
          code: 'invalid_request',
          message: `diagnose session: it is ${session.status}, and only a running one can be looked at; its events tell what happened`,
          details: present({ session_id: session.id, status: session.status, reason: session.reason ?? undefined }),
        });
      const attempt = currentAttempt(record);
      const now = clock.now();
      return present({
        session_id: session.id,
        status: session.status,
        provider: session.provider,
        gpu_type: session.gpuType,
        gpu_count: session.gpuCount,
        ssh_host: session.sshHost ?? undefined,
        ssh_port: session.sshPort ?? undefined,
        ssh_user: session.sshUser ?? undefined,
        ssh_host_key: session.sshHostKey ?? undefined,
        ssh_command: sshCommandOf(session),
        launch_mode: session.request.launchMode,
        created_at: wireTime(session.createdAt),
        running_at: wireTimeIfAny(session.runningAt),
        expires_at: wireTime(session.expiresAt),
        uptime: formatDuration(Math.max(0, now - (session.runningAt ?? session.createdAt))),
        time_to_expiry: formatDuration(session.expiresAt - now),
        ssh_available: session.sshHost !== null,
        instance_state: attempt?.instanceState ?? undefined,
        last_seen_at: wireTimeIfAny(attempt?.lastSeenAt),
        idle_since: wireTimeIfAny(session.idleSince),
        last_sampled_at: wireTimeIfAny(session.idleSampledAt),
        note: 'GPU load and processes are seen from inside only: log in with your key and run nvidia-smi.',
      });
    },
  );
};
