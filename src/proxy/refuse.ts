// Breaks a connection off so that its other end sees an error and not a proper end, which could be taken for a whole answer.
import type { Socket } from 'node:net';

export function refuse(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}
