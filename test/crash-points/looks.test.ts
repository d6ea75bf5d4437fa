import { describeCrashPoints } from './crash-points.ts';
import { looks } from './stories/looks.ts';

describeCrashPoints('what is seen and not seen', looks, { atLeast: 1_000 });
