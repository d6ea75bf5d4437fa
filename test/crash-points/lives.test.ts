import { describeCrashPoints } from './crash-points.ts';
import { lives } from './stories/lives.ts';

describeCrashPoints('how sessions live', lives, { atLeast: 1_050 });
