// What runs in the worker that all windows of a browser share: the hub, and a line to each window.
import { scope, type MessageLine } from './browser.ts';
import { Hub, type Wish } from './hub.ts';
import { heard } from './wire.ts';

// Beside the page, so that its folder is the page's.
const hub = new Hub(scope.location.pathname.replace(/[^/]*$/, ''));

scope.addEventListener('connect', ({ ports }) => {
  const [line] = ports as readonly MessageLine[];
  if (line === undefined) return;
  const tell = (told: unknown): void => line.postMessage(told);
  line.onmessage = ({ data }) => {
    line.postMessage(heard);
    hub.hear(tell, data as Wish);
  };
});
