// SPDX-License-Identifier: MIT

// sp_run pull bind HOST PORT -- sp_run push connect HOST PORT -- node socket.mjs, where the
// module is loaded.

import assert from 'node:assert';
import test from 'node:test';
import { Socket } from '../index.mjs';

const push = new Socket();
const pull = new Socket(process.env.SP_FD - 1, { limit: 1 << 20 });

test('messages come whole, whatever their size', async () => {
  const long = Buffer.alloc(1 << 20, 7);
  for (const message of ['one', long, 'three']) await push.send(message);
  assert.equal(String(await pull.recv()), 'one');
  assert.deepEqual(await pull.recv(), long);
  assert.equal(String(await pull.recv()), 'three');
});

test('one that is too long is an error, and the next is whole', async () => {
  await push.send(Buffer.alloc((1 << 20) + 1));
  await push.send('next');
  await assert.rejects(pull.recv(), RangeError);
  assert.equal(String(await pull.recv()), 'next');
});

test('an empty one is refused', () => assert.rejects(push.send(''), RangeError));

test('waiting goes on after a time-out', async () => {
  const received = pull.recv();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await push.send('late');
  assert.equal(String(await received), 'late');
});

test('close ends what waits', async () => {
  const waiting = assert.rejects(pull.recv(), /closed/);
  pull.close();
  push.close();
  await waiting;
  for await (const message of pull) assert.fail(`received ${message}`);
});
