/** What docs/monitoring.md and its dashboard name is there: every metric, every label, every field of the JSON. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import express from 'express'
import request from 'supertest'
import { Database } from '../../src/database'
import { monitor } from '../../src/express'
import { failure } from '../database/support'
import { standingCheck } from '../support/standing-check'
import { waitFor } from '../support/wait-for'

const docs = path.resolve(__dirname, '../../docs')
const text = readFileSync(path.join(docs, 'monitoring.md'), 'utf8')
const dashboard = JSON.parse(readFileSync(path.join(docs, 'grafana.json'), 'utf8')) as {
  readonly panels: readonly {
    readonly title: string
    readonly targets: readonly { readonly expr: string }[]
  }[]
  readonly templating: { readonly list: readonly { readonly definition?: string }[] }
}

interface Served {
  readonly metrics: string
  readonly json: unknown
}

/** What a monitor serves of a Database to which everything has happened. */
async function served(): Promise<Served> {
  const database = new Database('sqlite:///:memory:', {
    pool: { acquireTimeoutMillis: 30, leakThresholdMillis: 20 },
  })
  const pool = monitor(database)
  const app = express().use(pool)
  await database.connect()
  const held = await database.begin()
  await failure(database.fetchVal('select 1'))
  await waitFor(async () => (await request(app).get('/metrics')).text.includes('state="held"} 1'))
  const { body } = await request(app).get('/pool.json')
  await held.rollback()
  await failure(database.fetchVal('select wrong'))
  await database.disconnect()
  const metrics = (await request(app).get('/metrics')).text
  pool.close()
  return { metrics, json: body }
}

/** Every name that a query can use: a histogram has three. */
function namesOf(metrics: string): Set<string> {
  const samples = [...metrics.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name = '']) => name)
  const families = [...metrics.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name)
  const labels = [...metrics.matchAll(/[{,]([a-z_]+)="/g)].map(([, name = '']) => name)
  return new Set([...samples, ...families, ...labels])
}

function named(words: string): string[] {
  return [...new Set(words.match(/\b(?:db_client|millpond)_[a-z_]+\b/g))]
}

/** `databases.holders.label` and so on. */
function fieldsOf(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [] : fieldsOf(value[0], at)
  if (typeof value !== 'object' || value === null) return [at]
  return Object.entries(value).flatMap(([name, one]) => fieldsOf(one, at === '' ? name : `${at}.${name}`))
}

describe('docs/monitoring.md', () => {
  standingCheck()
  let found: Served

  beforeAll(async () => {
    found = await served()
  })

  it('and its dashboard name only metrics and labels that there are', () => {
    const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    const variables = dashboard.templating.list.map(({ definition = '' }) => definition)
    expect(queries.length).toBeGreaterThan(10)
    const names = named([text, ...queries, ...variables].join('\n'))
    const there = namesOf(found.metrics)
    expect(names.length).toBeGreaterThan(10)
    expect(names.filter((name) => !there.has(name))).toEqual([])
  })

  it('has a line for each metric, and the dashboard draws each but those that only limit another', () => {
    const families = [...found.metrics.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name)
    expect(families.filter((name) => !text.includes(`| \`${name}\``))).toEqual([])
    const drawn = JSON.stringify(dashboard.panels)
    expect(families.filter((name) => !drawn.includes(name))).toEqual(['db_client_connection_idle_max'])
  })

  it('shows the JSON with each of its fields', () => {
    const [, example = ''] = /^```json\n(.*?)^```$/ms.exec(text) ?? []
    expect(fieldsOf(JSON.parse(example))).toEqual(expect.arrayContaining(fieldsOf(found.json)))
    expect(fieldsOf(found.json)).toEqual(
      expect.arrayContaining(['databases.holders.label', 'databases.leaks.state']),
    )
  })

  it('has pictures of less than 150 kB, and so have the other pages', () => {
    const pictures = readdirSync(path.join(docs, 'images'))
    expect(pictures.length).toBeGreaterThanOrEqual(4)
    const sizes = pictures.map((file) => [file, statSync(path.join(docs, 'images', file)).size] as const)
    expect(sizes.filter(([, size]) => size >= 150_000)).toEqual([])
  })
})
