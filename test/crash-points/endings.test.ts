import { describeCrashPoints } from './crash-points.ts';
import { endings } from './stories/endings.ts';

describeCrashPoints('how sessions end', endings, { atLeast: 700 });
