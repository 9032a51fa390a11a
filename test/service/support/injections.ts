/** Texts that would change a statement if they were pasted into it: each way out of a value, with each SQL command, and an end. */

/** Ways out of a value. */
const EXITS = ['', "'", '"', '`', ')', "')", '")', "\\'", "''", '\u02BC', '%27', '%2527', '\uFF07', "1' "]

/** SQL commands, for both kinds of database and for one of them. */
const DEEDS = [
  ' OR 1=1',
  " OR 'a'='a'",
  '||1',
  ' AND 1=0',
  ' UNION SELECT NULL',
  ' UNION ALL SELECT username, email, id FROM users',
  ' UNION SELECT sql FROM sqlite_schema',
  ' UNION SELECT table_name FROM information_schema.tables',
  '; DROP TABLE users',
  '; DELETE FROM accounts',
  '; UPDATE accounts SET balance = 0',
  "; INSERT INTO users (username, email) VALUES ('x', 'x')",
  '; COMMIT; BEGIN',
  '; ROLLBACK',
  "; ATTACH DATABASE '/tmp/x.db' AS x",
  '; PRAGMA writable_schema = 1',
  "; SELECT load_extension('x')",
  "; COPY users TO PROGRAM 'id'",
  '; SELECT pg_sleep(9)',
  ' OR pg_sleep(9) IS NULL',
  ' AND (SELECT pg_sleep(9)) IS NULL',
  ' OR randomblob(1000000000) IS NULL',
  ' AND 1=CAST(version() AS int)',
  ' AND 1=(SELECT sqlite_version())',
  ' OR pg_terminate_backend(pg_backend_pid())',
  ' RETURNING *',
  ' LIMIT 1 OFFSET 1',
  ' ORDER BY 99',
  ', id DESC',
  ' COLLATE nocase',
  ' IN (1,2,3)',
  ' LIKE 0x25',
  ' BETWEEN 0 AND 99',
  ' IS NOT NULL',
]

/** Ends that remove the rest of the statement. */
const ENDS = ['', '--', ' -- x', '/*', ';', '#']

/** Placeholders and quotes of the kinds that the library and its drivers know, and comments inside of words. */
const WHOLE = [
  ':id',
  ':username',
  ':__proto__',
  '::text',
  '?',
  '??',
  '\\?',
  '$1',
  '$2',
  '@id',
  '#{id}',
  '${id}',
  '$$',
  '$$;DROP TABLE users;$$',
  "$x$'$x$",
  "E'\\''",
  "U&'\\0027'",
  "x'27'",
  'UN/**/ION SEL/**/ECT 1',
  'uNiOn/**/sElEcT/**/1',
  "'+(SELECT 1)+'",
  "'||(SELECT 1)||'",
  "1'%00",
  "1\u0000' OR 1=1",
  "1\n' OR 1=1",
  "1\u2028' OR 1=1",
  "\uFEFF' OR 1=1",
  "a'/*\n*/OR/*\n*/'a'='a",
  '0x27204f5220313d31',
  "CHAR(39)||' OR 1=1'",
  'id; --',
  'id,(SELECT 1)',
  '(SELECT 1)',
  '(CASE WHEN 1=1 THEN id ELSE username END)',
  'users.id',
  '"users"."id"',
  '*',
  'NULL',
  'DEFAULT',
  'TRUE',
  'ROW(1,2)',
  'ARRAY[1]',
  "'{1,2}'",
  '-id; SELECT 1',
  '1;1',
  '1e0',
  '1/0',
  '1--1',
  '1 OR 1',
  '%',
  '_',
  "%' AND 1=1 AND '%'='",
]

/**
 * At least 500 different texts. Each command appears with each way out of a value; the ends alternate, since there
 * would be thousands otherwise.
 */
export const INJECTIONS: readonly string[] = [
  ...new Set([
    ...WHOLE,
    ...DEEDS.flatMap((deed, index) =>
      EXITS.map((exit, way) => `${exit}${deed}${ENDS[(index + way) % ENDS.length]}`),
    ),
  ]),
]
