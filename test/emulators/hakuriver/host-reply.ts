import type { Reply } from '../kit/http-server.ts';
import type { WideJson } from './wide-json.ts';

export function answer(status: number, json: WideJson): Reply {
  return { status, json };
}

export function detail(status: number, text: string): Reply {
  return { status, json: { detail: text } };
}

/** What becomes of an exception that nobody caught: text, not JSON. */
export function crashed(): Reply {
  return { status: 500, text: 'Internal Server Error', contentType: 'text/plain; charset=utf-8' };
}
