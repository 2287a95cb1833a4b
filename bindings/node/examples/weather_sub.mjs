// SPDX-License-Identifier: MIT

// sp_run sub connect HOST PORT TOPIC -- node weather_sub.mjs [COUNT]: prints reports.

import { Socket } from '../index.mjs';

let count = Number(process.argv[2] ?? Infinity);
const subscriber = new Socket();
for await (const report of subscriber) {
  console.log(`received ${report}`);
  if (--count === 0) subscriber.close();
}
