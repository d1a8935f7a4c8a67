// Clients on the official SDK: they decode what they are sent, and tell once a second how old it is.
// Usage: node watch.mjs --port PORT --room battle --clients 32 --hz 10 --half 400
import { parseArgs } from "node:util";
import { Client } from "@colyseus/sdk";
import { INPUT, NEAR, SPEED, now, writeInput } from "./game.mjs";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "2567" },
    room: { type: "string", default: "battle" },
    clients: { type: "string", default: "32" },
    hz: { type: "string", default: "10" },
    half: { type: "string", default: "400" },
  },
});
const [hz, half, clients] = [Number(values.hz), Number(values.half), Number(values.clients)];
const period = 1000 / hz;
const NEAREST = 32;

/** By the age of what is held in ticks: how many of the nearest, and how many of all within sight. */
const fresh = () => ({ near: {}, all: {}, patches: 0 });
let second = fresh();

/** Whoever is held has the patch's age: a patch has every change of its tick. */
function look(room, state) {
  const me = state.bodies?.get(room.sessionId);
  if (me === undefined) return;
  let within = 0;
  for (const body of state.bodies.values()) {
    if (body !== me && (body.x - me.x) ** 2 + (body.y - me.y) ** 2 <= NEAR ** 2) within += 1;
  }
  const age = Math.max(0, Math.floor((now() - state.at) / period));
  second.patches += 1;
  second.near[age] = (second.near[age] ?? 0) + Math.min(within, NEAREST);
  second.all[age] = (second.all[age] ?? 0) + within;
}

/** Wanders as the other clients do: another way after at most 40 inputs, back at the edge. */
function play(room, spawn, phase) {
  let { x, y } = spawn;
  let [heading, stroll] = [0, 0];
  const step = () => {
    if (stroll-- <= 0) [heading, stroll] = [Math.random() * 2 * Math.PI, Math.floor(Math.random() * 40)];
    let [wx, wy] = [Math.cos(heading), Math.sin(heading)];
    if (Math.abs(x) > half && x * wx > 0) wx = -wx;
    if (Math.abs(y) > half && y * wy > 0) wy = -wy;
    heading = Math.atan2(wy, wx);
    [x, y] = [x + (wx * SPEED) / hz, y + (wy * SPEED) / hz];
    room.sendBytes(INPUT, writeInput(wx, wy, (heading + 2 * Math.PI) % (2 * Math.PI), false));
  };
  setTimeout(() => setInterval(step, period), phase * period);
}

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
const endpoint = `ws://127.0.0.1:${values.port}`;
for (let number = 0; number < clients; number++) {
  const spawn = { x: (Math.random() * 2 - 1) * half, y: (Math.random() * 2 - 1) * half };
  const room = await new Client(endpoint).joinOrCreate(values.room, spawn);
  room.onStateChange((state) => look(room, state));
  room.onLeave((code) => {
    console.error(`a watching client was thrown out (${code})`);
    process.exit(1);
  });
  play(room, spawn, number / clients);
}
console.log("connected");
setInterval(() => {
  console.log(JSON.stringify(second));
  second = fresh();
}, 1000);
