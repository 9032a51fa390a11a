/** A model of the service in memory, as simple as possible, so that it is obviously right. */

export interface Reply {
  readonly status: number
  /** Missing where only the status is predicted. */
  readonly body?: unknown
}

interface User {
  readonly id: number
  readonly username: string
  readonly email: string
}

interface Post {
  readonly id: number
  readonly title: string
  readonly content: string
  readonly authorId: number
}

interface Account {
  readonly id: number
  readonly owner: string
  readonly balance: number
}

interface Product {
  readonly id: number
  readonly name: string
  readonly description: string | null
  readonly price: number
}

const DONE: Reply = { status: 200, body: { message: 'Transfer successful' } }

/** The service chooses the id of a new row, so that it is passed in from the response. */
export class ServiceModel {
  readonly users = new Map<number, User>()
  readonly posts = new Map<number, Post>()
  readonly accounts = new Map<number, Account>()
  readonly products = new Map<number, Product>()
  readonly #keys = new Map<string, string>()

  createUser(user: Omit<User, 'id'>, id: number): Reply {
    if (this.#isTaken(user)) return { status: 409 }
    this.users.set(id, { id, ...user })
    return { status: 201, body: { id, ...user } }
  }

  changeUser(id: number, changes: Partial<Omit<User, 'id'>>): Reply {
    const user = this.users.get(id)
    if (user === undefined) return { status: 404 }
    const changed = { ...user, ...changes }
    if (this.#isTaken(changed, id)) return { status: 409 }
    this.users.set(id, changed)
    return { status: 200, body: changed }
  }

  #isTaken({ username, email }: Omit<User, 'id'>, by?: number): boolean {
    return [...this.users.values()].some(
      (user) => user.id !== by && (user.username === username || user.email === email),
    )
  }

  deleteUser(id: number): Reply {
    for (const post of this.posts.values()) if (post.authorId === id) this.posts.delete(post.id)
    return { status: this.users.delete(id) ? 204 : 404 }
  }

  createPost(
    { title, content, author_id: authorId }: { title: string; content: string; author_id: number },
    id: number,
  ): Reply {
    if (!this.users.has(authorId)) return { status: 404 }
    this.posts.set(id, { id, title, content, authorId })
    return { status: 201, body: { id, title, author_id: authorId } }
  }

  changePost(id: number, changes: Partial<Pick<Post, 'title' | 'content'>>): Reply {
    const post = this.posts.get(id)
    if (post === undefined) return { status: 404 }
    this.posts.set(id, { ...post, ...changes })
    return this.findPost(id)
  }

  findPost(id: number): Reply {
    const post = this.posts.get(id)
    return post === undefined ? { status: 404 } : { status: 200, body: this.#shown(post) }
  }

  #shown({ id, title, content, authorId }: Post): object {
    return { id, title, content, author: { id: authorId, username: this.users.get(authorId)?.username } }
  }

  deletePost(id: number): Reply {
    return { status: this.posts.delete(id) ? 204 : 404 }
  }

  createAccount(account: Omit<Account, 'id'>, id: number): Reply {
    this.accounts.set(id, { id, ...account })
    return { status: 201, body: { id, ...account } }
  }

  /** Keys are stored with their request; transfers without a key are always new. */
  transfer(from: number, to: number, amount: number, key?: string): Reply {
    const request = JSON.stringify([from, to, amount])
    const earlier = key === undefined ? undefined : this.#keys.get(key)
    if (earlier !== undefined) return earlier === request ? DONE : { status: 422 }
    const [payer, payee] = [this.accounts.get(from), this.accounts.get(to)]
    if (from === to) return { status: 422 }
    if (payer === undefined || payee === undefined) return { status: 404 }
    if (payer.balance < amount) return { status: 409 }
    this.accounts.set(from, { ...payer, balance: payer.balance - amount })
    this.accounts.set(to, { ...payee, balance: payee.balance + amount })
    if (key !== undefined) this.#keys.set(key, request)
    return DONE
  }

  createProduct(product: Omit<Product, 'id'>, id: number): Reply {
    this.products.set(id, { id, ...product })
    return { status: 201, body: { id, ...product } }
  }

  changeProduct(id: number, changes: Partial<Omit<Product, 'id'>>): Reply {
    const product = this.products.get(id)
    if (product === undefined) return { status: 404 }
    this.products.set(id, { ...product, ...changes })
    return { status: 200, body: this.products.get(id) }
  }

  deleteProduct(id: number): Reply {
    return { status: this.products.delete(id) ? 204 : 404 }
  }

  /** All rows of a list in an order, and among equals by their ids. */
  listed(table: 'users' | 'posts' | 'accounts' | 'products', sort: string): object[] {
    const descending = sort.startsWith('-')
    const by = descending ? sort.slice(1) : sort
    const rows: object[] =
      table === 'posts'
        ? [...this.posts.values()].map((post) => this.#shown(post))
        : [...this[table].values()]
    const value = (row: object, name: string): string | number =>
      (row as Record<string, string | number>)[name] ?? 0
    const sorted = rows.toSorted((a, b) => {
      const [one, other] =
        value(a, by) === value(b, by) ? [value(a, 'id'), value(b, 'id')] : [value(a, by), value(b, by)]
      return one < other ? -1 : 1
    })
    return descending ? sorted.toReversed() : sorted
  }
}
