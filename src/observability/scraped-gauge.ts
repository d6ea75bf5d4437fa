import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

interface GaugeAbout<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly Label[];
}

export type GaugeMaker = <Label extends string>(
  about: GaugeAbout<Label>,
  read: (gauge: Gauge<Label>) => void | Promise<void>,
) => void;

interface GaugeMakerDeps {
  readonly registry: Registry;
  readonly log: Pick<Log, 'warn'>;
}

/** Makes gauges that are read anew at each scrape. One whose reading fails is left out of that scrape, and only that one. */
export function createGaugeMaker({ registry, log }: GaugeMakerDeps): GaugeMaker {
  return (about, read) => {
    new Gauge({
      ...about,
      registers: [registry],
      async collect() {
        this.reset();
        try {
          await read(this);
        } catch (error) {
          this.reset();
          // A gauge without labels goes back to 0, and 0 would be a lie.
          if (about.labelNames.length === 0) this.remove();
          log.warn({ metric: about.name, error: describeError(error) }, 'metric could not be read');
        }
      },
    });
  };
}
