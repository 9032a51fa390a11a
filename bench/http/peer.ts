/** A peer's process: `peer.js <front> <store>` serves the endpoints with both on PORT, from DATABASE_URL. */
import type { Listen } from './fronts/front'
import type { OpenStore } from './stores/store'

async function start(front: string, store: string): Promise<void> {
  // Only what the peer is made of is loaded: start-up and memory are measured as well.
  const { listen } = require(`./fronts/${front}`) as { listen: Listen }
  const { open } = require(`./stores/${store}`) as { open: OpenStore }
  await listen(await open(String(process.env['DATABASE_URL'])), Number(process.env['PORT']))
}

void start(String(process.argv[2]), String(process.argv[3]))
