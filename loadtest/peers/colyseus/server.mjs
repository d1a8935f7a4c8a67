// One room in which everybody plays: `battle`, where everyone sees everyone, or `battle-view`, where each client's StateView holds who is near.
// Usage: node server.mjs --port PORT --hz 10 --half 400
import { parseArgs } from "node:util";
import { Room, Server } from "@colyseus/core";
import { StateView } from "@colyseus/schema";
import { INPUT, NEAR, NEAR_LEAVE, SPEED, now, readInput, stateOf } from "./game.mjs";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "2567" },
    hz: { type: "string", default: "10" },
    half: { type: "string", default: "400" },
    "until-input-ends": { type: "boolean", default: false },
  },
});
const hz = Number(values.hz);
const half = Number(values.half);

class Battle extends Room {
  static filtered = false;

  onCreate() {
    const { Body, State } = stateOf(half, this.constructor.filtered);
    this.Body = Body;
    this.state = new State();
    this.state.tick = 0;
    this.state.at = now();
    this.maxClients = Infinity;
    // A tick's patch leaves with the tick, not with a timer of its own.
    this.patchRate = null;
    this.onMessageBytes(INPUT, (client, bytes) => { client.userData.input = readInput(bytes); });
    this.setSimulationInterval(() => this.step(), 1000 / hz);
  }

  onJoin(client, options) {
    const body = new this.Body();
    body.x = Math.max(-half, Math.min(half, Number(options.x) || 0));
    body.y = Math.max(-half, Math.min(half, Number(options.y) || 0));
    body.vx = 0;
    body.vy = 0;
    body.aim = 0;
    body.hp = 100;
    client.userData = { body, input: undefined };
    this.state.bodies.set(client.sessionId, body);
  }

  onLeave(client) {
    this.state.bodies.delete(client.sessionId);
  }

  step() {
    for (const client of this.clients) {
      const { body, input } = client.userData;
      if (input === undefined) continue;
      client.userData.input = undefined;
      body.vx = input.x * SPEED;
      body.vy = input.y * SPEED;
      body.x = Math.max(-half, Math.min(half, body.x + body.vx / hz));
      body.y = Math.max(-half, Math.min(half, body.y + body.vy / hz));
      body.aim = input.aim;
      if (input.hit) body.hp = body.hp > 20 ? body.hp - 20 : 100;
    }
    this.look();
    this.state.tick += 1;
    this.state.at = now();
    this.broadcastPatch();
  }

  look() {}
}

class BattleView extends Battle {
  static filtered = true;

  onJoin(client, options) {
    super.onJoin(client, options);
    client.view = new StateView();
    client.userData.seen = new Set();
  }

  onLeave(client) {
    super.onLeave(client);
    for (const other of this.clients) other.userData.seen?.delete(client.userData.body);
    client.view.dispose();
  }

  /** Puts who is near into each client's view, and takes out who has gone away, in every tick. */
  look() {
    const cells = new Map();
    const key = (x, y) => Math.floor(x / NEAR_LEAVE) * 4096 + Math.floor(y / NEAR_LEAVE);
    for (const { userData: { body } } of this.clients) {
      const at = key(body.x, body.y);
      const cell = cells.get(at);
      if (cell === undefined) cells.set(at, [body]);
      else cell.push(body);
    }
    for (const { view, userData: { body: me, seen } } of this.clients) {
      const { x, y } = me;
      for (const body of seen) {
        if ((body.x - x) ** 2 + (body.y - y) ** 2 > NEAR_LEAVE ** 2) {
          seen.delete(body);
          view.remove(body);
        }
      }
      for (let column = -1; column <= 1; column++) {
        for (let row = -1; row <= 1; row++) {
          for (const body of cells.get(key(x + column * NEAR_LEAVE, y + row * NEAR_LEAVE)) ?? []) {
            if ((body.x - x) ** 2 + (body.y - y) ** 2 <= NEAR ** 2 && !seen.has(body)) {
              seen.add(body);
              view.add(body);
            }
          }
        }
      }
    }
  }
}

if (values["until-input-ends"]) {
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}
/** uWebSockets.js, which Colyseus recommends for production, if it is installed and runs here; else the default, `ws`. */
async function transport() {
  try {
    const { uWebSocketsTransport } = await import("@colyseus/uwebsockets-transport");
    return ["uWebSockets.js", new uWebSocketsTransport()];
  } catch {
    const { WebSocketTransport } = await import("@colyseus/ws-transport");
    return ["ws", new WebSocketTransport()];
  }
}

const [name, sockets] = await transport();
const server = new Server({ transport: sockets, greet: false });
server.define("battle", Battle);
server.define("battle-view", BattleView);
await server.listen(Number(values.port), "127.0.0.1");
console.log(`listening ${name}`);
