// A live page: it asks its own server whether the run has gone on, and shows what is new.

import { replaceAll } from "./store.js";

const EVERY = 1000; // milliseconds between two questions
const SLOW = 5000; // the same while the server does not answer

// onnew(view): told of newer data; onstate(text): told whether the page still follows.
export function follow({ onnew, onstate, version }) {
  let seen = version;
  async function ask() {
    let wait = EVERY;
    try {
      const reply = await fetch("/data", { headers: seen ? { "If-None-Match": seen } : {}, cache: "no-store" });
      if (reply.status === 200) {
        seen = reply.headers.get("ETag");
        const data = await reply.json();
        replaceAll(data);
        onnew(data);
      }
      onstate(reply.ok || reply.status === 304 ? "live" : "the server refuses");
    } catch {
      wait = SLOW;
      onstate("the server is gone");
    }
    setTimeout(ask, wait);
  }
  setTimeout(ask, EVERY);
}
