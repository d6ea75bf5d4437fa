import { ADAPTERS } from './stories/adapters.ts';
import { describeStories } from './stories/describe-stories.ts';

await describeStories(ADAPTERS.hakuriver);
