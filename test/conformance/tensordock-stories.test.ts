import { describeStories } from './stories/describe-stories.ts';
import { openTensorDockMarket } from './tensordock-market.ts';

// What it does not do: say in words why a machine failed (C11), charge another price than it showed (C26), take bids (the rest of C14 is told),
// have a second way in (C12), sell less VRAM than it says (the rest of C25 is told), count offers by the day (C7).
await describeStories({
  adapter: 'TensorDock',
  open: openTensorDockMarket,
  leavesOut: ['C11', 'C26', 'C14', 'C12', 'C25', 'C7'],
});
