import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { endBrokers, startBroker, type BrokerProcess } from '../support/broker-process.ts';
import { describePart } from '../support/parts.ts';

const CHROMIUM = '/usr/bin/chromium';

describePart('chromium', 'the API reference at /docs', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(() => endBrokers());

  it('shows every group of the API in a real browser, over plain http, with nothing blocked and nothing fetched elsewhere', async () => {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      const foreign: string[] = [];
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('request', (request) => {
        if (!request.url().startsWith(broker.url) && !request.url().startsWith('data:')) foreign.push(request.url());
      });

      await page.goto(`${broker.url}/docs`);
      await page.getByText('/api/v1/sessions/{id}/extend').first().waitFor();

      const text = await page.locator('body').innerText();
      for (const path of ['/api/v1/inventory', '/api/v1/sessions', '/api/v1/costs', '/health']) expect(text).toContain(path);
      expect(complaints).toEqual([]);
      expect(foreign).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
