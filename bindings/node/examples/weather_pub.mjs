// SPDX-License-Identifier: MIT

// sp_run pub bind HOST PORT -- node weather_pub.mjs [COUNT]: publishes reports.

import { setTimeout } from 'node:timers/promises';
import { Socket } from '../index.mjs';

const forecast = ['Bratislava: 21 C, sunny', 'Paris: 14 C, rain', 'London: 12 C, fog'];

const count = Number(process.argv[2] ?? Infinity);
const publisher = new Socket();
// Node cannot ask whether a subscriber is there.
await setTimeout(1000);
for (let i = 0; i < count; i++) {
  const report = forecast[i % forecast.length];
  await publisher.send(report);
  console.log(`published ${report}`);
  await setTimeout(100);
}
publisher.close();
