"""The tutorial's first stack: FastAPI with synchronous SQLAlchemy sessions, but with its rows locked."""
import os

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Text, create_engine
from sqlalchemy.ext.declarative import declarative_base
from sqlalchemy.orm import Session, joinedload, relationship, sessionmaker

engine = create_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=0)
SessionLocal = sessionmaker(autocommit=False, autoflush=False, bind=engine)
Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    username = Column(Text, nullable=False)
    email = Column(Text, nullable=False)


class Post(Base):
    __tablename__ = "posts"
    id = Column(Integer, primary_key=True)
    title = Column(Text, nullable=False)
    content = Column(Text, nullable=False)
    author_id = Column(Integer, ForeignKey("users.id"), nullable=False)
    author = relationship("User")


class Account(Base):
    __tablename__ = "accounts"
    id = Column(Integer, primary_key=True)
    balance = Column(BigInteger, nullable=False)


class Transfer(Base):
    __tablename__ = "transfers"
    id = Column(BigInteger, primary_key=True)
    from_account = Column(Integer, nullable=False)
    to_account = Column(Integer, nullable=False)
    amount = Column(BigInteger, nullable=False)


class NewPost(BaseModel):
    title: str
    content: str
    author_id: int


class Movement(BaseModel):
    from_account: int
    to_account: int
    amount: int


def get_db():
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


def shown(post: Post) -> dict:
    author = {"id": post.author.id, "username": post.author.username}
    return {"id": post.id, "title": post.title, "content": post.content, "author": author}


app = FastAPI()


@app.get("/users/{user_id}")
def read_user(user_id: int, db: Session = Depends(get_db)):
    user = db.query(User).filter(User.id == user_id).first()
    if user is None:
        raise HTTPException(status_code=404, detail="User not found")
    return {"id": user.id, "username": user.username, "email": user.email}


@app.get("/posts/{post_id}")
def read_post(post_id: int, db: Session = Depends(get_db)):
    post = db.query(Post).options(joinedload(Post.author)).filter(Post.id == post_id).first()
    if post is None:
        raise HTTPException(status_code=404, detail="Post not found")
    return shown(post)


@app.get("/posts")
def list_posts(limit: int = 50, db: Session = Depends(get_db)):
    posts = db.query(Post).options(joinedload(Post.author)).order_by(Post.id).limit(limit)
    return [shown(post) for post in posts]


@app.post("/posts", status_code=201)
def create_post(new: NewPost, db: Session = Depends(get_db)):
    post = Post(title=new.title, content=new.content, author_id=new.author_id)
    db.add(post)
    db.commit()
    db.refresh(post)
    return {"id": post.id, "title": post.title, "author_id": post.author_id}


@app.post("/transfer")
def transfer(movement: Movement, db: Session = Depends(get_db)):
    ids = [movement.from_account, movement.to_account]
    rows = db.query(Account).filter(Account.id.in_(ids)).order_by(Account.id).with_for_update().all()
    accounts = {account.id: account for account in rows}
    if len(accounts) < 2:
        raise HTTPException(status_code=404, detail="Account not found")
    if accounts[movement.from_account].balance < movement.amount:
        raise HTTPException(status_code=409, detail="Insufficient funds")
    accounts[movement.from_account].balance -= movement.amount
    accounts[movement.to_account].balance += movement.amount
    db.add(Transfer(**movement.dict()))
    db.commit()
    return {"message": "Transfer successful"}
