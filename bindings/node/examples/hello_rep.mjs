// SPDX-License-Identifier: MIT

// sp_run rep bind HOST PORT -- node hello_rep.mjs [COUNT]: replies World to each request.

import { Socket } from '../index.mjs';

let count = Number(process.argv[2] ?? Infinity);
const server = new Socket();
for await (const request of server) {
  await server.send('World');
  console.log(`received ${request}, replied World`);
  if (--count === 0) server.close();
}
