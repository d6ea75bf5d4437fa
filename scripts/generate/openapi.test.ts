import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { render } from './openapi.ts';

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly responses: Readonly<Record<string, object>>;
}
interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

describe('openapi/openapi.json', async () => {
  const text = await render();
  // the validator test below says that it has this shape
  const document = JSON.parse(text) as Description;
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(JSON.parse(text) as Record<string, unknown>);

    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
  });

  it('names, sums up and files every operation, and describes success and failure of each', () => {
    expect(operations.length).toBeGreaterThan(20);
    for (const { operationId, summary, tags, responses } of operations) {
      expect(operationId, summary).toMatch(/^[a-z]\w+$/);
      expect(summary, operationId).toBeTruthy();
      expect(tags, operationId).toHaveLength(1);
      expect(Object.keys(responses).length, operationId).toBeGreaterThan(1);
    }
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
  });

  it('carries no schema that nobody refers to, and says everything in words of OpenAPI', () => {
    for (const name of Object.keys(document.components.schemas)) expect(text).toContain(`"#/components/schemas/${name}"`);
    expect(Object.keys(document.components.schemas).filter((name) => name.endsWith('Input'))).toEqual([]);
  });

  it('has query parameters as the values that they become', () => {
    expect(text).toContain('"type": "integer"');
    expect(document.paths['/api/v1/inventory']).toHaveProperty('get');
  });
});
