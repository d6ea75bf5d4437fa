import { describeCrashPoints } from './crash-points.ts';
import { beginnings } from './stories/beginnings.ts';

describeCrashPoints('how sessions begin', beginnings, { atLeast: 900 });
