// The room's state, the inputs, and the numbers that server and clients share. Distances are in metres, times in seconds.
import { schema, t } from "@colyseus/schema";

/** How far a client sees. */
export const NEAR = 80;
/** How far away somebody who is seen may go before he is out of sight. */
export const NEAR_LEAVE = 88;
/** Metres a second. */
export const SPEED = 8;
/** The message type of an input. */
export const INPUT = 0;
/** Bytes of an input after the two that say what it is; the WebSocket message has 40. */
export const INPUT_BYTES = 38;

/**
 * Fields as narrow as Colyseus can have them at the precision of Ringfort's game: positions in 16 bits over the square that is played in, of
 * which `half` is half a side. `at` is when the tick was published, by the clock of `now`. With `filtered`, a client sees whom its view holds.
 */
export function stateOf(half, filtered) {
  const Body = schema({
    x: t.quantized({ min: -half, max: half, bits: 16 }),
    y: t.quantized({ min: -half, max: half, bits: 16 }),
    vx: t.quantized({ min: -16, max: 16, bits: 16 }),
    vy: t.quantized({ min: -16, max: 16, bits: 16 }),
    aim: t.quantized({ min: 0, max: 2 * Math.PI, bits: 16, mode: "wrap" }),
    hp: t.uint8(),
  }, "Body");
  const bodies = filtered ? t.map(Body).view() : t.map(Body);
  const State = schema({ tick: t.uint32(), at: t.float64(), bodies }, "State");
  return { Body, State };
}

/** Milliseconds of the clock that all processes of the machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** wish in sixteenths, aim in 65536ths of a circle, and whether this player is hit. */
export function readInput(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { x: view.getInt8(0) / 16, y: view.getInt8(1) / 16, aim: (view.getUint16(2, true) / 65536) * 2 * Math.PI, hit: view.getUint8(4) === 1 };
}

export function writeInput(x, y, aim, hit) {
  const bytes = new Uint8Array(INPUT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt8(0, Math.round(x * 16));
  view.setInt8(1, Math.round(y * 16));
  view.setUint16(2, Math.round((aim / (2 * Math.PI)) * 65536) & 0xffff, true);
  view.setUint8(4, hit ? 1 : 0);
  return bytes;
}
