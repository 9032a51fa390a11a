/** Every statement that requests run, by operation. A new one is added here after a review. */

/**
 * Placeholders and quotes are written as the plainest of both databases, and BEGIN without what they add to it. What keyset() makes
 * its cursors of is named.
 */
export const KNOWN_STATEMENTS: Readonly<Record<string, readonly string[]>> = {
  'DELETE /posts/:id': ['delete from "posts" where "id" = ?'],
  'DELETE /products/:id': ['delete from "products" where "id" = ?'],
  'DELETE /users/:id': ['delete from "users" where "id" = ?'],
  'GET /accounts': [
    'select "id", "owner", "balance", the key of keyset() from "accounts" order by "id" asc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" order by "id" desc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" order by "owner" asc, "id" asc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" order by "owner" desc, "id" desc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" where "id" < ? order by "id" desc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" where "id" > ? order by "id" asc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" where ("owner" = ?) order by "id" asc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" where ("owner", "id") < (?, ?) order by "owner" desc, "id" desc limit ?',
    'select "id", "owner", "balance", the key of keyset() from "accounts" where ("owner", "id") > (?, ?) order by "owner" asc, "id" asc limit ?',
  ],
  'GET /accounts/:id': ['select "id", "owner", "balance" from "accounts" where "id" = ?'],
  'GET /accounts/:id/transfers': [
    'select "id", "owner", "balance" from "accounts" where "id" = ?',
    'select *, the key of keyset() from (select * from (select "id", "from_account", "to_account", "amount", "created_at" from "transfers" where "from_account" = ? order by "id" asc limit ?) as "half" union all select * from (select "id", "from_account", "to_account", "amount", "created_at" from "transfers" where "to_account" = ? order by "id" asc limit ?) as "half") as "both" order by "id" asc limit ?',
    'select *, the key of keyset() from (select * from (select "id", "from_account", "to_account", "amount", "created_at" from "transfers" where "from_account" = ? order by "id" desc limit ?) as "half" union all select * from (select "id", "from_account", "to_account", "amount", "created_at" from "transfers" where "to_account" = ? order by "id" desc limit ?) as "half") as "both" order by "id" desc limit ?',
  ],
  'GET /posts': [
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" order by "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" order by "posts"."id" desc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" order by "posts"."title" asc, "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" order by "posts"."title" desc, "posts"."id" desc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where "posts"."id" < ? order by "posts"."id" desc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where "posts"."id" > ? order by "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("author_id" = ?) order by "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("posts"."title", "posts"."id") < (?, ?) order by "posts"."title" desc, "posts"."id" desc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("posts"."title", "posts"."id") > (?, ?) order by "posts"."title" asc, "posts"."id" asc limit ?',
  ],
  'GET /posts/:id': [
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username" from "posts" inner join "users" on "users"."id" = "posts"."author_id" where "posts"."id" = ?',
  ],
  'GET /products': [
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "name" asc, "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "name" desc, "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "price" asc, "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" order by "price" desc, "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where "id" < ? order by "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where "id" > ? order by "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("name", "id") < (?, ?) order by "name" desc, "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("name", "id") > (?, ?) order by "name" asc, "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("price" <= ?) order by "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("price" >= ?) and "id" > ? order by "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("price" >= ?) order by "id" asc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("price", "id") < (?, ?) order by "price" desc, "id" desc limit ?',
    'select "id", "name", "description", "price", the key of keyset() from "products" where ("price", "id") > (?, ?) order by "price" asc, "id" asc limit ?',
  ],
  'GET /products/:id': ['select "id", "name", "description", "price" from "products" where "id" = ?'],
  'GET /transfers/:id': [
    'select "id", "from_account", "to_account", "amount", "created_at" from "transfers" where "id" = ?',
  ],
  'GET /users': [
    'select "id", "username", "email", the key of keyset() from "users" order by "id" asc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" order by "id" desc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" order by "username" asc, "id" asc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" order by "username" desc, "id" desc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where "id" < ? order by "id" desc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where "id" > ? order by "id" asc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where ("email" = ?) order by "id" asc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where ("username" = ?) order by "id" asc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where ("username", "id") < (?, ?) order by "username" desc, "id" desc limit ?',
    'select "id", "username", "email", the key of keyset() from "users" where ("username", "id") > (?, ?) order by "username" asc, "id" asc limit ?',
  ],
  'GET /users/:id': ['select "id", "username", "email" from "users" where "id" = ?'],
  'GET /users/:id/posts': [
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("author_id" = ?) order by "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("author_id" = ?) order by "posts"."id" desc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("author_id" = ?) order by "posts"."title" asc, "posts"."id" asc limit ?',
    'select "posts"."id", "posts"."title", "posts"."content", "posts"."author_id", "users"."username", the key of keyset() from "posts" inner join "users" on "users"."id" = "posts"."author_id" where ("author_id" = ?) order by "posts"."title" desc, "posts"."id" desc limit ?',
  ],
  'PATCH /posts/:id': [
    'update "posts" set "title" = ?, "content" = ? where "id" = ? returning "id", "title", "content", "author_id", (select "username" from "users" where "users"."id" = "posts"."author_id") as "username"',
  ],
  'PATCH /products/:id': [
    'update "products" set "name" = ?, "description" = ?, "price" = ? where "id" = ? returning "id", "name", "description", "price"',
  ],
  'PATCH /users/:id': [
    'update "users" set "username" = ?, "email" = ? where "id" = ? returning "id", "username", "email"',
  ],
  'POST /accounts': [
    'insert into "accounts" ("balance", "opening_balance", "owner") values (?, ?, ?) returning "id", "owner", "balance"',
  ],
  'POST /posts': [
    'insert into "posts" ("author_id", "content", "title") values (?, ?, ?) returning "id", "title", "author_id"',
  ],
  'POST /products': [
    'insert into "products" ("description", "name", "price") values (?, ?, ?) returning "id", "name", "description", "price"',
  ],
  'POST /transfer': [
    'BEGIN',
    'COMMIT',
    'insert into "idempotency_keys" ("detail", "key", "request", "status") values (?, ?, ?, ?) on conflict ("key") do nothing',
    'insert into "transfers" ("amount", "from_account", "to_account") values (?, ?, ?)',
    'update "accounts" set "balance" = "balance" + ? where "id" = ? and "balance" between ? and ?',
    'update "accounts" set "balance" = "balance" - ? where "id" = ? and "balance" between ? and ?',
  ],
  'POST /users': [
    'insert into "users" ("email", "username") values (?, ?) returning "id", "username", "email"',
  ],
}
