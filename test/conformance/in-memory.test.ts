import { withBids } from './bidding-world.ts';
import { describeProvider } from './describe-provider.ts';
import { makeDecoratedWorld, makeInMemoryWorld } from './in-memory-world.ts';

describeProvider({ name: 'the provider in memory', make: () => makeInMemoryWorld() });
describeProvider({ name: 'the provider in memory behind its decorators', make: makeDecoratedWorld });
describeProvider({
  name: 'the provider in memory whose offers are sold for bids as well',
  make: () => makeInMemoryWorld(withBids),
});
