// SPDX-License-Identifier: MIT

// A PF_SP socket that this process was started with. Node cannot open one, but it reads and
// writes descriptors of any kind, in threads of its pool; sp_run.c starts a program with one.

import { closeSync, read, write } from 'node:fs';
import { promisify } from 'node:util';

const readFrom = promisify(read);
const writeTo = promisify(write);

export class Socket {
  #fd;
  #limit;
  #spare;
  #pending = 0;
  #closed = false;

  /**
   * @param {number} [fd] the descriptor; by default what sp_run says
   * @param {{ limit?: number }} [options] the bytes of the largest message that may come
   */
  constructor(fd = Number(process.env.SP_FD ?? 3), { limit = 16 << 20 } = {}) {
    this.#fd = fd;
    this.#limit = limit;
  }

  /**
   * Sends one message; waits while no peer can take it.
   * @param {string | Uint8Array} message not empty: Node would not write that
   */
  async send(message) {
    const bytes = typeof message === 'string' ? Buffer.from(message) : message;
    if (bytes.length === 0) {
      throw new RangeError('Node cannot send an empty message');
    }
    await this.#call(() => writeTo(this.#fd, bytes, 0, bytes.length, null));
  }

  /**
   * Receives one message, whole. One longer than the limit is lost, and an error.
   * @returns {Promise<Buffer>}
   */
  async recv() {
    // A longer message fills the byte more. What is not filled is never touched.
    const buffer = this.#spare ?? Buffer.allocUnsafeSlow(this.#limit + 1);
    this.#spare = undefined;
    const { bytesRead } = await this.#call(() => readFrom(this.#fd, buffer, 0, buffer.length, null));
    if (bytesRead > this.#limit) {
      throw new RangeError(`a message of more than ${this.#limit} bytes`);
    }
    const message = Buffer.from(buffer.subarray(0, bytesRead));
    this.#spare = buffer;
    return message;
  }

  /** Messages, until close(). */
  async *[Symbol.asyncIterator]() {
    while (!this.#closed) {
      let message;
      try {
        message = await this.recv();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
      yield message;
    }
  }

  /** Ends what waits, as soon as its time-out lets it, and closes the descriptor. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pending === 0) closeSync(this.#fd);
  }

  // A thread that waits cannot be told to stop: sp_run sets time-outs, which end its call.
  async #call(call) {
    this.#pending++;
    try {
      while (!this.#closed) {
        try {
          return await call();
        } catch (error) {
          if (error.code !== 'EAGAIN') throw error;
        }
      }
      throw new Error('the socket has been closed');
    } finally {
      this.#pending--;
      if (this.#closed && this.#pending === 0) closeSync(this.#fd);
    }
  }
}
