"""The tutorial's second stack: FastAPI with `databases`, but with its rows locked."""
import os

from databases import Database
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

database = Database(os.environ["DATABASE_URL"], min_size=10, max_size=10)
POSTS_WITH_AUTHORS = (
    "SELECT posts.id, posts.title, posts.content, posts.author_id, users.username "
    "FROM posts JOIN users ON users.id = posts.author_id"
)


class NewPost(BaseModel):
    title: str
    content: str
    author_id: int


class Movement(BaseModel):
    from_account: int
    to_account: int
    amount: int


def shown(post) -> dict:
    author = {"id": post["author_id"], "username": post["username"]}
    return {"id": post["id"], "title": post["title"], "content": post["content"], "author": author}


app = FastAPI()


@app.on_event("startup")
async def startup():
    await database.connect()


@app.on_event("shutdown")
async def shutdown():
    await database.disconnect()


@app.get("/users/{user_id}")
async def read_user(user_id: int):
    query = "SELECT id, username, email FROM users WHERE id = :id"
    user = await database.fetch_one(query, {"id": user_id})
    if user is None:
        raise HTTPException(status_code=404, detail="User not found")
    return dict(user._mapping)


@app.get("/posts/{post_id}")
async def read_post(post_id: int):
    post = await database.fetch_one(f"{POSTS_WITH_AUTHORS} WHERE posts.id = :id", {"id": post_id})
    if post is None:
        raise HTTPException(status_code=404, detail="Post not found")
    return shown(post._mapping)


@app.get("/posts")
async def list_posts(limit: int = 50):
    query = f"{POSTS_WITH_AUTHORS} ORDER BY posts.id LIMIT :limit"
    return [shown(post._mapping) for post in await database.fetch_all(query, {"limit": limit})]


@app.post("/posts", status_code=201)
async def create_post(new: NewPost):
    query = "INSERT INTO posts (title, content, author_id) VALUES (:title, :content, :author_id) RETURNING id"
    post_id = await database.fetch_val(query, new.dict())
    return {"id": post_id, "title": new.title, "author_id": new.author_id}


@app.post("/transfer")
async def transfer(movement: Movement):
    async with database.transaction():
        rows = await database.fetch_all(
            "SELECT id, balance FROM accounts WHERE id IN (:a, :b) ORDER BY id FOR UPDATE",
            {"a": movement.from_account, "b": movement.to_account},
        )
        balances = {row._mapping["id"]: row._mapping["balance"] for row in rows}
        if len(balances) < 2:
            raise HTTPException(status_code=404, detail="Account not found")
        if balances[movement.from_account] < movement.amount:
            raise HTTPException(status_code=409, detail="Insufficient funds")
        change = "UPDATE accounts SET balance = balance + :change WHERE id = :id"
        await database.execute(change, {"change": -movement.amount, "id": movement.from_account})
        await database.execute(change, {"change": movement.amount, "id": movement.to_account})
        await database.execute(
            "INSERT INTO transfers (from_account, to_account, amount) "
            "VALUES (:from_account, :to_account, :amount)",
            movement.dict(),
        )
    return {"message": "Transfer successful"}
