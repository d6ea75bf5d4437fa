import { describeCrashPoints } from './crash-points.ts';
import { destroys } from './stories/destroys.ts';

describeCrashPoints('how machines are destroyed', destroys, { atLeast: 1_100 });
