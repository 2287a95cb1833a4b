// SPDX-License-Identifier: MIT

// sp_run req connect HOST PORT -- node hello_req.mjs [COUNT]: sends Hello, prints the reply.

import { Socket } from '../index.mjs';

const count = Number(process.argv[2] ?? 1);
const client = new Socket();
for (let i = 0; i < count; i++) {
  await client.send('Hello');
  console.log(`sent Hello, received ${await client.recv()}`);
}
client.close();
