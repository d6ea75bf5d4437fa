import { describeStories } from './stories/describe-stories.ts';
import { openVastMarket } from './stories/vastai-market.ts';

// What it does not do: say 200 to a create that it has refused or carried out without telling its id (C21), open no port (C22).
await describeStories({ adapter: 'Vast.ai', open: openVastMarket, leavesOut: ['C21', 'C22'] });
