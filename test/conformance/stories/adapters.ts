import { openHakuMarket } from './hakuriver-market.ts';
import { openTensorDockMarket } from './tensordock-market.ts';
import { openVastMarket } from './vastai-market.ts';
import type { OpenMarket } from './story.ts';

export interface AdapterUnderTest {
  readonly adapter: string;
  readonly open: OpenMarket;
  /** `C5 …`: the stories that its vendor cannot stage, by their ids; the adapter's README says why. */
  readonly leavesOut: readonly string[];
}

export const ADAPTERS = {
  // It does not: say 200 to a create that it has refused or carried out without telling its id (C21), open no port (C22).
  vastai: { adapter: 'Vast.ai', open: openVastMarket, leavesOut: ['C21', 'C22'] },
  // It does not: say in words why a machine failed (C11), charge another price than it showed (C26), queue a start (C15), take bids (the
  // rest of C14 is told), have a second way in (C12), count offers by the day (C7), say what it has billed (C27).
  tensordock: {
    adapter: 'TensorDock',
    open: openTensorDockMarket,
    leavesOut: ['C11', 'C26', 'C15', 'C14', 'C12', 'C7', 'C27'],
  },
  // It does not: take money (C20, C26, C27), answer 200 to what it has not done (C21), open ports (C22), queue a start (C15), take bids (the
  // rest of C14 is told), have a second way in (C12), count offers by the day (C7).
  hakuriver: {
    adapter: 'HakuRiver',
    open: openHakuMarket,
    leavesOut: ['C20', 'C21', 'C22', 'C26', 'C15', 'C14', 'C12', 'C7', 'C27'],
  },
} as const satisfies Record<string, AdapterUnderTest>;
