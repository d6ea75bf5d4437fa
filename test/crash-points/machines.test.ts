import { describeCrashPoints } from './crash-points.ts';
import { machines } from './stories/machines.ts';

describeCrashPoints('what machines do', machines, { atLeast: 1_600 });
