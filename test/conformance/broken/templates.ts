import type { Provider } from '../../../src/provider/provider.ts';
import type { BrokenProvider } from './broken-provider.ts';

/** Providers that are at fault in what they do with templates. */
export const BROKEN_TEMPLATES: readonly BrokenProvider[] = [
  {
    name: 'lists templates and says that it has none',
    caughtBy: 'templates-are-declared',
    says: 'what it says of its templates is not what it does',
    wrap: ({ provider }) => ({ ...provider, capabilities: { ...provider.capabilities, templates: false } }),
  },
  {
    name: 'looks for a template by the beginning of its hash',
    caughtBy: 'templates-by-hash',
    says: 'by its hash abcd0001 something else is found',
    wrap: changeTemplates(({ hashId, ...query }) => (hashId?.startsWith('abcd') ? query : { hashId: hashId ?? '' })),
  },
  {
    name: 'finds some template for every hash',
    caughtBy: 'templates-by-hash',
    says: 'a template is found that never was',
    wrap: changeTemplates(({ hashId }) => ({ hashId: hashId?.startsWith('0000') ? 'abcd0002' : (hashId ?? 'abcd0001') })),
  },
  {
    name: 'makes an instance without its template when it does not know that',
    caughtBy: 'templates-in-creates',
    says: 'should have thrown, but answered',
    wrap: ({ provider }) => ({
      ...provider,
      createInstance: ({ templateHashId: _unread, ...request }, options) => provider.createInstance(request, options),
    }),
  },
];

function changeTemplates(change: (query: { readonly hashId?: string }) => { readonly hashId?: string }) {
  return ({ provider }: { readonly provider: Provider }): Provider => {
    const { templates } = provider;
    if (!templates) throw new Error('the market in memory has templates');
    return {
      ...provider,
      templates: (query, options) => templates.call(provider, query.hashId === undefined ? query : change(query), options),
    };
  };
}
