/** A counter in a SQLite file that several processes count up, and what a way of counting must offer. */
export interface Counter {
  /** Makes the tables. One process does so, before the others open the file. */
  create(): Promise<void>
  open(): Promise<void>
  /** Reads the counter, writes one more, and inserts a row of that id, in one transaction. */
  count(id: string): Promise<void>
  /** Both as one query sees them; they are equal, unless it saw half of a transaction. */
  look(): Promise<Sight>
  close(): Promise<void>
}

export interface Sight {
  readonly counted: number
  readonly entries: number
}

export const TABLES = [
  'create table counter (id integer primary key, counted integer not null)',
  'create table entries (id text primary key)',
  'insert into counter (id, counted) values (1, 0)',
]

export const LOOK = 'select counted, (select count(*) from entries) as entries from counter where id = 1'
