import { describeStories } from './stories/describe-stories.ts';
import { openTensorDockMarket } from './stories/tensordock-market.ts';

// What it does not do: say in words why a machine failed (C11), charge another price than it showed (C26), queue a start (C15), take bids (the
// rest of C14 is told), have a second way in (C12), count offers by the day (C7), say what it has billed (C27).
await describeStories({
  adapter: 'TensorDock',
  open: openTensorDockMarket,
  leavesOut: ['C11', 'C26', 'C15', 'C14', 'C12', 'C7', 'C27'],
});
