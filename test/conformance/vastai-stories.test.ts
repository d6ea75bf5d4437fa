import { describeStories } from './stories/describe-stories.ts';
import { openVastMarket } from './stories/vastai-market.ts';

await describeStories({ adapter: 'Vast.ai', open: openVastMarket, leavesOut: [] });
