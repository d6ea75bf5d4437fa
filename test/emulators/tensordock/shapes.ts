import type { Random } from '../../../src/core/random.ts';

/** Where the sources conflict, or are silent: one reading a run, and the same one for the run's whole length. */
export interface Shapes {
  /** "No available nodes found" and its like. */
  readonly refusal: 'http-200' | 'http-400' | 'http-409';
  /** What a host node without room says; a location says that there is no node. */
  readonly noRoom: 'insufficient capacity' | 'out of stock' | 'resource unavailable';
  readonly validation: 'array' | 'error';
  readonly wrongToken: 401 | 403;
  readonly authError: 'json' | 'text';
  readonly notFound: 'json' | 'empty';
  /** A start of what runs, and the like. */
  readonly conflict: 'http-409' | 'http-400' | 'http-200';
  readonly single: 'flat' | 'data' | 'attributes';
  readonly list: 'array' | 'nested';
  readonly listRow: 'short' | 'full';
  readonly statusCase: 'lower' | 'title' | 'upper' | 'spaced' | 'dashed' | 'mixed';
  readonly createStatus: 'running' | 'creating' | 'provisioning';
  readonly created: 200 | 201;
  readonly noIp: 'empty' | 'absent' | 'null';
  readonly forwards: 'camel' | 'snake' | 'map';
  readonly portNumbers: 'number' | 'string';
  readonly moneyNumbers: 'number' | 'string';
  readonly id: 'uuid' | 'upper' | 'compact';
  readonly deleted: 200 | 204;
  /** What the single read says of an instance that was just deleted. */
  readonly afterDelete: '404' | 'row';
  readonly goneStatus: 'deleting' | 'deleted' | 'terminated';
  readonly soldOut: 'zero' | 'absent';
  readonly stoppedBills: 'storage' | 'all';
  readonly limitHeaders: 'none' | 'x-ratelimit' | 'ratelimit';
  readonly retryAfter: boolean;
}

/** Without roulette: the reading with the best evidence. */
export const LIKELY_SHAPES: Shapes = {
  refusal: 'http-200',
  noRoom: 'insufficient capacity',
  validation: 'array',
  wrongToken: 401,
  authError: 'json',
  notFound: 'json',
  conflict: 'http-409',
  single: 'flat',
  list: 'array',
  listRow: 'short',
  statusCase: 'lower',
  createStatus: 'running',
  created: 200,
  noIp: 'empty',
  forwards: 'camel',
  portNumbers: 'number',
  moneyNumbers: 'number',
  id: 'uuid',
  deleted: 200,
  afterDelete: '404',
  goneStatus: 'deleting',
  soldOut: 'zero',
  stoppedBills: 'storage',
  limitHeaders: 'none',
  retryAfter: false,
};

export function spinShapes(random: Random): Shapes {
  const pick = <T>(...values: [T, ...T[]]): T => values[Math.floor(random.next() * values.length)] ?? values[0];
  return {
    refusal: pick('http-200', 'http-400', 'http-409'),
    noRoom: pick('insufficient capacity', 'out of stock', 'resource unavailable'),
    validation: pick('array', 'error'),
    wrongToken: pick<401 | 403>(401, 403),
    authError: pick('json', 'text'),
    notFound: pick('json', 'empty'),
    conflict: pick('http-409', 'http-400', 'http-200'),
    single: pick('flat', 'data', 'attributes'),
    list: pick('array', 'nested'),
    listRow: pick('short', 'full'),
    statusCase: pick('lower', 'title', 'upper', 'spaced', 'dashed', 'mixed'),
    createStatus: pick('running', 'creating', 'provisioning'),
    created: pick<200 | 201>(200, 201),
    noIp: pick('empty', 'absent', 'null'),
    forwards: pick('camel', 'snake', 'map'),
    portNumbers: pick('number', 'string'),
    moneyNumbers: pick('number', 'string'),
    id: pick('uuid', 'upper', 'compact'),
    deleted: pick<200 | 204>(200, 204),
    afterDelete: pick('404', 'row'),
    goneStatus: pick('deleting', 'deleted', 'terminated'),
    soldOut: pick('zero', 'absent'),
    stoppedBills: pick('storage', 'all'),
    limitHeaders: pick('none', 'x-ratelimit', 'ratelimit'),
    retryAfter: pick(true, false),
  };
}
