import { describeStories } from './stories/describe-stories.ts';
import { openHakuMarket } from './stories/hakuriver-market.ts';

// What it does not do: take money (C20, C26, C27), answer 200 to what it has not done (C21), open ports (C22), queue a start (C15), take bids (the
// rest of C14 is told), have a second way in (C12), count offers by the day (C7).
await describeStories({
  adapter: 'HakuRiver',
  open: openHakuMarket,
  leavesOut: ['C20', 'C21', 'C22', 'C26', 'C15', 'C14', 'C12', 'C7', 'C27'],
});
